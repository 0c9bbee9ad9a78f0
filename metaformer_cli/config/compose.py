"""Hydra's part: a command line composed, once or for a sweep, and handed on as plain values."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentError, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import hydra
from hydra import initialize_config_module
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from metaformer_cli.config.explain import CONFIG_ERRORS, explain
from metaformer_cli.config.hydra_schema import register
from metaformer_cli.config.launcher import KEYS, launcher_of
from metaformer_cli.config.limits import check_folder
from metaformer_cli.config.option import MISSING
from metaformer_cli.config.options import options
from metaformer_cli.config.registry import GROUPS, choices, plugins, use_plugins
from metaformer_cli.config.resolve import Composed, merge, saved_source
from metaformer_cli.config.saved import check_plugins, read_resumed_config, read_saved_config
from metaformer_cli.config.schema import COMMANDS, CheckpointCommand
from metaformer_cli.config.sweep import Job, Search, Sweep, job_folder, space_of, values_of
from metaformer_cli.config.words import as_typed, overrides_of, quoted, readable

_CONFIGS = "metaformer_cli.configs"


def _one_alone(_: Sweep | Search) -> int:
    raise ValueError("-m makes several jobs, and this takes one: leave it out")


def run(
    command: str,
    words: Sequence[str],
    job: Callable[[Composed], object],
    sweep: Callable[[Sweep | Search], int] = _one_alone,
) -> int:
    """Compose `words`, and call `job` with what they are; or `sweep`, where they are several jobs.

    Hydra itself answers the flags that need no job, such as --info and shell completion.

    Returns:
        The exit code: what `sweep` returned, else 0.

    Raises:
        ValueError: the words cannot be composed, in one line.
        Exception: what the job raised.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors through instead of printing them
    with _explained(command):
        found = _read(command, words)
    if isinstance(found, Composed):
        job(found)
        return 0
    return 0 if found is None else sweep(found)


@contextmanager
def _explained(command: str) -> Iterator[None]:
    """Inside, what Hydra and OmegaConf raise becomes one line."""
    try:
        yield
    except CONFIG_ERRORS as error:
        raise ValueError(explain(error, COMMANDS[command])) from error


def plugin_files(words: Sequence[str]) -> list[str]:
    """The files in `plugins=FILE` or `plugins=[FILE,FILE]` among the words of a command line.

    Raises:
        ValueError: the value is nothing like that.
    """
    typed = [word for word in words if word.partition("=")[0].lstrip("+") == "plugins"]
    if not typed:
        return []
    (override,) = overrides_of([readable(typed[-1])])
    value = None if override.is_sweep_override() else override.value()
    files = [value] if isinstance(value, str) else value
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise ValueError(f"{typed[-1]}: expected plugins=FILE.py, or plugins=[FILE.py,FILE.py]")
    return [str(file) for file in files]


def _read(command: str, words: Sequence[str]) -> Composed | Sweep | Search | None:
    """What the words ask for; None where they are answered already."""
    args, flags = parse(words)
    words = [readable(word) for word in args.overrides]
    use_plugins(plugin_files(words))
    register(args.config_dir)
    known = options(COMMANDS[command])
    words = [as_typed(word, known) for word in words]
    _refuse_hydras_own(words, args.multirun)
    shows = args.cfg or args.info or args.hydra_help or args.shell_completion or args.run
    if args.multirun and not shows:
        return _sweep(command, words, args.config_dir)
    typed = {override.key_or_group: override for override in overrides_of(words)}
    if "hparams_search" in typed and not shows:
        raise ValueError("hparams_search looks for the best of many runs: add -m")
    job_only = args.cfg == "job" and args.package is None and not args.multirun
    if job_only:  # Hydra would print what it composed, without the checkpoint's values
        flags = [f"--config-dir={args.config_dir}"] if args.config_dir else []
    if flags:
        composed = _composed_by_main(command, words, flags, args)
    else:  # hydra.main composes everything twice, which takes longer than all the rest
        composed = _compose(command, words, None)
    if composed is None or not job_only:
        return composed
    sys.stdout.write(OmegaConf.to_yaml(OmegaConf.create(merge(composed))))
    return None


def _refuse_hydras_own(words: Sequence[str], multirun: bool) -> None:
    """Refuse options of Hydra's own, but for those of a sweep that metaformer knows.

    Raises:
        ValueError: one was typed.
    """
    taken = ("hydra.sweep.dir", *KEYS)
    for key in (override.key_or_group for override in overrides_of(words)):
        if key.startswith(("hydra.", "hydra/")) and not (multirun and key.startswith(taken)):
            raise ValueError(
                f"{key}: metaformer itself composes and runs jobs, and takes no other options of "
                "Hydra's than hydra.sweep.dir and hydra/launcher, with -m: leave it out; "
                "run_dir=FOLDER says where a run is kept"
            )


def _compose(command: str, words: Sequence[str], config_dir: str | None) -> Composed:
    """What Hydra makes of the words of one job."""
    choices = _choices(command, words)
    with initialize_config_module(_CONFIGS, version_base="1.3"):
        node = hydra.compose(command, [*choices, *words, *_searched(config_dir)])
    return _composed(command, node, words)


def _composed_by_main(
    command: str, words: list[str], flags: Sequence[str], args: Namespace
) -> Composed | None:
    """The same by `hydra.main`, which acts on its flags; None where that is all."""
    choices = _choices(command, words)
    # a configuration may name code to log with, and Hydra would run it; or a folder to make
    quiet = ["hydra.job_logging.root=null", "hydra.hydra_logging.root=null"]
    quiet += ["hydra.run.dir=.", "hydra.output_subdir=null"]
    if not args.shell_completion:
        _multirun(command, [*choices, *words, *quiet], args.config_dir)
    sys.argv = [sys.argv[0], *flags, *choices, *words, *quiet]
    found: list[Composed] = []

    def task(node: DictConfig) -> None:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise ValueError("hydra.mode=MULTIRUN: expected -m, which makes a sweep")
        found.append(_composed(command, node, words))

    hydra.main(version_base="1.3", config_path=f"pkg://{_CONFIGS}", config_name=command)(task)()
    return found[0] if found else None


def _sweep(command: str, words: Sequence[str], config_dir: str | None) -> Sweep | Search:
    """The jobs of a sweep, each composed; or the space of a search.

    Raises:
        ValueError: a job cannot be composed, or Hydra is told what it does not do here.
    """
    typed = {override.key_or_group: override for override in overrides_of(words)}
    words = [str(own.input_line) for key, own in typed.items() if not key.startswith(KEYS)]
    place = typed.get("hydra.sweep.dir") or typed.get("run_dir")
    if place and not place.is_sweep_override():
        if place.key_or_group in (known := options(COMMANDS[command])):
            known[place.key_or_group].checked(place.value())
        words = [*words, f"hydra.sweep.dir={place.get_value_element_as_str()}"]
    node = _multirun(command, words, config_dir)
    params = [f"{key}={value}" for key, value in (node.hydra.sweeper.params or {}).items()]
    with initialize_config_module(_CONFIGS, version_base="1.3"):  # which glob(*) looks into
        loader = GlobalHydra.instance().config_loader()
        overrides = OverridesParser.create(loader).parse_overrides([*params, *words])
        by_key = {override.key_or_group: override for override in overrides}
        swept = {key: own for key, own in by_key.items() if own.is_sweep_override()}
        searches = "hparams_search" in typed
        if "hparams_search" in swept:
            raise ValueError("hparams_search: expected one NAME of a space, not several")
        space = {key: space_of(own) for key, own in swept.items()} if searches else {}
    fixed = [
        str(own.input_line)
        for key, own in by_key.items()
        if key not in swept and not key.startswith("hydra.")
    ]
    if searches and "resume" not in typed:
        fixed += ["resume=true"]  # the same words go on
    folder = Path(_with_home(str(node.hydra.sweep.dir)))
    launch = launcher_of(typed, command, quoted(str(folder)), _CONFIGS)
    if searches and launch:
        raise ValueError(
            "hparams_search: a trial waits for those before it; leave hydra/launcher out"
        )

    def job(number: int, values: Mapping[str, Any]) -> Job:
        chosen = [f"{swept[key].get_key_element()}={value}" for key, value in values.items()]
        with _explained(command):
            composed = _compose(command, [*fixed, *chosen], config_dir)
        options = {key: composed.given[key] for key in swept if key in composed.given}
        if "run_dir" not in swept and (command == "train" or "run_dir" in composed.given):
            composed = replace(composed, folder=str(folder / job_folder(number, options)))
        return Job(number, options, composed)

    if not searches:
        combinations = product(*map(values_of, swept.values()))
        jobs = [job(i, dict(zip(swept, own, strict=True))) for i, own in enumerate(combinations)]
        own_folder = folder if command == "train" and "run_dir" not in swept else None
        return Sweep(own_folder, jobs, launch)
    if not space:
        raise ValueError(
            "hparams_search: expected what to look for, under hydra.sweeper.params in its YAML, or "
            "typed, such as 'train.lr=tag(log,interval(1e-5,1e-3))'"
        )
    known = options(COMMANDS[command])
    trials, seed = (known[key].checked(node[key]) for key in ("trials", "seed"))
    return Search(folder, fixed, space, trials, seed, job)


def _multirun(command: str, words: Sequence[str], config_dir: str | None) -> DictConfig:
    """What Hydra composes for several jobs, its own part included, which names no code but Hydra's.

    Raises:
        ValueError: it does, as `hydra.callbacks` of a foreign `--config-dir` might.
    """
    with initialize_config_module(_CONFIGS, version_base="1.3"):
        composer = GlobalHydra.instance().hydra
        assert composer is not None
        node = composer.compose_config(
            config_name=command,
            overrides=[*words, *_searched(config_dir)],
            run_mode=RunMode.MULTIRUN,
            validate_sweep_overrides=False,
        )
    for target in _targets(OmegaConf.to_container(node.hydra)):
        if not str(target).startswith("hydra._internal.core_plugins."):
            raise ValueError(
                f"hydra: _target_={target}: a configuration is data, and cannot name code to run; "
                "leave it out"
            )
    return node


def _searched(config_dir: str | None) -> list[str]:
    """What tells Hydra's compose of the folder that its main is told of by --config-dir."""
    if config_dir is None:
        return []
    return [f"hydra.searchpath=[{quoted(f'file://{Path(config_dir).absolute()}')}]"]


def _targets(node: object) -> Iterator[object]:
    """What Hydra would call, anywhere in plain nested values."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list):
        for member in node:
            yield from _targets(member)


def parse(words: Sequence[str]) -> tuple[Namespace, list[str]]:
    """Hydra's arguments, and the words that are its flags; the two may be mixed."""
    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        args, extra = parser.parse_known_intermixed_args(words)
    except ArgumentError as error:
        raise ValueError(f"{error}; --help lists the flags") from error
    if extra:
        raise ValueError(
            f"unknown flag {extra[0]}: expected NAME=VALUE, or a flag that --help lists"
        )
    if args.config_dir is not None and not Path(args.config_dir).is_dir():
        raise ValueError(f"--config-dir {args.config_dir}: expected a folder that is there")
    check_folder(args.config_dir)
    if args.config_path is not None or args.config_name is not None:
        raise ValueError(
            "--config-path and --config-name would take the place of metaformer's own "
            "configuration: expected --config-dir FOLDER, which adds choices"
        )
    if args.experimental_rerun is not None:
        raise ValueError(
            "--experimental-rerun reads a pickle, which can run code: "
            "metaformer does without; use --config-dir, or resume="
        )
    return args, [word for word in words if word not in args.overrides]


def _first(override: Override) -> Any:
    """The value; of a sweep, the first."""
    if override.is_discrete_sweep():
        return next(override.sweep_iterator())
    return override.value()


def _choices(command: str, words: Sequence[str]) -> list[str]:
    """The choices that the checkpoint was made with, for groups that the user left alone."""
    typed = {override.key_or_group: override for override in overrides_of(words)}
    source = saved_source(command, {key: _first(override) for key, override in typed.items()})
    if "experiment" in typed:
        return []
    brought = issubclass(COMMANDS[command], CheckpointCommand)
    groups: Sequence[str] = ("task", "learner") if brought else GROUPS
    read = read_resumed_config if command == "train" else read_saved_config
    saved = read(source) if source is not None else None
    if saved is None and command == "train" and "init" in typed:  # a run begins
        source, groups = _first(typed["init"]), ("model",)
        saved = None if source is None else read_saved_config(str(source))
    if saved is None:
        return []
    check_plugins(saved, str(source))
    names = {
        group: str(saved[group].get("name"))
        for group in groups
        if group not in typed and isinstance(saved.get(group), Mapping)
    }
    return [f"{group}={name}" for group, name in names.items() if name in choices(group)]


def _composed(command: str, node: DictConfig, words: Sequence[str]) -> Composed:
    tree = OmegaConf.to_container(node, resolve=True)
    assert isinstance(tree, dict)
    values: dict[str, Any] = {str(key): value for key, value in tree.items()}
    given = {override.key_or_group: override.value() for override in overrides_of(words)}
    _name_what_name_means(values, given)
    for key, option in options(COMMANDS[command]).items():
        parent, _, name = key.rpartition(".")
        holder = values.get(parent) if parent else values
        # a group is missing where a checkpoint brings it
        if option.is_path and isinstance(holder, dict) and isinstance(holder.get(name), str):
            holder[name] = _with_home(holder[name])
    if values.get("plugins") and not plugins():
        raise ValueError(
            f"plugins={values['plugins']} stands in a configuration, which cannot name code to "
            "run: give plugins= on the command line"
        )
    values["plugins"] = plugins()
    return Composed(command, values, given)


def _name_what_name_means(values: dict[str, Any], given: dict[str, Any]) -> None:
    """Read `model=pretrained model.name=WHAT` as `model=pretrained model.path=WHAT`."""
    for choice in (choice for group in GROUPS for choice in choices(group).values()):
        group, other = choice.group, choice.declared.get("name_is")
        chosen = values.get(group)
        if (
            other is not None
            and isinstance(chosen, dict)
            and chosen.keys() == {"name", *choice.options}
            and chosen[other] == MISSING
            and chosen["name"] not in choices(group)
        ):
            chosen |= {"name": choice.name, other: chosen["name"]}
            given[f"{group}.{other}"] = given.pop(f"{group}.name", None)


def _with_home(path: str) -> str:
    """The path; where a shell left `~/` in it, with the user's home folder."""
    return str(Path.home() / path[2:]) if path.startswith("~/") else path
