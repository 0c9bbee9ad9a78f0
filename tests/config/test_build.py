"""From untrusted trees to checked objects."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.config.build import build
from metaformer_cli.config.schema import (
    DataCommand,
    FewShotText,
    GradientLearner,
    PredictCommand,
    TrainCommand,
)


def tree(**changes: Any) -> dict[str, Any]:
    return {
        "task": {"name": "fewshot_text"},
        "data": {"name": "builtin"},
        "model": {"name": "transformer"},
        "learner": {"name": "maml"},
        "train": {},
        **changes,
    }


def refusal(values: dict[str, Any], command: type[Any] = TrainCommand) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        build(values, command)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_tree_becomes_the_dataclasses_that_its_names_stand_for():
    config = build(tree(task={"name": "fewshot_text", "ways": 3}, train={"lr": 1}), TrainCommand)
    assert config.task == FewShotText(ways=3)
    assert config.learner == GradientLearner(name="maml")
    assert (config.train.lr, type(config.train.lr)) == (1.0, float)
    assert build(asdict(config), TrainCommand) == config


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lerner": {}}, "unknown option lerner; did you mean learner?"),
        ({"train": {"stepz": 1}}, "unknown option train.stepz; did you mean train.steps?"),
        ({"stepz": 1}, "unknown option stepz"),
        ({"steps": 1}, "unknown option steps; did you mean train.steps?"),
        ({"learner": {"name": "maml", "_target_": "os.system"}}, "unknown option learner._target_"),
        ({"learner": {"name": "os.system"}}, "learner=os.system: expected maml, fomaml or tfidf"),
        ({"learner": {"name": ["maml"]}}, "expected maml, fomaml or tfidf"),
        ({"learner": {}}, "learner.name is needed"),
        ({"learner": "maml"}, "learner=maml: expected options"),
        ({"train": 3}, "train=3: expected options"),
        ({"train": {"steps": "abc"}}, "train.steps: expected a whole number, got 'abc', e.g."),
        ({"train": {"steps": True}}, "train.steps: expected a whole number, got true"),
        ({"train": {"steps": 1.5}}, "train.steps: expected a whole number, got 1.5"),
        ({"train": {"steps": None}}, "train.steps: expected a whole number, got null"),
        ({"train": {"lr": float("inf")}}, "train.lr=inf: expected a finite number"),
        ({"train": {"patience": "x"}}, "expected a whole number or null"),
        ({"data": {"name": "csv"}}, "data.path is needed: give data.path=..."),
        ({"data": {"name": "builtin", "path": "x"}}, "data.path: the chosen data has no such"),
    ],
)
def test_what_the_schema_does_not_have_is_refused(changes, said):
    assert said in refusal(tree(**changes))


def test_all_that_is_missing_is_said_at_once():
    said = refusal(dict.fromkeys(("ckpt", "support", "out", "task"), "???"), PredictCommand)
    assert said == "ckpt, support and out are needed: give ckpt=... support=... out=..."


def test_predict_takes_the_model_from_the_checkpoint():
    assert "predict takes the model from the checkpoint" in refusal(
        {"model.width": 3}, PredictCommand
    )


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(["task", "data", "seed", "name", "ways", "path", "_target_"])


@given(st.dictionaries(NAMES, PLAIN | st.dictionaries(NAMES, PLAIN, max_size=4), max_size=4))
def test_any_tree_is_built_whole_or_refused_in_one_line(values):
    try:
        config = build(values, DataCommand)
    except ValueError:
        return
    assert type(config) is DataCommand
    assert type(config.seed) is int
