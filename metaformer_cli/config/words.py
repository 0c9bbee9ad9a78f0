"""The words of a command line, as they are typed and as Hydra reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException

from metaformer_cli.config.limits import check_word
from metaformer_cli.config.option import Option


def overrides_of(words: Sequence[str]) -> list[Override]:
    """The words, as Hydra reads them.

    Raises:
        ValueError: one is nested too deep, or has a name that is none.
    """
    for word in words:
        check_word(word)
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


def as_typed(word: str, known: Mapping[str, Option]) -> str:
    """The word; where Hydra would make another text of a text, as of `run_dir=1e3`, quoted.

    What has quotes, brackets or a backslash in it is written in Hydra's grammar.

    Args:
        word: which Hydra can read.
        known: the options, by key.

    Raises:
        ValueError: a text is to be filled in from elsewhere, as `${oc.env:HOME}` is.
    """
    (override,) = overrides_of([word])
    name, _, typed = word.partition("=")
    option = known.get(override.key_or_group)
    if option is None or str not in option.types or option.names:
        return word
    if "${" in typed:
        raise ValueError(
            f"{word}: expected a plain text, and ${{ stands for another one: give the text itself, "
            "or let the shell fill it in"
        )
    if any(mark in typed for mark in "\\'\"([{"):
        return word
    parts = typed.split(",")
    values = [*override.sweep_iterator()] if len(parts) > 1 else [override.value()]
    others = [
        isinstance(value, int | float) and type(value) not in option.types for value in values
    ]
    cut = len(parts) == 1 and isinstance(values[0], str) and values[0] != typed
    return f"{name}={','.join(map(quoted, parts))}" if any(others) or cut else word


def quoted(value: str) -> str:
    """A value that Hydra takes as it is."""
    return "'" + re.sub(r"(\\*)('|\Z)", _escaped, value) + "'"


def _escaped(end: re.Match[str]) -> str:
    """A quote, or the end of the value, with the backslashes before it."""
    return end[1] * 2 + ("\\'" if end[2] else "")
