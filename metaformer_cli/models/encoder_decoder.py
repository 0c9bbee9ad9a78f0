"""`model=encoder_decoder`: a Transformer from sequences to sequences, trained from scratch.

Shape suffixes: S packed source tokens, T packed target tokens, N pairs, L places of the longest
target, M places of the longest source, V vocabulary, D width, E twice that, H heads, K width of a
head (D / H).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

import torch
from torch import Tensor, nn

from metaformer_cli.choices import at_least, divisible, fraction, model
from metaformer_cli.models.attention import attention, visible
from metaformer_cli.models.blocks import Block, Keep, LayerNorm, TransformerEncoder, draw_kept
from metaformer_cli.models.cached import CachedDecoder, Kept, Past
from metaformer_cli.models.causal import Reader
from metaformer_cli.models.model import HIDDEN, Inputs, Model, Parameters, call
from metaformer_cli.models.packed import (
    SOURCE,
    VARYING,
    at_places,
    of_source,
    of_target,
    one_each,
    pad,
    stack,
)

MEMORY: Final = "memory"  # the source's last vectors, among the decoder's inputs


@model(
    "encoder_decoder",
    inputs=("pairs",),
    outputs=("tokens",),
    rules=(divisible("width", "heads"),),
    suits={
        "learner.inner_lr": 0.1,
        "learner.inner_steps": 20,  # of a new language's letters each must first be found
        "task.renamed": 0.7,
        "train.steps": 460,
        "train.joint_steps": 400,
        "train.meta_batch": 2,
        "train.joint_lr": 0.0015,
        "train.lr": 3e-4,
        "train.rate_lr": 0.1,
        "train.warmup_steps": 50,
        "train.eval_every": 230,
        "train.valid_episodes": 16,  # each is a search
    },
)
class EncoderDecoder(Model):
    """A Transformer that scores each next target token (Vaswani et al. 2017, figure 1).

    The encoder reads the source, every token seeing all others. The decoder reads the target as far
    as it goes, no token seeing a later one, and between attention and perceptron each of its blocks
    attends to the encoder's last vectors of the same pair. Both have one table of embeddings,
    scaled by √D (section 3.4). The layers are numbered through: those of the encoder, whose last
    norm belongs to the last of them, then those of the decoder.

    Args:
        reader: the tokens of both sides, and the longest sequence of either.
        own: nothing: it brings nothing with it.
        restored: whether a checkpoint's weights will replace these.
    """

    def __init__(
        self,
        reader: Reader,
        own: str,
        restored: bool,
        *,
        width: Annotated[int, at_least(1)] = 128,  # features a token
        layers: Annotated[int, at_least(1)] = 2,  # of the encoder, and as many of the decoder
        heads: Annotated[int, at_least(1)] = 4,  # of attention; width is divisible by it
        dropout: Annotated[float, fraction] = 0.0,  # probability, in training only
        positions: Literal["sinusoidal", "learned", "rotary"] = "sinusoidal",  # how places are told
        norm: Literal["pre", "post"] = "pre",  # before what a block reads, or behind it
    ) -> None:
        super().__init__()
        del own, restored
        vocab_size = reader.tokenizer.vocab_size
        encoder = TransformerEncoder(
            vocab_size=vocab_size,
            max_tokens=reader.max_tokens,
            width=width,
            layers=layers,
            heads=heads,
            dropout=dropout,
            positions=positions,
            norm=norm,
            causal=False,
            embedding_scale=math.sqrt(width),
        )
        self.body = Body(encoder, layers, pre_norm=norm == "pre")
        self.output = nn.Linear(width, vocab_size)  # not tied, as in models/causal.py
        self.layers, self.dropout = 2 * layers, dropout
        self.lookups = {
            f"body.encoder.{name}": ids for name, ids in TransformerEncoder.lookups.items()
        }
        both = {**VARYING, **{SOURCE + name: axes for name, axes in VARYING.items()}}
        self.varying = {**both, **dict.fromkeys(self.lookups, (0,)), "kept": (0,)}
        self.varying["dropout"] = (2,)

    def prepare(self, inputs: Inputs) -> Inputs:
        """With positions' sines, and where each head finds its vectors, of either side."""
        frozen = self.body.encoder.frozen
        of_sources = {SOURCE + name: own for name, own in frozen(of_source(inputs)).items()}
        return {**inputs, **frozen(inputs), **of_sources}

    def stack(self, batches: Sequence[Inputs]) -> Inputs:
        """Either side padded to the most tokens, and to the longest sequence."""
        sources = stack([of_source(batch) for batch in batches])
        targets = stack([of_target(batch) for batch in batches])
        del sources["types"]  # which targets have too
        return {**targets, **{SOURCE + name: value for name, value in sources.items()}}

    def pad(self, inputs: Inputs) -> Inputs:
        """With something at every place; `kept` [T] are the places that count as outputs."""
        source, target = pad(of_source(inputs)), pad(of_target(inputs))
        count = len(source["types"])  # in `pad` each token is a type: the source's come first here
        joined = torch.cat([source["types"], target["types"]])
        target |= {"types": joined, "type_of": target["type_of"] + count}
        del source["types"]
        kept = {"kept": inputs["places"]}
        return {**target, **kept, **{SOURCE + name: value for name, value in source.items()}}

    def layer_of(self, name: str) -> int:
        """The block; -1 for embeddings, `layers` for the last norm, and the output behind it."""
        inside = name.removeprefix("body.")
        if inside == name:
            return self.layers + 1
        if inside.startswith("encoder."):
            return min(
                self.body.encoder.layer_of(inside.removeprefix("encoder.")),
                self.body.encoder.layers - 1,
            )
        is_block = inside.startswith("blocks.")
        return self.body.encoder.layers + int(inside.split(".")[1]) if is_block else self.layers

    def draw_dropout(self, inputs: Inputs, generator: torch.Generator) -> Tensor:
        """What multiplies the blocks' outputs: [2, 3 · layers, max(S, T), D], the source first."""
        most = max(len(inputs["tokens"]), len(inputs[SOURCE + "tokens"]))
        shape = (2, 3 * self.body.encoder.layers, most, self.body.encoder.width)
        return draw_kept(shape, self.dropout, generator, inputs["tokens"].device)

    def trunk(self, parameters: Parameters, inputs: Inputs, depth: int) -> Parameters:
        """[S + T, D] token vectors of source and target; behind the last norm, of all layers."""
        if depth == 0:
            return {}
        return {HIDDEN: call(self.body, parameters, "body.", inputs, depth, only_trunk=True)}

    def outputs(self, parameters: Parameters, inputs: Inputs, depth: int = 0) -> Tensor:
        """[T, V] the score of each token to come next, after each token of the targets."""
        if HIDDEN in parameters:
            inputs = {**inputs, HIDDEN: parameters[HIDDEN]}
        x_TD: Tensor = call(self.body, parameters, "body.", inputs, depth)
        logits_TV: Tensor = call(self.output, parameters, "output.", x_TD)
        return logits_TV.index_select(0, inputs["kept"]) if "kept" in inputs else logits_TV

    def decoder(self, parameters: Parameters, inputs: Inputs) -> CachedDecoder:
        """What goes on from the targets that `inputs` hold, a token at a time."""
        encoder = self.body.encoder

        def read(inputs: Inputs, past: Past) -> Tensor:
            x_TD = call(self.body, parameters, "body.", inputs, past=past)
            logits_TV: Tensor = call(self.output, parameters, "output.", x_TD)
            return logits_TV

        def step(tokens_N: Tensor, positions_N: Tensor) -> Inputs:
            inputs = one_each(tokens_N, positions_N)
            return {**inputs, **encoder.frozen(inputs)}

        return CachedDecoder(read, step, inputs, Past.of(len(self.body.blocks), crossed=True))


class Body(nn.Module):
    """The encoder, and the decoder's blocks and last norm.

    Args:
        encoder: whose embeddings and positions the decoder shares.
        layers: of the decoder.
        pre_norm: whether blocks normalise what they read.
    """

    def __init__(self, encoder: TransformerEncoder, layers: int, *, pre_norm: bool) -> None:
        super().__init__()
        self.encoder = encoder
        width, heads = encoder.width, encoder.heads
        self.blocks = nn.ModuleList(
            DecoderBlock(width=width, heads=heads, pre_norm=pre_norm) for _ in range(layers)
        )
        self.final_norm = LayerNorm(width) if pre_norm else nn.Identity()

    def forward(
        self,
        inputs: Inputs,
        depth: int = 0,
        *,
        only_trunk: bool = False,
        past: Past | None = None,
    ) -> Tensor:
        """[T, D] a vector for each target token; of a trunk, what `hidden` takes in.

        Args:
            inputs: as `EncoderDecoder.prepare` gave them; `hidden` [S + T, D], what the trunk gave.
            depth: of the trunk.
            only_trunk: stop there.
            past: what was read of the same targets before, and takes what is read now.
        """
        source, target = of_source(inputs), of_target(inputs)
        given, keep = inputs.get(HIDDEN), inputs.get("dropout")
        above = max(0, depth - self.encoder.layers)  # blocks of the decoder in the trunk
        if given is None:
            x_SD, (x_TD, _) = None, self.encoder.embed(target)
        else:
            x_SD, x_TD = torch.split(given, [len(source["tokens"]), len(target["tokens"])])
            if above > len(self.blocks):
                return x_TD
        if keep is not None:
            source["dropout"] = keep[0, :, : len(source["tokens"])]
        if past is None or past.source_mask is None:  # else its keys and values are kept
            x_SD = self.encode(source, x_SD, depth, only_trunk=only_trunk)
        target |= _seen(source, target, x_SD, past)
        first, last = 0 if given is None else above, above if only_trunk else len(self.blocks)
        for i, block in [*enumerate(self.blocks)][first:last]:
            own = [1.0] * 3 if keep is None else keep[1, 3 * i : 3 * i + 3, : len(x_TD)].unbind(0)
            kept, crossed = (past.layers[i], past.crossed[i]) if past else (None, None)
            x_TD = block(x_TD, target, own, None, kept, crossed)
        if not only_trunk or above > len(self.blocks):
            x_TD = self.final_norm(x_TD)
        if not only_trunk:
            return x_TD
        assert x_SD is not None
        return torch.cat([x_SD, x_TD])

    def encode(
        self, source: Inputs, x_SD: Tensor | None, depth: int, *, only_trunk: bool
    ) -> Tensor:
        """[S, D] a vector for each source token; of a trunk within the encoder, what it gives.

        Args:
            source: its inputs.
            x_SD: what the trunk gave, to go on from.
            depth: of the trunk.
            only_trunk: stop there.
        """
        layers = self.encoder.layers
        if x_SD is not None and depth >= layers:
            return x_SD
        inputs = source if x_SD is None else {**source, HIDDEN: x_SD}
        stop = only_trunk and depth < layers
        encoded_SD: Tensor = self.encoder(inputs, trunk=min(depth, layers), only_trunk=stop)
        return encoded_SD


def _seen(
    source: Inputs, target: Inputs, memory_SD: Tensor | None, past: Past | None
) -> dict[str, Tensor]:
    """What the decoder's blocks look at: earlier tokens of the target, and all of the source."""
    visible_N1LL = visible(target["mask"], causal=True, window=None)
    seen = {}
    if memory_SD is not None:
        seen = {MEMORY: memory_SD, SOURCE + "slots": source["slots"]}
    if past is None:
        return {**seen, "visible": visible_N1LL, SOURCE + "mask": source["mask"]}
    if past.source_mask is None:
        past.source_mask = source["mask"]
    visible_N1LL = past.sees(visible_N1LL, target["mask"])
    return {**seen, "visible": visible_N1LL, SOURCE + "mask": past.source_mask}


class DecoderBlock(Block):
    """A block that attends to the source between its own attention and the perceptron."""

    def __init__(self, *, width: int, heads: int, pre_norm: bool) -> None:
        super().__init__(width=width, heads=heads, pre_norm=pre_norm)
        self.cross_norm = LayerNorm(width)
        self.cross_query = nn.Linear(width, width)
        self.cross_key_value = nn.Linear(width, 2 * width)
        self.cross_out = nn.Linear(width, width)

    def forward(
        self,
        x_TD: Tensor,
        inputs: Mapping[str, Tensor],
        keep: Sequence[Keep],
        types_UD: Tensor | None,
        kept: Kept | None = None,
        crossed: Kept | None = None,
    ) -> Tensor:
        """[T, D] the residual stream behind this block.

        Args:
            x_TD: the residual stream before it.
            inputs: as in `Body.forward`; `memory` [S, D] are the source's last vectors.
            keep: what multiplies the outputs of attention, of that to the source, and of the
                perceptron.
            types_UD: as in `Block.forward`.
            kept: as in `Block.forward`.
            crossed: the keys and values of the source, and takes them where it has none.
        """
        assert types_UD is None
        attended_TD = keep[0] * self.attend(self.project(x_TD), inputs, kept)
        if self.pre_norm:
            x_TD = x_TD + attended_TD
            x_TD = x_TD + keep[1] * self.cross(self.cross_norm(x_TD), inputs, crossed)
            return x_TD + keep[2] * self.mlp(self.mlp_norm(x_TD))
        x_TD = self.attention_norm(x_TD + attended_TD)
        x_TD = self.cross_norm(x_TD + keep[1] * self.cross(x_TD, inputs, crossed))
        output_TD: Tensor = self.mlp_norm(x_TD + keep[2] * self.mlp(x_TD))
        return output_TD

    def cross(self, x_TD: Tensor, inputs: Mapping[str, Tensor], crossed: Kept | None) -> Tensor:
        """[T, D] what each target token gathers from the source of its pair."""
        query_NLD = at_places(self.cross_query(x_TD), inputs)
        query_NHLK = query_NLD.view(*query_NLD.shape[:2], self.heads, -1).transpose(1, 2)
        if crossed is not None and crossed.key_value is not None:
            key_NHMK, value_NHMK = crossed.key_value
        else:
            key_value_SE = self.cross_key_value(inputs[MEMORY])
            key_value_NME = at_places(key_value_SE, {"slots": inputs[SOURCE + "slots"]})
            key_value_NM2HK = key_value_NME.view(*key_value_NME.shape[:2], 2, self.heads, -1)
            key_NHMK, value_NHMK = key_value_NM2HK.permute(2, 0, 3, 1, 4).unbind(0)
            if crossed is not None:
                crossed.extended(key_NHMK, value_NHMK)
        seen_N11M = inputs[SOURCE + "mask"][:, None, None]
        attended_NHLK = attention(query_NHLK, key_NHMK, value_NHMK, seen_N11M)
        attended_PD = attended_NHLK.transpose(1, 2).flatten(2).flatten(0, 1)  # P = N · L
        output_TD: Tensor = self.cross_out(attended_PD.index_select(0, inputs["places"]))
        return output_TD
