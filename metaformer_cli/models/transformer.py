"""`model=transformer`: a Transformer encoder of texts, trained from scratch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

from metaformer_cli.choices import at_least, divisible, fraction, model
from metaformer_cli.models.blocks import TransformerEncoder
from metaformer_cli.models.classifier import Classifier
from metaformer_cli.models.encoder import LexicalTextEncoder, TextEncoder
from metaformer_cli.models.lexical import ngram_vectors, token_weights


class Vocabulary(Protocol):
    """A tokenizer, as the model sees it."""

    vocab_size: int
    tokens: list[str]
    texts: int
    document_frequency: tuple[int, ...]


class Reader(Protocol):
    """What the task says of its inputs."""

    tokenizer: Vocabulary
    max_tokens: int
    ways: int


@model(
    "transformer",
    inputs=("text",),
    outputs=("classes",),
    rules=(divisible("width", "heads"),),
    suits={"learner.inner_lr": 0.3},  # found on validation groups
)
class TransformerClassifier(Classifier):
    """A Transformer encoder, trained from scratch.

    Args:
        reader: the tokens and their statistics, the longest text, the most classes.
        own: nothing: it brings nothing with it.
        restored: whether a checkpoint's weights will replace these.
    """

    def __init__(
        self,
        reader: Reader,
        own: str,
        restored: bool,
        *,
        width: Annotated[int, at_least(1)] = 64,  # features a token
        layers: Annotated[int, at_least(1)] = 2,  # attention and feed-forward, each
        heads: Annotated[int, at_least(1)] = 4,  # of attention; width is divisible by it
        dropout: Annotated[float, fraction] = 0.1,  # probability, in training only
        positions: Literal["sinusoidal", "learned", "rotary"] = "rotary",  # how places are told
        norm: Literal["pre", "post"] = "pre",  # before what a block reads, or behind it
        lexical_width: Annotated[int, at_least(0)] = 4096,  # of the frozen n-gram vectors; 0: none
        **options: Any,
    ) -> None:
        del own, restored
        tokenizer = reader.tokenizer
        backbone = TransformerEncoder(
            vocab_size=tokenizer.vocab_size,
            max_tokens=reader.max_tokens,
            width=width,
            layers=layers,
            heads=heads,
            dropout=dropout,
            positions=positions,
            norm=norm,
        )
        encoder = TextEncoder(backbone)
        if lexical_width:
            counts = tokenizer.document_frequency, tokenizer.texts
            vectors_VW = ngram_vectors(tokenizer.tokens, *counts, lexical_width)
            encoder = LexicalTextEncoder(backbone, vectors_VW, token_weights(*counts))
        super().__init__(encoder, reader.ways, **options)
