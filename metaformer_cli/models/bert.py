"""BERT and its kind on the house's own blocks, and their weights by the names of `transformers`.

What they are is a Transformer that normalises what a block returns (Devlin et al. 2019), with
learned positions, and a norm behind the embeddings. Families differ in where positions begin, in
types of tokens, and in names:

    BERT, and so MiniLM (Wang et al. 2020)   types of tokens; all of a text is of the first
    RoBERTa, XLM-R, CamemBERT                positions count from behind that of padding
    DistilBERT (Sanh et al. 2019)            no types
    ELECTRA (Clark et al. 2020)              embeddings may be narrower, and are projected

A configuration with anything else in it, such as another activation, has no `Shape`: then
`transformers` runs it (see `pretrained_encoder.py`).

Shape suffixes: T packed tokens, U types of them (distinct ids), D width, W width of the embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from metaformer_cli.models.blocks import LayerNorm, TransformerEncoder
from metaformer_cli.models.weights import Weights

ROBERTAS = ("camembert", "roberta", "xlm-roberta")

# What a configuration must say, where it says anything of it.
ASKED: Mapping[str, Any] = {
    **dict.fromkeys(("hidden_act", "activation"), "gelu"),
    "position_embedding_type": "absolute",
    **dict.fromkeys(("is_decoder", "add_cross_attention", "sinusoidal_pos_embds"), False),
    "pruned_heads": {},
}


@dataclass(frozen=True)
class Family:
    """How `transformers` calls what a family of models consists of.

    Attributes:
        model: its class.
        prefix: what names begin with in the weights of a model that has a head besides.
        layers: where its layers are.
        parts: of a layer, by our names; queries, keys and values are one matrix here.
        outside: the same of what lies before the layers.
        keys: of the configuration, by our names.
    """

    model: str
    prefix: str
    layers: str
    parts: Mapping[str, tuple[str, ...]]
    outside: Mapping[str, str]
    keys: Mapping[str, str]

    def theirs(self, name: str) -> tuple[str, ...]:
        """What they call our parameter: one name, or one for each part of it."""
        stem, _, end = name.rpartition(".")
        if not stem.startswith("blocks."):
            return (f"{self.outside[stem]}.{end}",)
        _, layer, part = stem.split(".")
        return tuple(f"{self.layers}.{layer}.{own}.{end}" for own in self.parts[part])


BERT_PARTS = {
    "query_key_value": tuple(f"attention.self.{name}" for name in ("query", "key", "value")),
    "attention_out": ("attention.output.dense",),
    "attention_norm": ("attention.output.LayerNorm",),
    "mlp_in": ("intermediate.dense",),
    "mlp_out": ("output.dense",),
    "mlp_norm": ("output.LayerNorm",),
}
DISTILBERT_PARTS = {
    "query_key_value": tuple(f"attention.{name}" for name in ("q_lin", "k_lin", "v_lin")),
    "attention_out": ("attention.out_lin",),
    "attention_norm": ("sa_layer_norm",),
    "mlp_in": ("ffn.lin1",),
    "mlp_out": ("ffn.lin2",),
    "mlp_norm": ("output_layer_norm",),
}
OUTSIDE = {
    "embedding": "embeddings.word_embeddings",
    "position_embedding": "embeddings.position_embeddings",
    "type_embedding": "embeddings.token_type_embeddings",
    "embedding_norm": "embeddings.LayerNorm",
    "projection": "embeddings_project",
}
BERT_KEYS = {
    "vocab_size": "vocab_size",
    "positions": "max_position_embeddings",
    "types": "type_vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
}
DISTILBERT_KEYS = {
    "vocab_size": "vocab_size",
    "positions": "max_position_embeddings",
    "width": "dim",
    "layers": "n_layers",
    "heads": "n_heads",
    "mlp_width": "hidden_dim",
}


def _like_bert(model: str, prefix: str, **keys: str) -> Family:
    return Family(model, prefix, "encoder.layer", BERT_PARTS, OUTSIDE, {**BERT_KEYS, **keys})


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "bert": _like_bert("BertModel", "bert."),
        "camembert": _like_bert("CamembertModel", "roberta."),
        "distilbert": Family(
            "DistilBertModel",
            "distilbert.",
            "transformer.layer",
            DISTILBERT_PARTS,
            OUTSIDE,
            DISTILBERT_KEYS,
        ),
        "electra": _like_bert("ElectraModel", "electra.", embedding_width="embedding_size"),
        "roberta": _like_bert("RobertaModel", "roberta."),
        "xlm-roberta": _like_bert("XLMRobertaModel", "roberta."),
    }
)


@dataclass(frozen=True)
class Shape:
    """The shape of a BERT or one of its kind.

    Attributes:
        family: how `transformers` calls its parts.
        vocab_size: tokens that it embeds.
        positions: rows of their table.
        first_position: the row of a text's first one.
        types: of tokens; 0: none.
        embedding_width: W.
        width: D.
        layers: blocks.
        heads: of attention.
        mlp_width: of the layer inside a block's perceptron.
        eps: of the norms.
    """

    family: Family
    vocab_size: int
    positions: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    embedding_width: int
    types: int = 0
    first_position: int = 0
    eps: float = 1e-12

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self | None:
        """What a config.json says; None: not all that is needed, or more than `Bert` can.

        RoBERTas count positions from behind that of their padding token (the code of Liu et al.
        2019 pads by it).
        """
        family = FAMILIES.get(values["model_type"])
        if family is None or any(values.get(key) not in (None, ASKED[key]) for key in ASKED):
            return None
        try:
            sizes = {ours: int(values[theirs]) for ours, theirs in family.keys.items()}
            first = int(values["pad_token_id"]) + 1 if values["model_type"] in ROBERTAS else 0
        except (KeyError, TypeError):
            return None
        if sizes["width"] % sizes["heads"]:
            return None
        eps = float(values.get("layer_norm_eps", cls.eps))
        sizes.setdefault("embedding_width", sizes["width"])
        return cls(family, **sizes, first_position=first, eps=eps)

    @property
    def longest(self) -> int:
        """How many tokens of a text it reads."""
        return self.positions - self.first_position


class Bert(TransformerEncoder):
    """A BERT or one of its kind, without dropout; its parameters are zero until `load`.

    Args:
        shape: of it.
    """

    def __init__(self, shape: Shape) -> None:
        with Undrawn():
            super().__init__(
                vocab_size=shape.vocab_size,
                max_tokens=shape.positions,
                width=shape.width,
                layers=shape.layers,
                heads=shape.heads,
                dropout=0.0,
                positions="learned",
                norm="post",
                mlp_width=shape.mlp_width,
                eps=shape.eps,
            )
            within = shape.embedding_width
            if within != shape.width:
                self.embedding = nn.Embedding(shape.vocab_size, within)
                self.position_embedding = nn.Embedding(shape.positions, within)
                self.projection = nn.Linear(within, shape.width)
            if shape.types:
                self.type_embedding = nn.Embedding(shape.types, within)
            self.embedding_norm = LayerNorm(within, eps=shape.eps)
        self.shape = shape
        zeros = {name: torch.zeros(value.shape) for name, value in self.state_dict().items()}
        self.load_state_dict(zeros, assign=True)

    def embed(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """[T, D] what the first block reads; positions tell the tokens of a type apart."""
        positions_T = inputs["positions"] + self.shape.first_position
        x_TW, _ = super().embed({**inputs, "positions": positions_T})
        if self.shape.types:
            x_TW = x_TW + self.type_embedding.weight[0]
        x_TW = self.embedding_norm(x_TW)
        return self.projection(x_TW) if self.shape.embedding_width != self.width else x_TW, None

    def load(self, weights: Weights) -> None:
        """Take the numbers of a model of this shape, as float32.

        Raises:
            ValueError: some are missing, not finite, or of another shape.
        """
        family, own = self.shape.family, self.state_dict()
        found = {_today(name, family.prefix): value for name, value in weights.read().items()}
        wanted = self.to_theirs(own)
        had = {name: found[name] for name in wanted if name in found}
        weights.refuse(wanted.keys() - had.keys(), had)
        for name, value in had.items():
            if value.shape != wanted[name].shape:
                raise ValueError(
                    f"{weights.called}: {name} has the shape {tuple(value.shape)}, and config.json "
                    f"says {tuple(wanted[name].shape)}; expected the configuration that belongs to "
                    "the weights"
                )
        joined = {name: torch.cat([had[part] for part in family.theirs(name)]) for name in own}
        self.load_state_dict({name: value.float() for name, value in joined.items()}, assign=True)

    def to_theirs(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our parameters by their names: the same numbers."""
        return {
            name: part.contiguous()
            for ours, value in parameters.items()
            for names in [self.shape.family.theirs(ours)]
            for name, part in zip(names, value.chunk(len(names)), strict=True)
        }


class Undrawn(TorchFunctionMode):
    """In here `torch.nn.init` leaves a module's parameters as memory was: others take their place.

    On the meta device nothing would be drawn either, but PyTorch's code for that imports its
    compiler and sympy, which takes a second.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """What `func` returns, or the tensor that it would fill."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return kwargs["tensor"]
        return func(*args, **kwargs)


def _today(name: str, prefix: str) -> str:
    """A name as `transformers` gives it today to a model without a head."""
    stem, _, end = name.removeprefix(prefix).rpartition(".")
    return ".".join([stem, {"gamma": "weight", "beta": "bias"}.get(end, end)])
