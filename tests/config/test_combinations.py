"""Which choices go together, and what is said of those that do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metaformer_cli.config.build import build
from metaformer_cli.config.registry import use_plugins
from metaformer_cli.config.schema import COMMANDS

PLUGIN = '''
from metaformer_cli.choices import learner, model, source, task


@task("sines", inputs="points", outputs="numbers")
class Sines:
    """Sines."""


@task("moons", inputs="points", outputs="classes")
class Moons:
    """Moons."""


@model("dots", inputs=("points",), outputs=("numbers",))
class Points:
    """Points."""


@learner("metric", outputs=("classes",), refuses={
    "engine.compile": "it has no inner loop",
    "task.min_ways": "its ways are fixed",
})
class Metric:
    """Metric."""

    def __init__(self, model): ...


@learner("modelless", trains=False, inputs=("text",))
class Modelless:
    """Modelless."""


@learner("frozen", trains=False)
class Frozen:
    """Frozen."""

    def __init__(self, model): ...
'''


@pytest.fixture(autouse=True)
def _plugin(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    use_plugins([str(tmp_path / "mine.py")])


def chosen(command: str, **choices: Any) -> Any:
    usual = {"task": "fewshot_text", "data": "builtin", "model": "transformer", "learner": "maml"}
    if command == "data":
        del usual["learner"]
    groups = {group: choices.pop(group, name) for group, name in usual.items()}
    tree: dict[str, Any] = {group: {"name": name} for group, name in groups.items()}
    for key, value in choices.items():
        group, name = key.split("__")
        tree[group] = {**tree.get(group, {}), name: value}
    return build(tree, COMMANDS[command])


def refusal(command: str, **choices: Any) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        chosen(command, **choices)
    return str(refused.value)


@pytest.mark.parametrize("command", ["train", "data"])
def test_data_of_another_kind_than_the_tasks_is_refused_with_data_that_fits(command):
    said = refusal(command, data="generated")
    assert said.startswith(
        "task=fewshot_text is about text, and data=generated holds points: expected data=builtin|"
    )
    assert said.endswith("sines|moons")


def test_a_model_that_cannot_read_the_tasks_examples_is_refused_with_one_that_can():
    assert refusal("train", task="sines", data="generated").startswith(
        "task=sines is about points, and model=transformer reads text: expected model=dots, "
        "or task=fewshot_text"
    )


def test_a_model_that_cannot_answer_is_refused_though_it_can_read():
    assert refusal("train", task="moons", data="generated", model="dots") == (
        "task=moons asks for classes, and model=dots gives numbers: "
        "expected another model, or task=sines"
    )


def test_a_learner_that_cannot_learn_what_the_task_asks_for_is_refused():
    sines = {"task": "sines", "data": "generated", "model": "dots"}
    assert chosen("train", **sines).learner["name"] == "maml"
    assert "task=sines asks for numbers, and learner=metric gives classes" in refusal(
        "train", **sines, learner="metric"
    )
    assert "is about points, and learner=tfidf reads text" in refusal(
        "eval", **sines, learner="tfidf"
    )


def test_the_model_is_not_asked_where_the_learner_needs_none():
    chosen("eval", model="dots", learner="modelless")
    assert "model=dots reads points" in refusal("eval", model="dots", learner="frozen")


def test_an_option_that_a_choice_cannot_go_with_must_stay_at_its_default():
    assert refusal("train", learner="metric", engine__compile=True) == (
        "engine.compile=true and learner=metric: it has no inner loop; leave engine.compile out"
    )
    assert "task.min_ways=2 and learner=metric: its ways are fixed" in refusal(
        "train", learner="metric", task__min_ways=2
    )
    chosen("train", learner="metric", engine__compile=False)
    chosen("train", learner="maml", engine__compile=True)


def test_a_learner_without_anything_to_train_is_for_eval_alone():
    assert refusal("train", learner="tfidf") == (
        "learner=tfidf has nothing to train: expected another learner, "
        "or metaformer eval learner=tfidf"
    )
    chosen("eval", learner="tfidf")


def test_eval_without_a_checkpoint_says_which_learners_need_none():
    assert refusal("eval") == (
        "learner=maml needs a trained model: give ckpt=RUN_FOLDER (metaformer train makes one), "
        "or learner=finetune|linear_probe|majority|nearest_centroid|setfit|tfidf|modelless|frozen"
    )


def test_bench_measures_learners_whose_inner_loop_can_be_run_in_several_ways():
    chosen("bench")
    assert refusal("bench", learner="metric") == (
        "learner=metric has no inner loop to measure: expected learner=anil|fomaml|maml|protomaml"
    )
