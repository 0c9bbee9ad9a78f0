"""`hydra/launcher=NAME`: a sweep's jobs in other processes, or on a cluster, by Hydra's plugins.

A plugin is used to run a function elsewhere, and no more: metaformer composes the jobs as for any
sweep. What it is told comes from the command line alone, since its options may be shell commands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

from hydra import initialize_config_module
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

# The launchers that a sweep may have -> their package, and the extra that brings it.
LAUNCHERS: Final = {
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "joblib"),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
}
KEYS: Final = ("hydra/launcher", "hydra.launcher.")


@dataclass(frozen=True)
class Launcher:
    """Runs a function elsewhere.

    Attributes:
        name: of the plugin.
        command: whose configuration Hydra composes.
        words: what it is told.
        config_module: where that configuration is.
    """

    name: str
    command: str
    words: Sequence[str]
    config_module: str

    def __call__(self, work: Callable[[int], Any], count: int) -> list[Any]:
        """What `work` returns for 0, 1, … count - 1; it must be one that can be pickled.

        Raises:
            ValueError: the launcher, or what runs its jobs, refuses them or lost one.
        """
        with initialize_config_module(self.config_module, version_base="1.3"):
            own = GlobalHydra.instance().hydra
            assert own is not None
            node = own.compose_config(self.command, [*self.words], run_mode=RunMode.MULTIRUN)
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=HydraContext(config_loader=own.config_loader, callbacks=Callbacks()),
                task_function=partial(_task, work),
                config=node,
            )
            try:
                returned = launcher.launch([[] for _ in range(count)], initial_job_idx=0)
            except RuntimeError as error:  # of submitit, which has several
                raise ValueError(f"hydra/launcher={self.name}: {error}") from error
        return [each.return_value for each in returned]


def _task(work: Callable[[int], Any], _: DictConfig) -> Any:
    """What Hydra calls, where the job runs."""
    return work(int(HydraConfig.get().job.num))


def launcher_of(
    typed: dict[str, Override], command: str, sweep_dir: str, config_module: str
) -> Launcher | None:
    """The launcher that was typed, if any; its options are those that were typed.

    Raises:
        ValueError: it is none of those that metaformer knows, or is not installed.
    """
    words = [str(own.input_line) for key, own in typed.items() if key.startswith(KEYS)]
    if not words:
        return None
    chosen = typed.get("hydra/launcher")
    name = str(chosen.value()) if chosen and not chosen.is_sweep_override() else None
    if name not in LAUNCHERS:
        raise ValueError(
            f"{words[0]}: expected hydra/launcher={', '.join([*LAUNCHERS][:-1])} or "
            f"{[*LAUNCHERS][-1]}; without it the jobs run one after another"
        )
    package, extra = LAUNCHERS[name]
    try:
        there = find_spec(package) is not None
    except ModuleNotFoundError:
        there = False
    if not there:
        raise ValueError(
            f"hydra/launcher={name} needs a plugin of Hydra's, which is not installed: "
            f'pip install "metaformer-cli[{extra}]"'
        )
    return Launcher(name, command, [*words, f"hydra.sweep.dir={sweep_dir}"], config_module)
