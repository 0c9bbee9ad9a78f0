"""The words of a command line: a text is what was typed, to the letter."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from metaformer_cli.config.options import options
from metaformer_cli.config.schema import TrainCommand
from metaformer_cli.config.words import as_typed, overrides_of, quoted, readable

KNOWN = options(TrainCommand)


def value(word: str) -> object:
    """What Hydra makes of a word, as metaformer hands it on."""
    (override,) = overrides_of([as_typed(readable(word), KNOWN)])
    return override.value()


# what Hydra's grammar is written with, which a name may not hold unless it is in quotes
names = st.text(st.characters(exclude_characters="\\'\"()[]{},\x00", exclude_categories=["Cs"]))


@given(names, st.sampled_from(["run_dir", "resume", "data.path", "data.text_field"]))
@example("r ", "run_dir")
@example("1e3", "run_dir")
@example("007", "data.text_field")
@example("1_000", "run_dir")
@example(".5", "resume")
@example("yes: no=1", "data.path")
def test_a_text_is_what_was_typed_to_the_letter(name, key):
    assume(name.lower() != "null" and not (key == "resume" and name.lower() in ("true", "false")))
    assert value(f"{key}={name}") == name


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
@example("x\\")
@example("it's\\'")
@example("a\\b\\\\")
def test_what_is_quoted_is_the_same_text_for_hydra(text):
    (override,) = overrides_of([f"x={quoted(text)}"])
    assert override.value() == text


def test_several_texts_are_what_was_typed_too():
    (override,) = overrides_of([as_typed("run_dir=1e3,x,.5", KNOWN)])
    assert [*override.sweep_string_iterator()] == ["'1e3'", "'x'", "'.5'"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("resume=true", True),
        ("run_dir=null", None),
        ("run_dir='a '", "a "),
        ('run_dir="1e3"', "1e3"),
        (r"run_dir=a\,b", "a,b"),
        ("train.lr=1e3", 1000.0),
        ("train.steps=1_000", 1000),
        ("seed= 3 ", 3),
        ("learner=maml ", "maml"),
    ],
)
def test_what_is_no_text_and_what_is_quoted_is_as_hydra_has_it(word, meant):
    assert value(word) == meant


@pytest.mark.parametrize(
    "word", ["run_dir=${oc.env:HOME}/x", "run_dir='${now:%Y}'", r"data.path=\${x}", "+resume=${x}"]
)
def test_a_text_is_not_filled_in_from_elsewhere(word):
    with pytest.raises(ValueError, match=r"^\S+: expected a plain text, .* let the shell fill it"):
        value(word)
