"""Sizes of models, and experiments: each composes, and is what it says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from metaformer_cli.config.compose import run
from metaformer_cli.config.named import SIZED, experiments, sized_models, sizes
from metaformer_cli.config.registry import choices
from metaformer_cli.config.resolve import Composed, resolve
from metaformer_cli.config.sweep import Search, Sweep

Resolved = Callable[..., Any]


@pytest.fixture
def resolved(tmp_path, monkeypatch) -> Resolved:
    """`resolved("train", *words)` gives the checked configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["metaformer"])

    def one(command: str, *words: str) -> Any:
        found: list[Composed] = []
        run(command, words, found.append)
        (composed,) = found
        return resolve(composed)

    return one


def refusal(resolved: Resolved, *words: str) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        resolved(*words)
    return str(refused.value)


def test_sizes_are_tensor2tensors():
    shapes = {name: tuple(values[option] for option in SIZED) for name, values in sizes().items()}
    assert shapes == {
        "tiny": (128, 2, 4),
        "small": (256, 2, 4),
        "base": (512, 6, 8),
        "big": (1024, 6, 16),
    }
    assert all(values.keys() == set(SIZED) for values in sizes().values())


TASK_OF = {"text classes": "fewshot_text", "text tokens": "fewshot_lm", "points values": "sinusoid"}


@pytest.mark.parametrize("model", ["causal", "points", "transformer"])
def test_a_size_sets_width_layers_and_heads_of_a_model(resolved, model):
    declared = choices("model")[model].declared
    task = TASK_OF[f"{declared['inputs'][0]} {declared['outputs'][0]}"]
    config = resolved("train", f"task={task}", f"model={model}", "model/size=base")
    plain = resolved("train", f"task={task}", f"model={model}")
    assert config.model == {**plain.model, **sizes()["base"]}


def test_all_models_that_have_a_sizes_options_are_said_to_have_sizes():
    found = {name for name, own in choices("model").items() if {*SIZED} <= own.options.keys()}
    assert {*sized_models()} == found
    assert found >= {"causal", "points", "transformer"}


def test_a_task_may_bring_the_model_that_is_sized_and_what_is_typed_wins(resolved):
    config = resolved("train", "task=fewshot_lm", "model/size=small", "model.width=64")
    assert [config.model[name] for name in ("name", *SIZED)] == ["causal", 64, 2, 4]


def test_a_sweep_may_go_over_sizes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["metaformer"])
    found: list[Composed] = []
    words = ("-m", "model=transformer", "model/size=tiny,small", "run_dir=x")

    def several(own: Sweep | Search) -> int:
        assert isinstance(own, Sweep)
        found.extend(job.composed for job in own.jobs)
        return 0

    run("train", words, found.append, several)
    assert [composed.tree["model"]["width"] for composed in found] == [128, 256]
    assert [composed.folder for composed in found] == [
        "x/0_model-size-tiny",
        "x/1_model-size-small",
    ]


def test_a_size_of_a_model_that_has_none_or_that_there_is_not_is_one_line(resolved):
    said = refusal(resolved, "train", "model=minilm", "model/size=tiny")
    assert "model/size=tiny: the chosen model has no size" in said
    assert f"model={'|'.join(sized_models())}" in said
    said = refusal(resolved, "train", "model=transformer", "model/size=tinny")
    assert said == "model/size=tinny: expected base, big, small or tiny; did you mean tiny?"


def test_a_checkpoint_keeps_its_size(resolved, make_run):
    make_run(model={"name": "transformer", **sizes()["tiny"]})
    same = resolved("eval", "ckpt=run", "model/size=tiny")
    assert {name: same.model[name] for name in SIZED} == sizes()["tiny"]
    resumed = resolved("train", "run_dir=run", "resume=true", "model/size=tiny")
    assert resumed.model == same.model
    said = refusal(resolved, "eval", "ckpt=run", "model/size=small")
    assert "model.width=256 was given, but the run was made with model.width=128" in said
    files = ("support=a.csv", "query=b.csv", "out=c.csv", "model/size=tiny")
    said = refusal(resolved, "predict", "ckpt=run", *files)
    assert said.startswith("model/size: predict takes the model from the checkpoint")


@pytest.mark.parametrize("experiment", experiments(), ids=lambda own: own.name)
def test_an_experiment_says_what_it_is_and_its_command_can_be_run(resolved, experiment):
    assert len(experiment.doc) > 20
    program, command, *words = experiment.command.replace("=...", "=x").split()
    assert program == "metaformer"
    assert f"experiment={experiment.name}" in words
    assert resolved(command, *words).seed == 0
