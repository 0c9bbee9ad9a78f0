"""What every model is: functions of named parameters, with what an episode adds to them.

A model is called functionally: parameters are a flat mapping of names to tensors, so an adapted
model is data, and nothing is copied or patched. What an episode adds to the meta-parameters (a
classifier, or nothing) is the model's affair, and so is the format of its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metaformer_cli.models.cached import CachedDecoder

Inputs = Mapping[str, Tensor]
Parameters = dict[str, Tensor]

HIDDEN = "hidden"  # what the trunk gives, among parameters, as it is a function of them


@dataclass(frozen=True)
class Plain:
    """An input as other programs hold it.

    Attributes:
        vary: how many of its first axes may have other sizes from call to call.
        meaning: type, shape and content, in words.
    """

    vary: int
    meaning: str


class Model(nn.Module):
    """What learners adapt. The layers are numbered from the inputs to the outputs.

    Layer -1 is what embeds the inputs; 0 to `layers` - 1 are the Transformer's; `layers` is what
    follows the last of them, such as a norm; `layers` + 1 is an output layer of the model's own.
    The *trunk* of depth d is all layers below number d: what lies below all that adapts, and
    so needs to run only once an episode.

    Attributes:
        layers: how many Transformer layers there are.
        dropout: the share of each block's output that is dropped in training.
        lookups: the meta-parameters that are only looked up by rows, and the input with the rows.
            Plain gradient descent leaves all other rows as they are.
        varying: the axes of each input whose sizes differ between episodes.
        added: the names of what `start` adds, with their shapes, and 1 for an axis whose size
            differs between episodes, such as that of classes.
        starts_from_support: whether `start` reads the support set, through the whole model.
        starting: the meta-parameters that `start` alone reads.
        plain: the inputs as other programs hold them, by name, each with a first axis of examples;
            none where there is no such form, and then the adapted model is no exported program.
        pretrained: whether its features are good before meta-training.
        compiles: whether PyTorch's compiler follows its code.
        advice: options that may help where nothing is learned, each with `, ` behind it.
    """

    advice: ClassVar[str] = ""
    pretrained: ClassVar[bool] = False

    layers: int
    dropout: float = 0.0
    compiles: bool = True
    lookups: Mapping[str, str]
    varying: Mapping[str, Sequence[int]]
    added: Mapping[str, tuple[int, ...]] = MappingProxyType({})
    starts_from_support: bool = False
    starting: frozenset[str] = frozenset()
    plain: ClassVar[Mapping[str, Plain]] = {}

    @property
    def used(self) -> Parameters:
        """The parameters that are learned, without those that `start` alone reads."""
        return {
            name: value
            for name, value in self.named_parameters()
            if value.requires_grad and name not in self.starting
        }

    @classmethod
    def bring(cls, **options: Any) -> str:
        """What the model brings with it, such as a tokenizer, as text for checkpoints; or nothing.

        Args:
            options: of the choice, as the user gives them.
        """
        del options
        return ""

    @classmethod
    def pin(cls, **options: Any) -> dict[str, Any]:
        """The options, with the hash of what a run starts from, for its configuration.

        Args:
            options: of the choice, as the user gives them.

        Raises:
            ValueError: a hash was given, and is another.
        """
        return options

    def prepare(self, inputs: Inputs) -> Inputs:
        """`inputs` with what `outputs` reads besides and no parameter changes; once an episode."""
        return inputs

    def prepare_in_parts(self, inputs: Inputs) -> Inputs:
        """As `prepare`, where one derivative is enough: a model may then read many rows in parts.

        So memory does not grow with what layers hold of each row.
        """
        return self.prepare(inputs)

    def stack(self, batches: Sequence[Inputs]) -> Inputs:
        """The prepared inputs of episodes as one, each tensor with a new first axis."""
        return {name: torch.stack([batch[name] for batch in batches]) for name in batches[0]}

    def pad(self, inputs: Inputs) -> Inputs:
        """Inputs as most programs hold a batch, padded to the longest; to compare with."""
        return inputs

    def layer_of(self, name: str) -> int:
        """The number of the layer that a parameter belongs to."""
        raise NotImplementedError

    def draw_dropout(self, inputs: Inputs, generator: torch.Generator) -> Tensor:
        """What the input `dropout` holds in training, where `dropout` is not 0."""
        raise NotImplementedError

    def trunk(self, parameters: Parameters, inputs: Inputs, depth: int) -> Parameters:
        """What the trunk of that depth gives, under the name `HIDDEN`; of depth 0, nothing.

        Given among the parameters, it spares the other methods its computation.
        """
        raise NotImplementedError

    def start(
        self, parameters: Parameters, inputs: Inputs, targets: Tensor, depth: int = 0
    ) -> Parameters:
        """What an episode adds, before the first step; differentiable in the parameters.

        Args:
            parameters: meta-parameters, and optionally the trunk.
            inputs: of the support set.
            targets: of the support set.
            depth: of the trunk.
        """
        del parameters, inputs, targets, depth
        return {}

    def outputs(self, parameters: Parameters, inputs: Inputs, depth: int = 0) -> Tensor:
        """What is asked of the inputs: [N, C] scores, [N] values or [T, V] next tokens' scores.

        Args:
            parameters: meta-parameters, what `start` added, and optionally the trunk.
            inputs: what `prepare` gave.
            depth: of the trunk.
        """
        raise NotImplementedError

    def decoder(self, parameters: Parameters, inputs: Inputs) -> CachedDecoder:
        """What goes on from packed prompts, a token at a time; of models that give tokens.

        Args:
            parameters: as for `outputs`.
            inputs: prompts, none empty, as `prepare` gave them; with a source, targets' beginnings.
        """
        raise NotImplementedError

    def add_lora(self, rank: int) -> None:
        """Freeze the model, and put low-rank updates beside its linear maps.

        Args:
            rank: of each.

        Raises:
            ValueError: the model takes none.
        """
        raise ValueError(
            f"learner.adapt=lora, lora_rank={rank}: this model takes no low-rank updates; "
            "expected learner.adapt=all, head, bias_norm or last_N"
        )

    def export(self, folder: Path, parameters: Callable[[], Parameters]) -> str:
        """Write what other programs read of the model; by itself, nothing.

        Args:
            folder: is made.
            parameters: gives the meta-parameters.

        Returns:
            What was written, in words.
        """
        del folder, parameters
        return ""

    def to_plain(self, inputs: Inputs) -> dict[str, Tensor]:
        """Inputs, not prepared, as other programs hold them: what `plain` describes."""
        raise NotImplementedError

    def from_plain(self, plain: Inputs) -> Inputs:
        """Inputs, not prepared, from what `plain` describes; traced by torch.export."""
        raise NotImplementedError

    def for_transformers(self, parameters: Parameters) -> tuple[dict[str, Any], Parameters] | None:
        """A config.json and weights of the `transformers` library that compute the same.

        Args:
            parameters: all that the model has.

        Returns:
            None: no architecture of that library does.
        """
        del parameters
        return None

    def added_count(self, inputs: Inputs) -> int:
        """How many numbers `start` adds."""
        del inputs
        return 0


class FeatureModel(Model):
    """A model of features [N, D], which feature learners compare.

    Attributes:
        width: D.
    """

    width: int

    def features(self, parameters: Parameters, inputs: Inputs, depth: int = 0) -> Tensor:
        """[N, D] features of N examples."""
        raise NotImplementedError

    def names(self, inputs: Inputs) -> list[Hashable]:
        """What tells examples apart: equal for two that have the same features.

        Args:
            inputs: not prepared.
        """
        raise NotImplementedError

    def take(self, inputs: Inputs, rows_M: Tensor) -> Inputs:
        """The inputs of some rows, not prepared.

        Args:
            inputs: not prepared either.
            rows_M: which.
        """
        raise NotImplementedError


def call(module: nn.Module, parameters: Parameters, prefix: str, *inputs: Any, **named: Any) -> Any:
    """The module, with those of the parameters whose names begin with `prefix` as its own."""
    return functional_call(module, strip(parameters, prefix), inputs, named)


def strip(parameters: Parameters, prefix: str) -> Parameters:
    """The parameters under `prefix`, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in parameters.items()
        if name.startswith(prefix)
    }
