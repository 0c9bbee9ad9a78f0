"""The tokenizer that a pretrained model came with, in Hugging Face's layout."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tokenizers import Tokenizer

FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")


class PretrainedTokenizer:
    """Texts to the token ids of a pretrained model, its special tokens around them.

    It holds the model's configuration too: with both, and the weights in a checkpoint, a run needs
    the folder or the hub that it started from no more.

    Args:
        files: the text of each of `FILES`.
        weights: where the model's weights are; None where a checkpoint has them.

    Raises:
        ValueError: the tokenizer has ids that the model has not.
    """

    def __init__(self, files: Mapping[str, str], weights: str | None = None) -> None:
        self.files, self.weights = {name: files[name] for name in FILES}, weights
        config = json.loads(files["config.json"])
        self._tokenizer = Tokenizer.from_str(files["tokenizer.json"])
        self._tokenizer.no_padding()
        self.vocab_size = int(config["vocab_size"])
        highest = max(self._tokenizer.get_vocab().values(), default=-1)
        if not 0 <= highest < self.vocab_size:
            raise ValueError(
                f"the tokenizer has ids up to {highest}, but the model embeds {self.vocab_size} "
                "tokens; expected the tokenizer that belongs to the model"
            )
        # what stands for a text of no token; GPT-2 puts none around
        self._filler = int(config.get("bos_token_id") or 0)

    @classmethod
    def load(cls, path: str) -> PretrainedTokenizer:
        """The tokenizer and the configuration of a model.

        Args:
            path: a name on the hub; or a folder, as `save_pretrained` wrote it.

        Raises:
            ValueError: `transformers` is not installed or cannot load this, or the tokenizer is
                missing, not one of the `tokenizers` library, or has ids that the model has not.
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
        with TemporaryDirectory() as folder:
            config.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            files = {name: (Path(folder) / name).read_text("utf-8") for name in FILES}
        try:
            return cls(files, weights=path)
        except ValueError as error:
            raise ValueError(f"model.path={path}: {error}") from None

    def encode(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Token ids of each text, at least one; cut after `max_tokens`, special tokens kept.

        Raises:
            ValueError: `max_tokens` has no room for the special tokens and one more.
        """
        least = self._tokenizer.num_special_tokens_to_add(is_pair=False) + 1
        if max_tokens < least:
            raise ValueError(f"task.max_tokens={max_tokens}: expected at least {least}")
        self._tokenizer.enable_truncation(max_tokens)
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [list(encoding.ids) or [self._filler] for encoding in encodings]

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files into a folder, for `from_pretrained`.

        Raises:
            OSError: they cannot be written.
        """
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_text(self.files[name], "utf-8")

    def to_json(self) -> str:
        """All of it."""
        return json.dumps(self.files, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> PretrainedTokenizer:
        """The tokenizer that `to_json` wrote.

        Raises:
            ValueError: the text is no such tokenizer.
        """
        try:
            return cls(json.loads(text))
        except Exception as error:  # noqa: BLE001, the library raises no other
            raise ValueError(f"not a pretrained model's tokenizer: {error!r}") from None
