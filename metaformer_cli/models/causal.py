"""`model=causal`: a Transformer language model, trained from scratch.

Shape suffixes: T packed tokens, V vocabulary, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

import torch
from torch import Tensor, nn

from metaformer_cli.choices import at_least, divisible, fraction, model
from metaformer_cli.models.blocks import TransformerEncoder
from metaformer_cli.models.cached import CachedDecoder, Past
from metaformer_cli.models.gpt2 import as_gpt2
from metaformer_cli.models.model import HIDDEN, Inputs, Model, Parameters, call
from metaformer_cli.models.packed import VARYING, one_each, pad, stack


class Vocabulary(Protocol):
    """A tokenizer, as the model sees it."""

    @property
    def vocab_size(self) -> int:
        """V."""


class Reader(Protocol):
    """What the task says of its inputs."""

    tokenizer: Vocabulary
    max_tokens: int


@model(
    "causal",
    inputs=("text",),
    outputs=("tokens",),
    rules=(divisible("width", "heads"),),
    # found on validation languages: a joint start, with all of its time, left it half a bit worse
    suits={
        "learner.inner_lr": 0.3,
        "train.lr": 0.003,
        "train.joint_lr": 0.003,
        "train.rate_lr": 0.1,
        "train.steps": 150,
        "train.meta_batch": 2,
        "train.warmup_steps": 20,
        "train.eval_every": 50,
    },
)
class CausalLanguageModel(Model):
    """A Transformer that scores each next token from those before it (Vaswani et al. 2017).

    It is the decoder without its attention to an encoder (Liu et al. 2018, Radford et al. 2018):
    token embeddings, scaled by √D (section 3.4), with positions; a stack of blocks in which no
    token sees a later one; a norm; and a linear map to the scores. An episode adds nothing to it.

    Args:
        reader: the tokens, and the longest sequence.
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
        dropout: Annotated[float, fraction] = 0.0,  # probability, in training only
        positions: Literal["sinusoidal", "learned", "rotary"] = "sinusoidal",  # how places are told
        norm: Literal["pre", "post"] = "pre",  # before what a block reads, or behind it
    ) -> None:
        super().__init__()
        del own, restored
        vocab_size = reader.tokenizer.vocab_size
        self.transformer = TransformerEncoder(
            vocab_size=vocab_size,
            max_tokens=reader.max_tokens,
            width=width,
            layers=layers,
            heads=heads,
            dropout=dropout,
            positions=positions,
            norm=norm,
            causal=True,
            embedding_scale=math.sqrt(width),
        )
        # Not tied to the embeddings: learners cut those down to the rows that an episode looks up,
        # and the output needs all of them.
        self.output = nn.Linear(width, vocab_size)
        self.layers, self.dropout, self.longest = layers, dropout, reader.max_tokens
        self.lookups = {
            f"transformer.{name}": ids for name, ids in TransformerEncoder.lookups.items()
        }
        self.varying = {**VARYING, **dict.fromkeys(self.lookups, (0,)), "kept": (0,)}

    def prepare(self, inputs: Inputs) -> Inputs:
        """With positions' sines, and where each head finds its vectors."""
        return {**inputs, **self.transformer.frozen(inputs)}

    def stack(self, batches: Sequence[Inputs]) -> Inputs:
        """Padded to the most tokens, and to the longest sequence."""
        return stack(batches)

    def pad(self, inputs: Inputs) -> Inputs:
        """With something at every place; `kept` [T] are the places that count as outputs."""
        return {**pad(inputs), "kept": inputs["places"]}

    def layer_of(self, name: str) -> int:
        """The block; -1 for embeddings, `layers` for the last norm, and the output behind it."""
        inside = name.removeprefix("transformer.")
        return self.layers + 1 if inside == name else self.transformer.layer_of(inside)

    def draw_dropout(self, inputs: Inputs, generator: torch.Generator) -> Tensor:
        """What multiplies the blocks' outputs."""
        return self.transformer.draw_dropout(inputs, generator)

    def trunk(self, parameters: Parameters, inputs: Inputs, depth: int) -> Parameters:
        """[T, D] token vectors; of a trunk of all layers, behind the last norm."""
        if depth == 0:
            return {}
        only_trunk = depth <= self.layers
        return {HIDDEN: self._vectors(parameters, inputs, depth, only_trunk=only_trunk)}

    def outputs(self, parameters: Parameters, inputs: Inputs, depth: int = 0) -> Tensor:
        """[T, V] the score of each token to come next, after each token."""
        if depth > self.layers and HIDDEN in parameters:
            x_TD = parameters[HIDDEN]
        else:
            x_TD = self._vectors(parameters, inputs, depth, only_trunk=False)
        logits_TV: Tensor = call(self.output, parameters, "output.", x_TD)
        return logits_TV.index_select(0, inputs["kept"]) if "kept" in inputs else logits_TV

    def decoder(self, parameters: Parameters, inputs: Inputs) -> CachedDecoder:
        """What goes on from packed prompts, a token at a time."""

        def read(inputs: Inputs, past: Past) -> Tensor:
            x_TD = call(self.transformer, parameters, "transformer.", inputs, past=past)
            logits_TV: Tensor = call(self.output, parameters, "output.", x_TD)
            return logits_TV

        def step(tokens_N: Tensor, positions_N: Tensor) -> Inputs:
            return self.prepare(one_each(tokens_N, positions_N))

        return CachedDecoder(read, step, inputs, Past.of(self.layers))

    def _vectors(
        self, parameters: Parameters, inputs: Inputs, depth: int, *, only_trunk: bool
    ) -> Tensor:
        """[T, D] token vectors."""
        if HIDDEN in parameters:
            inputs = {**inputs, HIDDEN: parameters[HIDDEN]}
        x_TD: Tensor = call(
            self.transformer, parameters, "transformer.", inputs, trunk=depth, only_trunk=only_trunk
        )
        return x_TD

    def for_transformers(self, parameters: Parameters) -> tuple[dict[str, Any], Parameters] | None:
        """A GPT-2, where positions are not rotary and norms stand before blocks."""
        return as_gpt2(self.transformer, parameters, self.longest)
