"""Encoders that were pretrained elsewhere, run on packed tokens by the modules of `transformers`.

Of a Hugging Face model, this uses the layers and what lies before and behind them, but not its
`forward`: that pads, caches, and masks in ways that second derivatives and `vmap` do not follow.
As in `TransformerEncoder`, all tokens lie on one packed axis, and attention alone sees a padded
view. A BERT or one of its kind comes here only where its configuration has something that our own
blocks have not: see `bert.py`.

Shape suffixes: T packed tokens, U types of them (distinct ids), N sequences, L places of the
longest sequence, D width, H heads, K width of a head; 1 is the batch axis that Hugging Face's
modules expect.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from metaformer_cli.models.attention import packed_attention, visible
from metaformer_cli.models.bert import ROBERTAS
from metaformer_cli.models.bert_encoder import RADIUS
from metaformer_cli.models.blocks import LayerNorm
from metaformer_cli.models.encoder import Encoder, of_length, pool
from metaformer_cli.models.hub import one_line
from metaformer_cli.models.lora import merge_lora
from metaformer_cli.models.packed import heads_apart
from metaformer_cli.models.weights import Weights

# By model type: where the layers are, and the norm behind the last one.
ARCHITECTURES: Mapping[str, tuple[str, str | None]] = {
    "bert": ("encoder.layer", None),
    "camembert": ("encoder.layer", None),
    "distilbert": ("transformer.layer", None),
    "electra": ("encoder.layer", None),
    "gpt2": ("h", "ln_f"),
    "modernbert": ("layers", "final_norm"),
    "roberta": ("encoder.layer", None),
    "xlm-roberta": ("encoder.layer", None),
}


class PretrainedEncoder(Encoder):
    """A BERT or one of its kind, and a pooling of its token vectors.

    It runs without dropout: Hugging Face's modules draw it from the global generator, and an exact
    second derivative recomputes the forward pass, which must then give the same again.

    Args:
        config: the model's config.json, as text.
        weights: what to read, as float32; None: random ones, for a checkpoint to replace.
        pooling: `mean` over a sequence's tokens, their `max`, its `first` token, or its `last`.
        normalize: whether features have unit length, times a learned radius.

    Raises:
        ValueError: `transformers` cannot load this, weights are missing or not finite, or the model
            cannot pool like this.
    """

    compiles = False

    def __init__(
        self,
        config: str,
        weights: Weights | None,
        *,
        pooling: str,
        normalize: bool,
    ) -> None:
        super().__init__()
        values = json.loads(config)
        self.config = config
        self.architecture, self.pooling = values["model_type"], pooling
        self.normalize = normalize
        self.model = load_model(values, weights)
        self.model.eval()
        replace_norms(self.model)
        if normalize:
            self.log_radius = nn.Parameter(torch.tensor(math.log(RADIUS)))
        self.find_layers()
        self.width = int(self.model.config.hidden_size)
        self.causal = self.architecture == "gpt2" or getattr(self.model.config, "is_decoder", False)
        self.first_position = first_position(self.model.config)
        embedding = self.model.get_input_embeddings()
        name = next(name for name, module in self.named_modules() if module is embedding)
        self.lookups = {f"{name}.weight": "types"}
        if self.causal and pooling == "first":
            raise ValueError(
                "model.pooling=first: the first token of a causal model sees no other; "
                "give model.pooling=mean or model.pooling=last"
            )

    def find_layers(self) -> None:
        """Note where the layers are, and how many."""
        self.layers_path, self.norm_path = ARCHITECTURES[self.architecture]
        self.layers = len(self.model.get_submodule(self.layers_path))

    def frozen(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What `forward` reads besides, and no parameter changes: computed once an episode."""
        return heads_apart(inputs, self.model.config.num_attention_heads)

    def layer_of(self, name: str) -> int:
        """The layer that a parameter belongs to; -1: it lies before them, `layers`: behind."""
        within = f"model.{self.layers_path}."
        if name.startswith(within):
            return int(name.removeprefix(within).split(".")[0])
        behind = name == "log_radius" or name.startswith(f"model.{self.norm_path}.")
        return self.layers if behind else -1

    def forward(
        self, inputs: Mapping[str, Tensor], *, trunk: int = 0, only_trunk: bool = False
    ) -> Tensor:
        """Encode packed sequences.

        Args:
            inputs: as `packed.pack` describes; optionally `hidden` [T, D], to go on from with the
                layers behind the trunk.
            trunk: the lower layers that `only_trunk` runs, and `hidden` spares.
            only_trunk: stop after them.

        Returns:
            [N, D] features of the sequences; of the trunk, [T, D] what `hidden` takes.
        """
        if "head_slots" not in inputs:
            inputs = {**inputs, **self.frozen(inputs)}
        if "hidden" in inputs:
            x_1TD, first = inputs["hidden"][None], trunk
        else:
            x_1TD, first = self.embed(inputs), 0
        last = trunk if only_trunk else self.layers
        layers = self.model.get_submodule(self.layers_path)[first:last]
        kinds = [getattr(layer, "attention_type", "full_attention") for layer in layers]
        options = {kind: self.options(kind, x_1TD, inputs) for kind in set(kinds)}
        for layer, kind in zip(layers, kinds, strict=True):
            x_1TD = layer(x_1TD, **options[kind])
        if only_trunk:
            return x_1TD[0]
        if self.norm_path:
            x_1TD = self.model.get_submodule(self.norm_path)(x_1TD)
        return self.pool(x_1TD[0], inputs)

    def pool(self, x_TD: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """[N, D] features from token vectors."""
        x_ND = pool(x_TD, inputs, self.pooling)
        return of_length(self.log_radius.exp(), x_ND) if self.normalize else x_ND

    def embed(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """[1, T, D] what the first layer reads.

        Rows are taken by hand: the ids may be those of a cut-down embedding, in which
        `padding_idx` means another token.
        """
        weight_VD = self.model.get_input_embeddings().weight
        x_UD = weight_VD.index_select(0, inputs["types"])
        x_1TD = x_UD.index_select(0, inputs["type_of"])[None]
        positions_1T = inputs["positions"][None] + self.first_position
        if self.architecture == "gpt2":
            embedded_1TD: Tensor = x_1TD + self.model.wpe(positions_1T)
        elif self.architecture == "modernbert":
            embedded_1TD = self.model.embeddings(inputs_embeds=x_1TD)
        elif self.architecture == "distilbert":
            embedded_1TD = self.model.embeddings(None, x_1TD, positions_1T)
        else:
            embedded_1TD = self.model.embeddings(
                inputs_embeds=x_1TD,
                position_ids=positions_1T,
                token_type_ids=torch.zeros_like(positions_1T),
            )
        if hasattr(self.model, "embeddings_project"):  # of a small ELECTRA, into the layers' width
            embedded_1TD = self.model.embeddings_project(embedded_1TD)
        return embedded_1TD

    def options(self, kind: str, x_1TD: Tensor, inputs: Mapping[str, Tensor]) -> dict[str, Any]:
        """What a layer with this kind of attention is called with, besides the hidden states."""
        window = self.model.config.sliding_window if kind == "sliding_attention" else None
        options = {
            "attention_mask": visible(inputs["mask"], causal=self.causal, window=window),
            "packing": inputs,
        }
        if self.architecture == "modernbert":
            positions_1T = inputs["positions"][None]
            options["position_embeddings"] = self.model.rotary_emb(x_1TD, positions_1T, kind)
        return options

    def load(self, weights: Weights) -> None:
        """Take the numbers of the model that this one is."""
        self.model.load_state_dict(load_model(json.loads(self.config), weights).state_dict())

    def save(self, folder: Path, parameters: Mapping[str, Tensor]) -> None:
        """Write config.json and model.safetensors, for `from_pretrained`; LoRA merged.

        Args:
            folder: is made.
            parameters: the encoder's, by name; one that is missing is saved as it is here.

        Raises:
            OSError: it cannot be written.
        """
        own = {**dict(self.named_parameters()), **parameters}  # tied ones once
        state = {
            name.removeprefix("model."): value.detach().cpu().contiguous()
            for name, value in merge_lora(self, own).items()
            if name.startswith("model.")
        }
        try:
            self.model.save_pretrained(folder, state_dict=state)
        except SafetensorError as error:
            raise OSError(f"{folder}: {error}") from None


def replace_norms(model: nn.Module) -> None:
    """Put the house's layer norms, which can be differentiated twice, in the place of PyTorch's."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.LayerNorm):
                norm = LayerNorm(child.normalized_shape, eps=child.eps)
                norm.weight, norm.bias = child.weight, child.bias
                setattr(parent, name, norm)


def attend(
    module: nn.Module,
    query_1HTK: Tensor,
    key_1HTK: Tensor,
    value_1HTK: Tensor,
    attention_mask: Tensor,
    *,
    scaling: float,
    packing: Mapping[str, Tensor],
    **others: object,
) -> tuple[Tensor, None]:
    """The house's attention, as Hugging Face's layers call it.

    Args:
        module: the caller.
        query_1HTK: queries of the packed tokens.
        key_1HTK: keys.
        value_1HTK: values.
        attention_mask: [N, 1, L, L] from `visible`.
        scaling: of the scores.
        packing: with what `heads_apart` returns.
        others: what does not matter without dropout and caches.

    Returns:
        [1, T, H, K] attended values; and no weights.
    """
    del module, others
    qkv_T3HK = torch.cat([query_1HTK, key_1HTK, value_1HTK]).permute(2, 0, 1, 3)
    return packed_attention(qkv_T3HK, packing, attention_mask, scale=scaling)[None], None


def first_position(config: Any) -> int:
    """The number of a text's first position.

    RoBERTas count from behind their padding token (Liu et al. 2019's code, fairseq, pads by it).
    """
    return int(config.pad_token_id) + 1 if config.model_type in ROBERTAS else 0


def quiet_transformers() -> Any:
    """The library, which takes seconds to import, kept from saying what an error says."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def load_model(values: dict[str, Any], weights: Weights | None) -> Any:
    """The Hugging Face model of a configuration.

    Raises:
        ValueError: `transformers` cannot load this, or weights are missing or not finite.
    """
    transformers = quiet_transformers()
    transformers.AttentionInterface.register("metaformer", attend)
    kind = values["model_type"]
    attention = "metaformer" if kind in ARCHITECTURES else "eager"
    options: dict[str, Any] = {"attn_implementation": attention, "dtype": torch.float32}
    if kind in ("albert", "bert", "mpnet", *ROBERTAS):
        options["add_pooling_layer"] = False  # features do not pass through it
    # of a T5, what AutoModel means has a decoder besides
    maker = transformers.T5EncoderModel if kind == "t5" else transformers.AutoModel
    try:
        config = type(transformers.AutoConfig.for_model(kind)).from_dict(values)
        if weights is None:
            make = maker._from_config if kind == "t5" else maker.from_config
            return make(config, **options)
        model, report = maker.from_pretrained(
            weights.folder,
            config=config,
            trust_remote_code=False,
            use_safetensors=True,  # never a pickle
            output_loading_info=True,
            **options,
        )
    except Exception as error:  # noqa: BLE001, transformers raises what its parts raise
        if weights is None:
            raise ValueError(
                f"transformers cannot make the checkpoint's model ({one_line(error)})"
            ) from None
        raise ValueError(
            f"{weights.called}: expected a hub name or a folder with config.json and "
            f"model.safetensors; transformers cannot load it ({one_line(error)})"
        ) from None
    weights.refuse(report["missing_keys"], dict(model.named_parameters()))
    return model
