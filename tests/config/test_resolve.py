"""What a command runs with: the saved configuration below, what was typed on top."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from metaformer_cli.config.options import options
from metaformer_cli.config.resolve import Composed, resolve
from metaformer_cli.config.saved import read_saved_config
from metaformer_cli.config.schema import TrainCommand
from metaformer_cli.training.checkpoint_header import read_header

DEFAULT: dict[str, dict[str, Any]] = {
    "train": {"train": {}, "resume": False, "run_dir": None},
    "eval": {"eval": {}, "ckpt": None, "run_dir": None},
    "bench": {"bench": {}, "run_dir": None},
    "predict": {"support": "s.csv", "query": "q.csv", "out": "o.csv"},
}
GROUPS: dict[str, Any] = {
    "task": {"name": "fewshot_text"},
    "data": {"name": "builtin"},
    "model": {"name": "transformer"},
    "learner": {"name": "maml"},
}


def resolved(command: str, folder: str | None = None, **typed: Any) -> Any:
    """As if `typed` had been typed; `__` stands for a dot."""
    tree = {**GROUPS, "seed": 0, "device": "auto", **DEFAULT[command]}
    given = {key.replace("__", "."): value for key, value in typed.items()}
    for key, value in given.items():
        group, _, name = key.partition(".")
        tree[group] = {**tree[group], name: value} if name else value
    return resolve(Composed(command, tree, given, folder))


@pytest.mark.parametrize("command", ["train", "bench"])
def test_without_a_run_folder_each_run_gets_one_of_its_own(command, make_run):
    make_run()
    first, second = resolved(command).run_dir, resolved(command).run_dir
    assert first.startswith("runs/")
    assert first != second
    assert resolved(command, run_dir="mine").run_dir == "mine"
    assert resolved(command, folder="sweep/0", run_dir="mine").run_dir == "sweep/0"


@pytest.mark.parametrize("left", ["config.yaml", "metrics.jsonl", "checkpoints"])
def test_an_occupied_run_folder_is_refused(left, tmp_path):
    resolved("train", run_dir=str(tmp_path))  # an empty folder is not a run
    (tmp_path / left).mkdir()
    with pytest.raises(ValueError, match=r"already holds a run: continue it with .*resume=true"):
        resolved("train", run_dir=str(tmp_path))


@pytest.mark.parametrize(
    "typed",
    [
        {"resume": True, "run_dir": "run"},
        {"resume": "run"},
        {"resume": "run/checkpoints/last.safetensors"},
    ],
)
def test_resuming_takes_the_saved_configuration_and_what_was_typed_on_top(typed, make_run):
    make_run()
    config = resolved("train", **typed, train__steps=9, device="cpu")
    assert (config.learner["name"], config.learner["inner_lr"]) == ("fomaml", 0.3)
    assert (config.model["width"], config.task["shots"], config.seed) == (8, 2, 3)
    assert (config.train.steps, config.device) == (9, "cpu")
    assert config.run_dir == "run"
    assert config.resume == typed["resume"] or config.resume == "run"


@pytest.mark.parametrize(
    "typed",
    [
        {"seed": 4},
        {"model__width": 16},
        {"task__shots": 1},
        {"train__lr": 0.5},
        {"train__meta_batch": 1},
        {"learner__inner_steps": 1},
        {"learner": {"name": "maml"}},
        {"data": {"name": "csv", "path": "x"}},
    ],
)
def test_resuming_refuses_what_would_make_it_another_run(typed, make_run):
    make_run()
    with pytest.raises(ValueError, match=r"was given, but the run was made with .*anew"):
        resolved("train", resume="run", **typed)


def test_only_what_leaves_a_run_the_same_can_change(make_run):
    make_run()
    assert {key for key, option in options(TrainCommand).items() if option.tunable} == {
        *("run_dir", "resume", "device", "train.steps", "train.eval_every", "train.log_every"),
        *("train.patience", "train.processes", "train.keep", "plugins", "data.changed"),
        *("learner.chunk", "engine.compile", "engine.precision", "engine.kept_steps", "trials"),
    }
    changes: dict[str, Any] = {"train__eval_every": 3, "train__log_every": 2, "train__patience": 5}
    config = resolved("train", resume="run", **changes)
    assert (config.train.eval_every, config.train.log_every, config.train.patience) == (3, 2, 5)


def test_what_was_accepted_once_is_not_accepted_again(make_run):
    make_run(data={"name": "builtin", "changed": "accept"})
    assert resolved("train", resume="run").data["changed"] == "refuse"
    assert resolved("train", resume="run", data__changed="accept").data["changed"] == "accept"


def test_resuming_what_is_not_there(make_run):
    make_run("begun", checkpoints=())
    assert resolved("train", resume=True, run_dir="new").resume is False
    with pytest.raises(ValueError, match="does not exist"):
        resolved("train", resume="missing")
    with pytest.raises(ValueError, match=r"holds no checkpoint.* give run_dir=begun resume=true"):
        resolved("train", resume="begun")
    with pytest.raises(ValueError, match="give run_dir=FOLDER"):
        resolved("train", resume=True)


def test_a_run_without_a_checkpoint_begins_anew_by_its_config_yaml_and_says_so(make_run, caplog):
    make_run("begun", checkpoints=())
    with caplog.at_level("INFO"):
        config = resolved("train", resume=True, run_dir="begun", train__patience=9)
    assert (config.resume, config.run_dir) == (False, "begun")
    assert (config.seed, config.model["width"], config.train.steps) == (3, 8, 7)
    assert config.train.patience == 9, "what a resumed run may change is taken as it is given"
    assert "begun holds no checkpoint yet: it begins anew, by its config.yaml" in caplog.text
    with pytest.raises(ValueError, match=r"seed=4 was given, but .* seed=3"):
        resolved("train", resume=True, run_dir="begun", seed=4)


def test_a_resumed_run_may_go_on_in_a_new_folder_but_not_in_another_runs(make_run):
    make_run()
    make_run("other")
    assert resolved("train", resume="run", run_dir="new").run_dir == "new"
    assert resolved("train", resume="run", run_dir="run/../run").run_dir == "run/../run"
    with pytest.raises(ValueError, match="run_dir=other already holds a run"):
        resolved("train", resume="run", run_dir="other")


def test_eval_takes_the_saved_configuration_and_may_change_the_task(make_run):
    make_run()
    config = resolved("eval", ckpt="run", task__shots=1, eval__episodes=9)
    assert (config.model["width"], config.learner["name"], config.seed) == (8, "fomaml", 3)
    assert (config.task["shots"], config.eval.episodes, config.run_dir) == (1, 9, "run")
    with pytest.raises(ValueError, match=r"model\.width=9"):
        resolved("eval", ckpt="run", model__width=9)


def fields(config: Any) -> tuple[Any, Any]:
    return config.task["text_field"], config.task["label_field"]


def test_predict_takes_the_fields_from_the_checkpoint_or_as_typed(make_run):
    make_run(data={"name": "csv", "path": "x.csv", "text_field": "t", "label_field": "l"})
    config = resolved("predict", ckpt="run")
    assert fields(config) == ("t", "l")
    assert config.model["width"] == 8
    assert fields(resolved("predict", ckpt="run", task__text_field="mine")) == ("mine", "l")


def test_predict_leaves_open_what_neither_the_task_nor_the_data_says(make_run):
    make_run()
    assert fields(resolved("predict", ckpt="run")) == (None, None)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            {"task__shots": 2},
            "task.shots: predict takes the task from the checkpoint: leave task.s",
        ),
        (
            {"task": GROUPS["task"]},
            "task: predict takes the task from the checkpoint: leave task o",
        ),
        ({"data__path": "x"}, "data.path: predict takes the data from the checkpoint"),
    ],
)
def test_predict_changes_nothing_else_of_task_data_and_model(typed, said, make_run):
    make_run()
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        resolved("predict", ckpt="run", **typed)
    assert said in str(refused.value)


def test_a_saved_configuration_without_a_seed_is_not_given_another(make_run, monkeypatch):
    saved = read_saved_config(str(make_run()))
    del saved["seed"]
    monkeypatch.setattr("metaformer_cli.config.resolve.read_saved_config", lambda _: saved)
    with pytest.raises(ValueError, match=r"saved in run has no seed"):
        resolved("eval", ckpt="run")


def test_a_saved_configuration_that_does_not_fit_the_schema_is_one_line(make_run):
    file = make_run() / "checkpoints" / "best.safetensors"
    header = read_header(file)
    header.config["learner"]["inner_xx"] = header.config["learner"].pop("inner_lr")
    save_file({"x": np.zeros(9)}, file, metadata=header.metadata())
    with pytest.raises(ValueError, match=r"saved in run: unknown option learner\.inner_xx"):
        resolved("eval", ckpt="run")
