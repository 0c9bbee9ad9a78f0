"""A byte-level BPE tokenizer (Sennrich et al. 2016; on bytes, Radford et al. 2019).

Every text is a sequence of bytes, and every byte is in the vocabulary: no script or emoji is ever
unknown, and a text comes back from its tokens as it was, to the byte.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

PAD, CLS = 0, 1  # token ids: what fills a batch up, and what every sequence starts with
SPECIAL = ["[PAD]", "[CLS]"]
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
BATCH = 4096  # texts at a time: what the library returns of one takes some 4 kB
SMALLEST = len(SPECIAL) + len(BYTES)
# A letter that can be printed spells the byte of its number; the others follow in order, from 256.
_PLAIN = [ord(letter) for letter in BYTES if ord(letter) < 256]
_OTHERS = sorted(set(range(256)) - set(_PLAIN))
BYTE_OF = dict(zip(BYTES, [*_PLAIN, *_OTHERS], strict=True))


class TextTokenizer:
    """Texts to token ids and back; and how often each token occurs in the training texts.

    Attributes:
        longest: the most tokens of a text that models should read: attention grows by the square.
        texts: how many texts it was trained on.
        document_frequency: in how many of them each token occurs.
    """

    longest = 512

    def __init__(self, tokenizer: Tokenizer, texts: int, document_frequency: Sequence[int]) -> None:
        self.texts, self.document_frequency = texts, tuple(document_frequency)
        # "[PAD]" inside a user's text is five characters like any others.
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._id_of_byte: list[int] = []  # where no token is longer than a byte
        if tokenizer.get_vocab_size() == SMALLEST:
            spelling = sorted(BYTE_OF, key=BYTE_OF.__getitem__)
            vocab = tokenizer.get_vocab()
            self._id_of_byte = [vocab[letter] for letter in spelling]

    @classmethod
    def train(cls, texts: Sequence[str], vocab_size: int) -> TextTokenizer:
        """Trains on the texts alone; the same texts give the same tokenizer, on any machine.

        Args:
            texts: of the training classes only, lest test texts leak into the vocabulary.
            vocab_size: most tokens that there may be; few texts give fewer, because a pair is
                merged only where it occurs twice.

        Raises:
            ValueError: `vocab_size` has no room for the bytes and the special tokens.
        """
        if vocab_size < SMALLEST:
            raise ValueError(
                f"task.vocab_size={vocab_size}: expected at least {SMALLEST}, one token a byte "
                f"and {len(SPECIAL)} special ones"
            )
        tokenizer = _untrained()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            special_tokens=SPECIAL,
            initial_alphabet=BYTES,
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        counts = Counter(i for ids in token_ids(tokenizer, texts) for i in set(ids))
        return cls(tokenizer, len(texts), [counts[i] for i in range(tokenizer.get_vocab_size())])

    @property
    def tokens(self) -> list[str]:
        """Each token as byte-level BPE spells it, a letter a byte; empty for the special ones."""
        ids = range(len(SPECIAL), self.vocab_size)
        return [""] * len(SPECIAL) + [str(self._tokenizer.id_to_token(i)) for i in ids]

    @staticmethod
    def spelled(token: str) -> bytes:
        """The bytes of a token that is spelled a letter a byte."""
        return bytes(BYTE_OF[letter] for letter in token)

    @property
    def vocab_size(self) -> int:
        """How many token ids there are."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Token ids of each text: `CLS`, then its tokens, cut after `max_tokens` in all.

        Raises:
            ValueError: `max_tokens` has no room for `CLS` and one token.
        """
        if max_tokens < 2:
            raise ValueError(f"task.max_tokens={max_tokens}: expected at least 2")
        if self._id_of_byte:  # all that there is, and much faster
            cut = (text.encode()[: max_tokens - 1] for text in texts)
            return [[CLS, *map(self._id_of_byte.__getitem__, own)] for own in cut]
        return [[CLS, *ids[: max_tokens - 1]] for ids in token_ids(self._tokenizer, texts)]

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, `CLS` among them, before it is cut."""
        return [1 + len(ids) for ids in token_ids(self._tokenizer, texts)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the token ids, without the special ones."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def to_json(self) -> str:
        """All of it; under `tokenizer` in the format of Hugging Face's tokenizer.json."""
        parts = {
            "tokenizer": json.loads(self._tokenizer.to_str()),
            "texts": self.texts,
            "document_frequency": self.document_frequency,
        }
        return json.dumps(parts, ensure_ascii=False)

    def for_others(self, max_tokens: int) -> str:
        """A tokenizer.json that gives what `encode` does: `CLS` in front, cut after `max_tokens`.

        The special tokens stand in its vocabulary alone: the `tokenizers` library keeps no note
        that they are to be read as plain text, and would find them in texts.
        """
        own = Tokenizer.from_str(self._tokenizer.to_str())
        name = SPECIAL[CLS]
        own.post_processor = processors.TemplateProcessing(
            single=f"{name} $A", special_tokens=[(name, CLS)]
        )
        own.enable_truncation(max_tokens)
        parts = json.loads(own.to_str())
        return json.dumps(parts | {"added_tokens": []}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> TextTokenizer:
        """The tokenizer that `to_json` wrote.

        Raises:
            ValueError: the text is no such tokenizer.
        """
        try:
            parts = json.loads(text)
            tokenizer = Tokenizer.from_str(json.dumps(parts["tokenizer"]))
            texts, frequency = parts["texts"], parts["document_frequency"]
        except Exception as error:  # noqa: BLE001, the library raises no other
            raise ValueError(f"not a tokenizer that metaformer made: {error!r}") from None
        vocab = tokenizer.get_vocab()
        ids = [vocab.get(token) for token in SPECIAL]
        whole = ids == [PAD, CLS] and set(BYTES) <= vocab.keys()
        whole = whole and sorted(vocab.values()) == list(range(len(vocab)))
        expected = _untrained()
        expected.add_special_tokens(SPECIAL)
        counts = [texts, *frequency] if isinstance(frequency, list) else []
        whole = whole and len(counts) == 1 + len(vocab)
        whole = whole and all(type(count) is int and 0 <= count <= texts for count in counts)
        if not whole or _pipeline(tokenizer) != _pipeline(expected):
            raise ValueError("not a tokenizer that metaformer made: expected a byte-level BPE")
        return cls(tokenizer, texts, frequency)


def token_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[list[int]]:
    """The token ids of each text, a few texts at a time."""
    for start in range(0, len(texts), BATCH):
        for encoding in tokenizer.encode_batch_fast(list(texts[start : start + BATCH])):
            yield list(encoding.ids)


def _untrained() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _pipeline(tokenizer: Tokenizer) -> dict[str, Any]:
    """Everything that a tokenizer does to a text, but for what training learns."""
    parts: dict[str, Any] = json.loads(tokenizer.to_str())
    model = {key: value for key, value in parts["model"].items() if key not in ("vocab", "merges")}
    return parts | {"model": model}
