"""The commands' own options, and the checks of their values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from metaformer_cli.config import option
from metaformer_cli.config.build import build
from metaformer_cli.config.options import own_options
from metaformer_cli.config.schema import COMMANDS, DataCommand, EvalCommand, TrainCommand

CHOSEN: dict[str, Any] = {
    "task": {"name": "fewshot_text"},
    "data": {"name": "builtin"},
    "model": {"name": "transformer"},
    "learner": {"name": "maml"},
}
DATA = {group: CHOSEN[group] for group in ("task", "data", "model")}
TFIDF = CHOSEN | {"learner": {"name": "tfidf"}}


@pytest.mark.parametrize(
    ("command", "values", "said"),
    [
        (TrainCommand, {"train": {"weight_decay": -0.1}}, "train.weight_decay=-0.1: expected at l"),
        (TrainCommand, {"train": {"valid_episodes": 1}}, "train.valid_episodes=1: expected at lea"),
        (TrainCommand, {"train": {"patience": 0}}, "train.patience=0: expected at least 1"),
        (TrainCommand, {"train": {"processes": 0}}, "train.processes=0: expected at least 1"),
        (TrainCommand, {"engine": {"kept_steps": 0}}, "engine.kept_steps=0: expected at least 1"),
        (TrainCommand, {"resume": 3}, "resume: expected true, false or text, got 3"),
        (EvalCommand, {"eval": {"split": "tset"}}, "did you mean test?"),
        (COMMANDS["bench"], {"bench": {"steps": "2 x"}}, "numbers above 0, e.g. bench.steps='2 5"),
        (COMMANDS["bench"], {"bench": {"steps": "0"}}, "bench.steps=0: expected numbers above 0"),
        (DataCommand, {"seed": -1}, "seed=-1: expected at least 0"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_what_can(command, values, said):
    chosen = DATA if command is DataCommand else CHOSEN
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        build({**chosen, **values}, command)
    assert said in str(refused.value)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1", "mps"])
def test_a_device_is_known_by_its_form(device):
    assert build({**CHOSEN, "device": device}, TrainCommand).device == device
    with pytest.raises(ValueError, match="expected auto, cpu, cuda, cuda:N or mps"):
        build({**CHOSEN, "device": f"{device}!"}, TrainCommand)


def test_the_edges_of_what_is_allowed_are_allowed():
    train = {"steps": 1, "meta_batch": 1, "warmup_steps": 0, "weight_decay": 0, "patience": 1}
    build({**CHOSEN, "train": {**train, "valid_episodes": 2}}, TrainCommand)
    build(TFIDF, EvalCommand)
    bench = build({**CHOSEN, "bench": {"steps": " 2  10 "}}, COMMANDS["bench"])
    assert bench.bench.step_counts == [2, 10]


def test_every_command_is_plain_values_that_another_process_can_build_again():
    config = build({**CHOSEN, "resume": "run"}, TrainCommand)
    assert build(asdict(config), TrainCommand) == config


def test_what_a_command_has_of_its_own_comes_before_what_all_have():
    assert list(own_options(COMMANDS["predict"]))[:4] == ["ckpt", "support", "query", "out"]
    assert next(iter(own_options(EvalCommand))) == "ckpt"


def test_what_must_be_given_is_marked_as_omegaconf_marks_it():
    from omegaconf import MISSING

    assert option.MISSING == MISSING
