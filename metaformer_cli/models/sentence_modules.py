"""What a sentence-transformers folder says of the way from token vectors to a text's vector.

Its modules.json lists modules that follow each other (Reimers & Gurevych 2019): a Transformer, in
the folder itself or, in the first layout, in `0_Transformer`; a Pooling; often a Normalize.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

POOLINGS = {  # theirs: ours
    "mean_tokens": "mean",
    "cls_token": "first",
    "lasttoken": "last",
    "max_tokens": "max",
}


@dataclass(frozen=True)
class Modules:
    """From token vectors to a text's vector.

    Attributes:
        transformer: the folder with the weights and the tokenizer.
        pooling: `mean`, `first`, `last` or `max`.
        normalize: whether vectors are brought to unit length.
        max_tokens: the longest text; None: as long as the Transformer reads.
        lower_case: whether texts are put into lower case before the tokenizer.
    """

    transformer: Path
    pooling: str = "mean"
    normalize: bool = False
    max_tokens: int | None = None
    lower_case: bool = False


def read_modules(called: str, folder: Path, pooling: str | None) -> Modules:
    """What the folder's modules say; without any, the mean of the token vectors, of unit length.

    Lengths differ by a factor of ten between families. With unit length, one inner rate suits all.

    Args:
        called: the folder, as the user named it.
        folder: with a modules.json, or without.
        pooling: in place of what the modules say, of layers behind the pooling too; or None.

    Raises:
        ValueError: it is damaged, or has a module or a pooling that metaformer has not.
    """
    if not (folder / "modules.json").is_file():
        return Modules(folder, pooling or "mean", normalize=True)
    try:
        rows = _read(folder / "modules.json")
        modules = [(row["type"].rpartition(".")[2], inside(folder, row["path"])) for row in rows]
        ((_, transformer),) = [module for module in modules if module[0] == "Transformer"]
        files = sorted(transformer.glob("sentence_*_config.json"))  # bert, roberta, …
        settings: dict[str, Any] = _read(files[0]) if files else {}
        longest = settings.get("max_seq_length")
        poolings = [_read(where / "config.json") for kind, where in modules if kind == "Pooling"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{called}: its modules.json or a file that it names cannot be read "
            f"({' '.join(str(error).split())}); expected a Transformer, a Pooling and perhaps a "
            "Normalize of sentence-transformers"
        ) from None
    kinds = [kind for kind, _ in modules]
    odd = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    chosen = [_pooling(values) for values in poolings]
    if pooling is None and (odd or len(chosen) != 1 or chosen[0] not in POOLINGS.values()):
        what = f"the module {odd[0]}" if odd else f"the pooling {' and '.join(chosen) or 'none'}"
        raise ValueError(
            f"{called}: its modules.json has {what}, which metaformer has not: give "
            f"model.pooling={'|'.join(POOLINGS.values())} to start from its Transformer alone"
        )
    return Modules(
        transformer,
        pooling or chosen[0],
        "Normalize" in kinds,
        int(longest) if longest else None,
        bool(settings.get("do_lower_case")),
    )


def write_modules(folder: Path, pooling: str, *, normalize: bool, max_tokens: int | None) -> None:
    """Write what `read_modules` reads, so that an encoder that is saved is used as it was.

    Raises:
        OSError: it cannot be written.
    """
    parts = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(parts[: 2 + normalize])
    ]
    (folder / "1_Pooling").mkdir()
    chosen = {f"pooling_mode_{theirs}": ours == pooling for theirs, ours in POOLINGS.items()}
    width = json.loads((folder / "config.json").read_text("utf-8")).get("hidden_size")
    for name, values in (
        ("modules.json", modules),
        ("1_Pooling/config.json", {"word_embedding_dimension": width, **chosen}),
        ("sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False}),
    ):
        (folder / name).write_text(json.dumps(values, indent=2) + "\n", "utf-8")


def inside(folder: Path, path: str) -> Path:
    """A folder that a file names, which must not lead out of its own."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise ValueError(f"{path} leads out of the folder")
    return folder / parts


def _pooling(values: Mapping[str, Any]) -> str:
    """The pooling in our words; one that we have not, or several, in theirs."""
    if isinstance(mode := values.get("pooling_mode"), str):  # since version 5
        modes = [mode]
    else:
        modes = [
            key.removeprefix("pooling_mode_")
            for key, value in {"pooling_mode_mean_tokens": True, **values}.items()  # as they do
            if key.startswith("pooling_mode_") and value is True
        ]
    short = {theirs.partition("_")[0]: ours for theirs, ours in POOLINGS.items()}
    return " and ".join(POOLINGS.get(mode) or short.get(mode) or mode for mode in modes) or "none"


def _read(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))
