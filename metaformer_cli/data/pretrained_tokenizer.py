"""The tokenizer that a pretrained model brings with it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tokenizers import Tokenizer


class PretrainedTokenizer:
    """Texts to the token ids of a pretrained model, its special tokens around them.

    Args:
        tokenizer: the text of a tokenizer.json.
        vocab_size: how many tokens the model embeds.
        filler: the token that stands for a text of none; GPT-2 puts none around.

    Raises:
        ValueError: the tokenizer has ids that the model has not.
    """

    def __init__(self, tokenizer: str, *, vocab_size: int, filler: int) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer)
        self._tokenizer.no_padding()
        self.vocab_size, self._filler = vocab_size, filler
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
            return cls(files["tokenizer.json"], vocab_size=size, filler=filler)
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
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [list(encoding.ids) or [self._filler] for encoding in encodings]
