"""What `eval` and `compare` share: a learner, the groups it may be judged on, and judging it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from metaformer_cli.commands.build import (
    Built,
    build,
    build_task,
    groups_of,
    load_data,
    load_judged,
    pin,
)
from metaformer_cli.commands.recorded import Judged, judged_groups
from metaformer_cli.config.saved import checkpoint_file
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.episode import Groups
from metaformer_cli.tasks.task import EpisodeSampler, Task, judging_sampler

if TYPE_CHECKING:
    from torch import Tensor

    from metaformer_cli.config.schema import EvalCommand
    from metaformer_cli.episode import Drawn, Episode, Examples
    from metaformer_cli.training.evaluation import Evaluation
    from metaformer_cli.training.processes import Processes


AS_ONE: Final = 64  # episodes at most that adapt as one on a GPU: more make it no faster


@dataclass(frozen=True)
class Candidate:
    """A learner to be judged, before it is built.

    Attributes:
        config: how to judge it.
        file: its checkpoint, if any.
        task: whose episodes.
        dataset: as it is today.
        judged: the groups that it may be judged on.
    """

    config: EvalCommand
    file: Path | None
    task: Task
    dataset: Dataset
    judged: Judged

    @classmethod
    def of(
        cls, config: EvalCommand, loaded: MutableMapping[str, Dataset] | None = None
    ) -> Candidate:
        """What a configuration asks to judge.

        Args:
            config: of the command.
            loaded: data sets that are there already, by what they were loaded with; takes this one.

        Raises:
            ValueError: the data or the checkpoint cannot be used.
        """
        task = build_task(config)
        key = json.dumps([config.data, config.task], sort_keys=True)
        dataset = (loaded or {}).get(key) or load_data(config, task)
        if loaded is not None:
            loaded[key] = dataset
        file = checkpoint_file(config.ckpt) if config.ckpt else None
        if config.average and not file:
            raise ValueError(
                f"average={config.average} is of a run's checkpoints: give ckpt=RUN too"
            )
        _check_steps(config)
        return cls(config, file, task, dataset, judged_groups(config, file, dataset, task))

    @property
    def training_groups(self) -> Groups:
        """What a task learns from where no checkpoint holds what it learned."""
        return {} if self.file else groups_of(self.dataset, "train", self.task)

    @property
    def sampler(self) -> EpisodeSampler:
        """Of the episodes."""
        return judging_sampler(self.task, self.judged.groups, self.config.eval.split)

    def pinned(self) -> Candidate:
        """With the hashes of the weights that it is judged with, where no checkpoint holds them."""
        return self if self.file else replace(self, config=pin(self.config))

    def build(self, train: Groups, device: str, *, start: bool = False) -> Built:
        """The learner, and its meta-parameters: see `build`."""
        checkpoint = load_judged(self.file, self.config) if self.file else None
        return build(self.config, self.task, train, device, checkpoint, file=self.file, start=start)

    def episodes(self, places: Iterable[int] | None = None) -> list[Episode]:
        """The fixed episodes, or some of them, once the task knows what it learned."""
        sampler = self.sampler
        every = range(self.config.eval.episodes)
        return [sampler.episode(index) for index in (every if places is None else places)]

    def drawn(self) -> Iterator[Drawn]:
        """The fixed episodes in words."""
        return map(self.sampler.drawn, range(self.config.eval.episodes))


def _check_steps(config: EvalCommand) -> None:
    """Check that no fewer inner steps are shown than count.

    Raises:
        ValueError: `eval.inner_steps` is below `learner.inner_steps`.
    """
    shown, own = config.eval.inner_steps, config.learner.get("inner_steps")
    if shown is not None and own is not None and shown < own:
        raise ValueError(
            f"eval.inner_steps={shown} is below learner.inner_steps={own}, after which the score "
            f"counts: expected at least {own}; for fewer, give learner.inner_steps={shown}"
        )


def run_as_one(built: Built, episode: Episode, device: str) -> None:
    """Adapt as many episodes as one as fit on a GPU, whose kernels would be small."""
    from metaformer_cli.learners.gradient import GradientLearner
    from metaformer_cli.training.free_memory import free_memory

    learner, free = built.learner, free_memory(device)
    if isinstance(learner, GradientLearner) and free is not None:
        learner.fit_to(free, learner.footprint(built.meta, episode), AS_ONE)


def judge(
    candidate: Candidate,
    built: Built,
    episodes: Sequence[Episode],
    device: str,
    *,
    title: str = "",
    watch: Callable[[Tensor, Examples], None] | None = None,
    processes: Processes | None = None,
) -> Evaluation:
    """Judge a learner on episodes; the score that counts is that after `learner.inner_steps`.

    Args:
        candidate: what is judged.
        built: of it.
        episodes: of `Candidate.episodes`; of several processes, each has its share.
        device: where to compute.
        title: of the progress bar; by itself, where it is judged.
        watch: is shown each episode's answers, and its queries.
        processes: which share the episodes; each finds the same. None: this one alone.

    Raises:
        FloatingPointError: adapting to an episode overflowed.
    """
    from metaformer_cli.training.evaluation import evaluate
    from metaformer_cli.training.processes import ONE_PROCESS

    if device.startswith("cuda") and episodes:
        run_as_one(built, episodes[0].to(device), device)
    config, learner = candidate.config, built.learner
    steps, shown = config.learner.get("inner_steps"), config.eval.inner_steps
    if steps is not None and shown is not None:
        learner = copy(learner)  # the one that others are judged with takes its own steps
        learner.inner_steps = shown
    return evaluate(
        learner,
        built.meta,
        episodes,
        candidate.task.objective,
        device=device,
        title=title or f"evaluate on {config.eval.split}",
        every_step=True,
        steps=None if shown is None else steps,
        watch=watch,
        processes=processes or ONE_PROCESS,
    )
