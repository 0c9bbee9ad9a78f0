"""The checks of the schema's values."""

from __future__ import annotations

from typing import Any

import pytest

from metaformer_cli.config import schema_data
from metaformer_cli.config.schema import (
    DataCommand,
    Eval,
    EvalCommand,
    FewShotText,
    GradientLearner,
    TfIdf,
    Train,
    TrainCommand,
    Transformer,
)
from metaformer_cli.config.schema_data import Builtin, Files

CHOSEN: dict[str, Any] = {"task": FewShotText(), "data": Builtin(), "model": Transformer()}


@pytest.mark.parametrize(
    ("make", "values", "said"),
    [
        (FewShotText, {"ways": 1}, "task.ways=1: expected at least 2"),
        (FewShotText, {"shots": 0}, "task.shots=0: expected at least 1"),
        (FewShotText, {"queries": 0}, "task.queries=0: expected at least 1"),
        (FewShotText, {"min_ways": 6}, "task.min_ways=6 is above task.ways=5"),
        (FewShotText, {"min_shots": 6}, "task.min_shots=6 is above task.shots=5"),
        (FewShotText, {"vocab_size": 299}, "task.vocab_size=299: expected at least 300"),
        (Files, {"problems": "dorp"}, "data.problems=dorp: expected refuse or drop; did you mean"),
        (Transformer, {"width": 10, "heads": 4}, "e.g. model.width=12"),
        (Transformer, {"dropout": 1.0}, "model.dropout=1.0: expected 0 or more and below 1"),
        (Transformer, {"head": "protoype"}, "did you mean prototype?"),
        (GradientLearner, {"inner_lr": 0.0}, "learner.inner_lr=0.0: expected a number above 0"),
        (GradientLearner, {"inner_lr": float("nan")}, "learner.inner_lr=nan"),
        (GradientLearner, {"inner_steps": 0}, "learner.inner_steps=0"),
        (GradientLearner, {"engine": "other"}, "learn2learn, higher or torchopt"),
        (Train, {"weight_decay": -0.1}, "train.weight_decay=-0.1: expected 0 or more"),
        (Train, {"valid_episodes": 1}, "train.valid_episodes=1: expected at least 2"),
        (Train, {"patience": 0}, "train.patience=0: expected at least 1"),
        (Train, {"processes": 0}, "train.processes=0: expected at least 1"),
        (Eval, {"split": "tset"}, "did you mean test?"),
        (TrainCommand, CHOSEN | {"learner": TfIdf()}, "has nothing to train"),
        (TrainCommand, CHOSEN | {"learner": GradientLearner(), "resume": 3}, "resume=3"),
        (EvalCommand, CHOSEN | {"learner": GradientLearner(name="maml")}, "give ckpt=RUN_FOLDER"),
        (DataCommand, {"seed": -1}, "seed=-1: expected at least 0"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_what_can(make, values, said):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        make(**values)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1", "mps"])
def test_a_device_is_known_by_its_form(device):
    learner = GradientLearner(name="maml")
    assert TrainCommand(**CHOSEN, learner=learner, device=device).device == device
    with pytest.raises(ValueError, match="expected auto, cpu, cuda, cuda:N or mps"):
        TrainCommand(**CHOSEN, learner=learner, device=f"{device}!")


def test_the_edges_of_what_is_allowed_are_allowed():
    FewShotText(ways=2, shots=1, queries=1, min_ways=2, min_shots=1, vocab_size=300, max_tokens=2)
    Transformer(width=8, heads=4, layers=1, dropout=0.0)
    Train(steps=1, meta_batch=1, warmup_steps=0, weight_decay=0.0, valid_episodes=2, patience=1)
    EvalCommand(**CHOSEN, learner=TfIdf())


def test_what_must_be_given_is_marked_as_omegaconf_marks_it():
    from omegaconf import MISSING

    assert schema_data.MISSING == MISSING
