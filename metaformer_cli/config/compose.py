"""Hydra's part: a command line composed, once or for a sweep, and handed on as plain values."""

from __future__ import annotations

import os
import re
import sys
from argparse import ArgumentError, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hydra
from hydra import initialize_config_module
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from metaformer_cli.config.explain import CONFIG_ERRORS, explain
from metaformer_cli.config.hydra_schema import register
from metaformer_cli.config.option import MISSING
from metaformer_cli.config.options import options
from metaformer_cli.config.registry import GROUPS, choices, plugins, use_plugins
from metaformer_cli.config.resolve import Composed, merge, saved_source
from metaformer_cli.config.saved import check_plugins, read_resumed_config, read_saved_config
from metaformer_cli.config.schema import COMMANDS, CheckpointCommand

_CONFIGS = "metaformer_cli.configs"


class _Stopped(BaseException):
    """A job's error on its way past Hydra, which would keep it until the whole sweep is done."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def run(command: str, words: Sequence[str], job: Callable[[Composed], object]) -> None:
    """Compose `words`, and call `job`; in a sweep, once for every combination.

    Hydra itself answers the flags that need no job, such as --info and shell completion.

    Raises:
        ValueError: the words cannot be composed, in one line; or the job raised it.
        Exception: what else the job raised; in a sweep, with the job's overrides as a note.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors through instead of printing them
    try:
        _run(command, words, job)
    except _Stopped as stopped:
        raise stopped.error from stopped.error.__cause__
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


def _run(command: str, words: Sequence[str], job: Callable[[Composed], object]) -> None:
    args, flags = parse(words)
    words = [readable(word) for word in args.overrides]
    use_plugins(plugin_files(words))
    register(args.config_dir)
    typed = {override.key_or_group: override for override in overrides_of(words)}
    swept = [key for key, override in typed.items() if override.is_sweep_override()]
    source = saved_source(command, {key: _first(override) for key, override in typed.items()})
    choices = _saved_choices(command, source, typed)
    show = args.cfg == "job" and args.package is None and not args.multirun
    if show:  # Hydra would print what it composed, without the checkpoint's values
        flags = [f"--config-dir={args.config_dir}"] if args.config_dir else []

    def one(composed: Composed) -> object:
        if show:
            sys.stdout.write(OmegaConf.to_yaml(OmegaConf.create(merge(composed))))
            return None
        return job(composed)

    if flags or any(key.startswith(("hydra.", "hydra/")) for key in typed):
        with ExitStack() as stack:
            if args.multirun and "hydra.sweep.dir" not in typed:
                if "run_dir" in typed and "run_dir" not in swept:
                    words += [f"hydra.sweep.dir={typed['run_dir'].get_value_element_as_str()}"]
                elif command != "train":  # only runs need a folder, and Hydra insists on one
                    folder = stack.enter_context(TemporaryDirectory())
                    words += [f"hydra.sweep.dir={quoted(folder)}"]
            # a configuration may name code to log with, and Hydra would run it
            words += ["hydra.job_logging.root=null", "hydra.hydra_logging.root=null"]
            if not args.shell_completion:
                _refuse_code(command, [*choices, *words], args.config_dir)
            sys.argv = [sys.argv[0], *flags, *choices, *words]
            task = _task(command, choices, swept, one)
            hydra.main(version_base="1.3", config_path=f"pkg://{_CONFIGS}", config_name=command)(
                task
            )()
    else:  # hydra.main composes everything twice, which takes longer than all the rest
        with initialize_config_module(_CONFIGS, version_base="1.3"):
            node = hydra.compose(command, [*choices, *words])
        composed = _composed(command, node, words)
        try:
            one(composed)
        except Exception as error:
            raise _Stopped(error) from error


def _refuse_code(command: str, words: Sequence[str], config_dir: str | None) -> None:
    """Check that the part of the configuration that Hydra acts on names no code but Hydra's.

    Raises:
        ValueError: it does, as `hydra.callbacks` of a foreign `--config-dir` might.
    """
    search = []
    if config_dir:
        search = [f"hydra.searchpath=[{quoted(f'file://{Path(config_dir).absolute()}')}]"]
    with initialize_config_module(_CONFIGS, version_base="1.3"):
        composer = GlobalHydra.instance().hydra
        assert composer is not None
        node = composer.compose_config(
            config_name=command,
            overrides=[*words, *search],
            run_mode=RunMode.MULTIRUN,
            validate_sweep_overrides=False,
        )
    for target in _targets(OmegaConf.to_container(node.hydra)):
        if not str(target).startswith(("hydra._internal.core_plugins.", "hydra_plugins.")):
            raise ValueError(
                f"hydra: _target_={target}: a configuration is data, and cannot name code to run; "
                "leave it out"
            )


def _targets(node: object) -> Iterator[object]:
    """What Hydra would call, anywhere in plain nested values."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list):
        for member in node:
            yield from _targets(member)


def _task(
    command: str,
    choices: Sequence[str],
    swept: Sequence[str],
    job: Callable[[Composed], object],
) -> Callable[[DictConfig], object]:
    """What `hydra.main` calls: `job`, with what Hydra composed."""

    def task(node: DictConfig) -> object:
        settings = HydraConfig.get()
        words = [word for word in settings.overrides.task if word not in choices]
        try:
            composed = _composed(command, node, words)
            if settings.mode != RunMode.MULTIRUN:
                return job(composed)
            sweeps_runs = command == "train" or "run_dir" in composed.given
            if sweeps_runs and "run_dir" not in swept:
                keys = [key for key in swept if key in composed.given]
                name = _job_name(settings.job.num, {key: composed.given[key] for key in keys})
                folder = _with_home(str(Path(settings.sweep.dir) / name))
                composed = replace(composed, folder=folder)
            return job(composed)
        except Exception as error:
            if settings.mode == RunMode.MULTIRUN:
                error.add_note(f"job {settings.job.num} ({' '.join(words)})")
            raise _Stopped(error) from error

    return task


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


def overrides_of(words: Sequence[str]) -> list[Override]:
    """The words, as Hydra reads them."""
    return OverridesParser.create().parse_overrides(list(words))


def readable(word: str) -> str:
    """The word; where Hydra's grammar cannot read its value, as in `data.path=(1).csv`, quoted."""
    name, equals, value = word.partition("=")
    try:
        overrides_of([word])
    except OverrideParseException:
        if equals and value:
            return f"{name}={quoted(value)}"
    return word


def quoted(value: str) -> str:
    """A value that Hydra takes as it is."""
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", value) + "'"


def _first(override: Override) -> Any:
    """The value; of a sweep, the first."""
    if override.is_discrete_sweep():
        return next(override.sweep_iterator())
    return override.value()


def _saved_choices(command: str, source: str | None, typed: Mapping[str, Override]) -> list[str]:
    """The choices that the checkpoint was made with, for groups that the user left alone."""
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


def _job_name(number: int, swept: Mapping[str, Any]) -> str:
    """`0_learner-maml_seed-1`: safe in every file system, and on Hydra's command line."""
    words = "_".join(f"{key}-{value}" for key, value in swept.items())
    return f"{number}_{re.sub(r'[^A-Za-z0-9._-]+', '-', words)}"[:100].rstrip("_")
