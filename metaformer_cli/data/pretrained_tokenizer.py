"""The tokenizer that a pretrained model brings with it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tokenizers import Tokenizer

from metaformer_cli.data.tokenizer import TextTokenizer, token_ids


class PretrainedTokenizer:
    """Texts to the token ids of a pretrained model, its special tokens around them.

    Args:
        tokenizer: the text of a tokenizer.json.
        vocab_size: how many tokens the model embeds.
        filler: the token that stands for a text of none; GPT-2 puts none around.
        longest: the most tokens of a text that the model should read; None: that is not known.

    Raises:
        ValueError: the tokenizer has ids that the model has not.
    """

    def __init__(
        self, tokenizer: str, *, vocab_size: int, filler: int, longest: int | None
    ) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer)
        self._tokenizer.no_padding()
        self.vocab_size, self._filler = vocab_size, filler
        self.longest = longest or TextTokenizer.longest
        highest = max(self._tokenizer.get_vocab().values(), default=-1)
        if not 0 <= highest < self.vocab_size:
            raise ValueError(
                f"the tokenizer has ids up to {highest}, but the model embeds {self.vocab_size} "
                "tokens; expected the tokenizer that belongs to the model"
            )

    @classmethod
    def brought(cls, own: str) -> PretrainedTokenizer:
        """The tokenizer among what a model brings: its files' texts by their names, as JSON.

        Raises:
            ValueError: the text holds no such tokenizer.
        """
        try:
            files = json.loads(own)
            config = json.loads(files["config.json"])
            filler = int(config.get("bos_token_id") or 0)
            size = int(config["vocab_size"])
            longest = json.loads(files["encoder.json"])["max_tokens"]
            tokenizer = files["tokenizer.json"]
            return cls(tokenizer, vocab_size=size, filler=filler, longest=longest)
        except Exception as error:  # noqa: BLE001, the library raises no other
            raise ValueError(f"not a pretrained model's tokenizer: {error!r}") from None

    def encode(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Token ids of each text, at least one; cut after `max_tokens`, special tokens kept.

        Raises:
            ValueError: `max_tokens` has no room for the special tokens and one more.
        """
        least = self._tokenizer.num_special_tokens_to_add(is_pair=False) + 1
        if max_tokens < least:
            raise ValueError(f"task.max_tokens={max_tokens}: expected at least {least}")
        self._tokenizer.enable_truncation(max_tokens)
        return [ids or [self._filler] for ids in token_ids(self._tokenizer, texts)]

    def for_others(self, max_tokens: int) -> str:
        """A tokenizer.json that gives what `encode` does, but for a text without any token."""
        self._tokenizer.enable_truncation(max_tokens)
        return str(self._tokenizer.to_str())

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, special ones among them, before it is cut."""
        self._tokenizer.no_truncation()
        return [len(ids) for ids in token_ids(self._tokenizer, texts)]
