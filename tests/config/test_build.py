"""From untrusted trees to checked objects."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.config.build import build
from metaformer_cli.config.checks import listed
from metaformer_cli.config.registry import choice, choices, use_plugins
from metaformer_cli.config.schema import DataCommand, PredictCommand, Train, TrainCommand

LEARNERS = listed([*choices("learner")])


SLOW = '''
from metaformer_cli.choices import model


@model("slow", suits={"train.steps": 1200, "train.joint_steps": 1000, "train.joint_lr": 0.5})
class Slow:
    """Slow."""
'''


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


def test_a_tree_becomes_checked_values_with_all_defaults():
    config = build(tree(task={"name": "fewshot_text", "ways": 3}, train={"lr": 1}), TrainCommand)
    assert (config.task["ways"], config.task["shots"], config.task["min_ways"]) == (3, 5, None)
    assert list(config.learner) == ["name", *choice("learner", "maml").options]
    assert (config.train.lr, type(config.train.lr)) == (1.0, float)
    assert type(config.train) is Train
    assert build(asdict(config), TrainCommand) == config


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lerner": {}}, "unknown option lerner; did you mean learner?"),
        ({"train": {"stepz": 1}}, "unknown option train.stepz; did you mean train.steps?"),
        ({"stepz": 1}, "unknown option stepz"),
        ({"steps": 1}, "unknown option steps; did you mean train.steps?"),
        ({"learner": {"name": "maml", "_target_": "os.system"}}, "unknown option learner._target_"),
        ({"learner": {"name": "os.system"}}, f"learner=os.system: expected {LEARNERS}"),
        ({"learner": {"name": ["maml"]}}, f"expected {LEARNERS}"),
        ({"learner": {}}, "learner.name is needed"),
        ({"learner": {"name": None}}, f"learner=None: expected {LEARNERS}"),
        ({"data": {"name": "fc100"}}, "did you mean data=learn2learn data.benchmark=fc100?"),
        ({"model": {"name": "bert"}}, "did you mean model=pretrained model.path=bert?"),
        ({"learner": "maml"}, "learner=maml: expected options"),
        ({"train": 3}, "train=3: expected options"),
        (
            {"train": {"log_every": "abc"}},
            "train.log_every: expected a whole number, got 'abc', e.g.",
        ),
        ({"train": {"log_every": True}}, "train.log_every: expected a whole number, got true"),
        ({"train": {"log_every": 1.5}}, "train.log_every: expected a whole number, got 1.5"),
        ({"train": {"log_every": None}}, "train.log_every: expected a whole number, got null"),
        ({"train": {"lr": float("inf")}}, "train.lr=inf: expected a finite number"),
        ({"train": {"lr": 10**400}}, "train.lr: expected a number of 64 bits, got one of 1,330"),
        (
            {"model": {"name": "transformer", "width": 2**63}},
            "model.width: expected a number of 64 bits, got one of 65",
        ),
        ({"train": {"patience": "x"}}, "expected a whole number or null"),
        ({"data": {"name": "csv"}}, "data.path is needed: give data.path=..."),
        ({"data": {"name": "builtin", "path": "x"}}, "data.path: the chosen data has no such"),
        ({"plugins": ["mine.py"]}, "expected the path and sha256 of each, got 'mine.py'"),
        ({"plugins": "mine.py"}, "plugins: expected a list, got 'mine.py'"),
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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ways": 1}, "task.ways=1: expected at least 2; give task.ways=2"),
        ({"shots": 0}, "task.shots=0: expected at least 1"),
        ({"queries": 0}, "task.queries=0: expected at least 1"),
        ({"min_ways": 6}, "task.min_ways=6 is above task.ways=5: expected task.min_ways <= task.w"),
        ({"min_shots": 6}, "task.min_shots=6 is above task.shots=5"),
        ({"vocab_size": 299}, "task.vocab_size=299: expected at least 300"),
        (
            {"width": 10},
            "model.width=10 is not divisible by model.heads=4: expected a multiple, e.g",
        ),
        ({"width": 10}, "e.g. model.width=12"),
        (
            {"dropout": 1.0},
            "model.dropout=1.0: expected 0 or more and below 1, e.g. model.dropout=",
        ),
        ({"head": "protoype"}, "did you mean prototype?"),
        ({"inner_lr": 0.0}, "learner.inner_lr=0.0: expected a number above 0"),
        ({"inner_lr": float("nan")}, "learner.inner_lr=nan"),
        ({"inner_steps": 0}, "learner.inner_steps=0"),
        (
            {"adapt": "last_0"},
            "learner.adapt=last_0: expected all, head, bias_norm, lora or last_N, ",
        ),
        ({"adapt": "last_0"}, "e.g. learner.adapt=last_2"),
        ({"engine": "other"}, "learn2learn, higher, torchopt or jax"),
        ({"chunk": 0}, "learner.chunk=0: expected at least 1"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_what_can(changes, said):
    (name,) = changes
    groups = {"task": "fewshot_text", "model": "transformer", "learner": "maml"}
    (group,) = [group for group, own in groups.items() if name in choice(group, own).options]
    assert said in refusal(tree(**{group: {"name": groups[group], **changes}}))


def test_the_edges_of_what_is_allowed_are_allowed():
    least = {"ways": 2, "shots": 1, "queries": 1, "min_ways": 2, "min_shots": 1, "vocab_size": 300}
    build(
        tree(
            task={"name": "fewshot_text", **least, "max_tokens": 2},
            model={"name": "transformer", "width": 8, "heads": 4, "layers": 1, "dropout": 0.0},
        ),
        TrainCommand,
    )


def test_an_option_that_is_null_is_what_the_model_says_suits_it():
    chosen = {"model": {"name": "pretrained", "path": "x"}}
    assert build(tree(**chosen), TrainCommand).learner["inner_lr"] == 0.3
    given = chosen | {"learner": {"name": "maml", "inner_lr": 0.2}}
    assert build(tree(**given), TrainCommand).learner["inner_lr"] == 0.2
    config = build(tree(**chosen), TrainCommand)
    assert (config.train.lr, config.train.start_share) == (3e-5, 0.5)
    assert config.learner["adapt"] == "head"
    assert build(tree(**chosen, train={"lr": 0.1}), TrainCommand).train.lr == 0.1


def test_where_the_model_says_nothing_an_option_that_is_null_is_what_suits_most():
    config = build(tree(model={"name": "transformer"}), TrainCommand)
    assert (config.train.lr, config.train.start_share) == (1e-3, 0.0)
    assert config.learner["adapt"] is None


def test_where_nobody_says_the_outer_loop_has_the_usual_length():
    train = build(tree(model={"name": "transformer"}), TrainCommand).train
    assert (train.steps, train.joint_steps, train.meta_batch) == (100, 0, 4)
    assert (train.warmup_steps, train.eval_every) == (10, 20)


def test_a_model_may_say_how_long_to_train_but_not_what_the_learner_refuses(tmp_path):
    (tmp_path / "mine.py").write_text(SLOW)
    use_plugins([str(tmp_path / "mine.py")])
    found = [
        build(tree(model={"name": "slow"}, learner={"name": name}), TrainCommand).train
        for name in ("fomaml", "joint")
    ]
    assert [own.steps for own in found] == [1200, 1200]
    assert [own.joint_steps for own in found] == [1000, 0]
    assert [own.joint_lr for own in found] == [0.5, 0.001]
    assert [own.lr for own in found] == [0.001, 0.5]
    given = tree(model={"name": "slow"}, learner={"name": "joint"}, train={"joint_steps": 5})
    assert "train.joint_steps=5 and learner=joint: all its steps are such" in refusal(given)
