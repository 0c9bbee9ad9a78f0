"""Help is made from the schema."""

from __future__ import annotations

import pytest

from metaformer_cli.config.help import command_help
from metaformer_cli.config.options import options
from metaformer_cli.config.schema import COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_means(command):
    silent = [key for key, option in options(COMMANDS[command]).items() if not option.doc]
    assert silent == []


def test_an_option_is_shown_with_its_default_and_meaning():
    lines = command_help("train").splitlines()
    assert "  train.steps=200            meta-batches" in lines
    assert (
        "learner=tfidf: Character TF-IDF and logistic regression on the support set: the" in lines
    )


def test_a_long_option_has_its_meaning_below():
    lines = command_help("data").splitlines()
    place = lines.index("  data.cache_dir=~/.cache/metaformer")
    assert lines[place + 1] == " " * 29 + "where downloads are kept"
