"""Hydra's and OmegaConf's errors in one line: what was expected, what came, what to do."""

from __future__ import annotations

import re
from typing import Any, get_type_hints

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    OmegaConfBaseException,
    ValidationError,
)
from yaml import YAMLError

from metaformer_cli.config.build import taken_from_checkpoint, unknown
from metaformer_cli.config.checks import did_you_mean, listed
from metaformer_cli.config.named import SIZE, sized_models
from metaformer_cli.config.options import options
from metaformer_cli.config.registry import GROUPS

CONFIG_ERRORS = (HydraException, OmegaConfBaseException, YAMLError)


def explain(error: BaseException, command: type[Any]) -> str:
    """One line for any of `CONFIG_ERRORS` that composing a `command` raises."""
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} is not an option: expected NAME=VALUE, e.g. seed=1"
    if isinstance(error, MissingConfigException):
        return _no_such_choice(error)
    text = " ".join(str(error).split())
    if (typed := re.match("Could not override '(.+?)'", text)) and typed[1] in GROUPS:
        return unknown(typed[1], command)
    if typed and typed[1] == SIZE:
        return taken_from_checkpoint(SIZE, command)
    if unsized := re.match(f"In '{SIZE}/(.+?)': ConfigKeyError", text):
        return (
            f"{SIZE}={unsized[1]}: the chosen model has no size to choose: expected "
            f"model={'|'.join(sized_models())}; give one of these too, or leave {SIZE} out"
        )
    cause = error.__cause__ if isinstance(error, HydraException) else error
    if isinstance(cause, OmegaConfBaseException):
        return _bad_value(cause, typed[1] if typed else None, command)
    if text.startswith("Ambiguous value for argument"):
        argument = text.split("'")[1]
        return f"{argument}: several values are a sweep: add -m, or give one"
    if text.startswith("Could not append to config"):
        key = text.split("'")[1]
        return f"{key} exists already: leave out the +"
    return text


def _no_such_choice(error: MissingConfigException) -> str:
    group, _, choice = (error.missing_cfg_file or "").rpartition("/")
    if not error.options:
        return (
            f"there is no {group or 'configuration'} {choice!r}: "
            f"give a folder that holds {error.missing_cfg_file}.yaml with --config-dir FOLDER"
        )
    # Hydra lists the files that it finds: ours, and those in the user's --config-dir
    hint = did_you_mean(choice, error.options)
    return f"{group}={choice}: expected {listed(error.options)}{hint}"


def _bad_value(error: OmegaConfBaseException, typed: str | None, command: type[Any]) -> str:
    key = typed or error.full_key or ""
    if key == "experiment":
        return "experiment: train and eval alone take one; leave it out"
    if isinstance(error, ConfigKeyError | ConfigAttributeError) and not key.startswith("hydra"):
        return unknown(key, command)
    if isinstance(error, ValidationError):
        if key in options(command):
            return options(command)[key].wrong_type(error.value)
        if key in get_type_hints(command):
            return f"{key}={error.value}: expected options, {key}.NAME=VALUE, not one value"
    return f"{key}: {str(error).splitlines()[0]}"
