"""`train init=RUN`: the run whose weights another starts from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaformer_cli.config.saved import checkpoint_file
from metaformer_cli.seal import file_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from metaformer_cli.models.model import Parameters
    from metaformer_cli.training.checkpoint import Checkpoint

NAMED = 2  # parameters that a line names


class MissingOriginError(ValueError):
    """The weights that a run started from are not there any more, or others are."""


@dataclass(frozen=True)
class Origin:
    """A checkpoint to start from.

    Attributes:
        file: where it is.
        checkpoint: what it holds.
    """

    file: Path
    checkpoint: Checkpoint

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Origin | None:
        """What a configuration says that its run starts from, if anything.

        Args:
            values: of a command, or from a checkpoint, as plain values.

        Raises:
            MissingOriginError: it is gone, or its hash is another.
            ValueError: it is not a whole checkpoint.
        """
        if values.get("init") is None:
            return None
        from metaformer_cli.training.checkpoint import load

        found, file = sha256_of(values["init"])
        if values.get("init_sha256") not in (None, found):
            raise MissingOriginError(
                f"init={values['init']}: {file} is not the one that was started from (sha256 "
                f"{found[:8]}…, expected {str(values['init_sha256'])[:8]}…): put it back"
            )
        return cls(file, load(file))

    def weights(self, first: Parameters) -> tuple[Parameters, str]:
        """`first` with all that the checkpoint has of it; what that is and is not, in words.

        Raises:
            ValueError: it has nothing of it, or something in another shape.
        """
        from metaformer_cli.learners.joint_training import BIAS, WEIGHT

        theirs = self.checkpoint.meta
        both = [name for name in first if name in theirs and name not in (WEIGHT, BIAS)]
        if not both:
            raise ValueError(
                f"init={self.file}: it has none of this model's parameters: expected a run of the "
                "same model; leave model= out, and it is the run's"
            )
        for name in both:
            if theirs[name].shape != first[name].shape:
                raise ValueError(
                    f"init={self.file}: {name} has shape {tuple(theirs[name].shape)} there, and "
                    f"{tuple(first[name].shape)} here: expected the same sizes; leave model.* out, "
                    "and they are the run's"
                )
        taken = {name: theirs[name].to(first[name]) for name in both}
        told = f"{self.file}: {len(taken):,} of {len(first):,} parameters are taken over"
        if anew := first.keys() - taken.keys():
            told += f"; anew {_named(anew)}"
        if left := theirs.keys() - taken.keys():
            told += f"; left behind {_named(left)}"
        return first | taken, told


def sha256_of(init: str) -> tuple[str, Path]:
    """The hash of the checkpoint that `init` means, and its file.

    Raises:
        MissingOriginError: it is not there.
    """
    try:
        file = checkpoint_file(init)
    except ValueError as error:
        raise MissingOriginError(f"init={error}") from error
    return file_sha256(file), file


def _named(names: Collection[str]) -> str:
    """How many, and the first of them."""
    more = ", …" if len(names) > NAMED else ""
    return f"{len(names):,} ({', '.join(sorted(names)[:NAMED])}{more})"
