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
    assert "  train.log_every=10         steps" in lines
    assert (
        "learner=tfidf: Character TF-IDF and logistic regression on the support set: the" in lines
    )


def test_the_texts_that_an_option_may_be_are_shown():
    lines = command_help("train").splitlines()
    assert "  engine.precision=fp32      fp32 | tf32 | bf16: of products; all else stays" in lines


def test_choices_with_the_same_options_are_shown_together():
    lines = command_help("data").splitlines()
    place = lines.index("data=csv|jsonl: Your own labelled texts: `csv`, which reads TSV too, and")
    assert [line.split("=")[0] for line in lines[place + 2 :][:2]] == [
        "  data.path",
        "  data.text_field",
    ]
    assert command_help("train").count("\n  learner.adapt=null ") == 5  # maml's are fomaml's too


def test_of_a_task_predict_shows_what_says_how_a_persons_files_are_read():
    shown = command_help("predict")
    assert "\n  task.text_field=null" in shown
    assert "\n  task.shots" not in shown
    assert "\n  data." not in shown


def test_a_long_option_has_its_meaning_below():
    lines = command_help("data").splitlines()
    place = lines.index("  data.cache_dir=~/.cache/metaformer")
    assert lines[place + 1] == " " * 29 + "where the passages of more than 64 MB of files are"
