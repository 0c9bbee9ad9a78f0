"""`model=pretrained`: an encoder of texts in Hugging Face's layout, read and written."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, Protocol

from metaformer_cli.choices import a_path, model
from metaformer_cli.models.classifier import Classifier
from metaformer_cli.models.model import Parameters, strip
from metaformer_cli.models.pretrained_encoder import PretrainedEncoder, load_model

FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")


class Reader(Protocol):
    """What the task says of its inputs."""

    max_tokens: int
    ways: int


@model(
    "pretrained",
    inputs=("text",),
    outputs=("classes",),
    name_is="path",
    suits={"learner.inner_lr": 0.01},  # pretrained weights lie close to what is wanted
    refuses={"engine.compile": "PyTorch's compiler does not follow the pretrained encoders' code"},
)
class PretrainedClassifier(Classifier):
    """A BERT, DistilBERT, RoBERTa, ModernBERT or GPT-2 of Hugging Face `transformers`.

    What it brings are its configuration and its tokenizer: with both, and the weights in a
    checkpoint, a run needs the folder or the hub that it started from no more.

    Args:
        reader: the longest text, the most classes.
        own: what `bring` gave.
        restored: whether a checkpoint's weights will replace these.

    Raises:
        ValueError: see `PretrainedEncoder`.
    """

    encoder: PretrainedEncoder

    def __init__(
        self,
        reader: Reader,
        own: str,
        restored: bool,
        *,
        path: Annotated[str, a_path],  # a hub name, or a folder
        pooling: Literal["mean", "first", "last"] = "mean",  # a text's vector, from its tokens'
        **options: Any,
    ) -> None:
        self.files: dict[str, str] = json.loads(own)
        self.path, self.restored = path, restored
        encoder = PretrainedEncoder(
            self.files["config.json"],
            weights=None if restored else path,
            pooling=pooling,
            max_tokens=reader.max_tokens,
        )
        super().__init__(encoder, reader.ways, **options)

    @classmethod
    def bring(cls, **options: Any) -> str:
        """The model's configuration and tokenizer: the text of each of `FILES`, as JSON.

        Raises:
            ValueError: `transformers` is not installed or cannot load this, or the tokenizer is
                missing, not one of the `tokenizers` library, or has ids that the model has not.
        """
        return json.dumps(read_files(options["path"]), ensure_ascii=False)

    def add_lora(self, rank: int) -> None:
        """As for every classifier; the frozen weights, which are in no checkpoint, are read."""
        if self.restored:
            values = json.loads(self.files["config.json"])
            found = load_model(values, self.path).state_dict()
            self.encoder.model.load_state_dict(found)
        super().add_lora(rank)

    def export(self, folder: Path, parameters: Callable[[], Parameters]) -> str:
        """Write the encoder and its tokenizer in Hugging Face's layout; LoRA merged.

        Args:
            folder: where to; what is there is replaced once the new one is whole.
            parameters: gives the meta-parameters.

        Returns:
            What it is for, in words.

        Raises:
            OSError: it cannot be written.
        """
        aside = folder.with_name(f".{folder.name}")
        shutil.rmtree(aside, ignore_errors=True)
        self.encoder.save(aside, strip(parameters(), "encoder."))
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (aside / name).write_text(self.files[name], "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
        return f"encoder  {folder}: for from_pretrained of transformers"


def read_files(path: str) -> dict[str, str]:
    """The text of each of `FILES` of a model on the hub, or in a folder.

    Raises:
        ValueError: as for `PretrainedClassifier.bring`.
    """
    try:
        import transformers
    except ImportError:
        raise ValueError(
            'model=pretrained needs a package: pip install "metaformer-cli[pretrained]"'
        ) from None
    transformers.logging.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it says each retry twice
    try:
        config = transformers.AutoConfig.from_pretrained(path, trust_remote_code=False)
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001, transformers raises what its parts raise
        reason = " ".join(str(error).split())
        raise ValueError(
            f"model.path={path}: expected a hub name or a folder with config.json and "
            f"tokenizer.json; transformers cannot load it ({reason})"
        ) from None
    if not tokenizer.is_fast:
        raise ValueError(
            f"model.path={path}: its tokenizer is in Python, and metaformer needs a "
            "tokenizer.json; expected another model"
        )
    if tokenizer.get_vocab().keys() <= {*tokenizer.all_special_tokens}:  # made up from nothing
        raise ValueError(
            f"model.path={path}: the tokenizer's files are missing; expected tokenizer.json"
        )
    highest = max(tokenizer.get_vocab().values())
    if highest >= config.vocab_size:
        raise ValueError(
            f"model.path={path}: the tokenizer has ids up to {highest}, but the model embeds "
            f"{config.vocab_size} tokens; expected the tokenizer that belongs to the model"
        )
    with TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return {name: (Path(folder) / name).read_text("utf-8") for name in FILES}
