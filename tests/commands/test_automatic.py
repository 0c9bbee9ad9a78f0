"""What `auto` becomes, and that it is said, kept and remembered."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace

import pytest
import yaml

from metaformer_cli.commands import automatic
from metaformer_cli.commands.automatic import Machine, Work, asked, choose, remember, remembered
from metaformer_cli.config.build import build
from metaformer_cli.config.schema import TrainCommand

GB = 10**9
WORK = Work(
    seconds=1.0, products=0.25, process=GB, kept_step=GB // 10, inner_steps=5, compiles=True
)
CORES = Machine(units=4, unit="cores", free=100 * GB)


@pytest.fixture
def config():
    groups = {"task": "fewshot_text", "data": "builtin", "model": "transformer", "learner": "maml"}
    return build({group: {"name": name} for group, name in groups.items()}, TrainCommand)


@pytest.fixture
def chosen(config):
    """What the three options become, and why."""

    def choose_for(work=WORK, machine=CORES, episodes=10_000, meta_batch=8, **given):
        values = asked(config) | {key.replace("__", "."): own for key, own in given.items()}
        found, why = choose(
            automatic.with_options(config, values),
            work,
            machine,
            episodes=episodes,
            meta_batch=meta_batch,
        )
        return (*asked(found).values(), why)

    return choose_for


def test_a_long_run_on_a_free_machine_takes_all_that_there_is(chosen):
    processes, compiled, kept, why = chosen()
    assert (processes, compiled, kept) == (4, True, 5)
    assert why == (
        "4 processes (cores), graphs of 5 inner steps kept (all), "
        "compiled (saves about 12 min, costs 90 s)"
    )


@pytest.mark.parametrize(
    ("changes", "processes", "reason"),
    [
        ({}, 4, "(cores)"),
        ({"meta_batch": 3}, 3, "(train.meta_batch)"),
        ({"machine": replace(CORES, free=4 * GB)}, 3, "(memory)"),
        ({"machine": replace(CORES, free=0)}, 1, "(memory)"),
        ({"episodes": 12}, 1, "(about 12 s of work)"),
        ({"machine": Machine(2, "GPUs", GB // 2, shared=False)}, 2, "(GPUs)"),
    ],
)
def test_processes_are_bounded_by_units_episodes_memory_and_work(
    chosen, changes, processes, reason
):
    found, *_, why = chosen(**changes)
    assert found == processes
    assert reason in why


@pytest.mark.parametrize(("free", "kept"), [(3.0, 5), (1.6, 3), (1.0, 1), (0.1, 1)])
def test_as_many_graphs_are_kept_as_three_quarters_of_the_free_memory_hold(chosen, free, kept):
    machine = replace(CORES, units=1, free=int(free * GB))
    assert chosen(machine=machine)[2] == kept


def test_compiling_must_repay_what_it_costs_which_is_less_where_it_was_done_before(chosen):
    short = {"episodes": 800}  # 60 s saved in each of four processes
    assert not chosen(work=replace(WORK, products=1.0))[1]
    assert not chosen(**short)[1]
    assert chosen(work=replace(WORK, compiled_in=70.0), **short)[1]
    assert not chosen(work=replace(WORK, compiles=False))[1]


def test_what_is_given_stays(chosen):
    given = {"train__processes": 2, "engine__kept_steps": 3, "engine__compile": False}
    assert chosen(**given) == (2, False, 3, "")


def test_work_is_remembered_by_what_decides_it_and_not_by_the_seed(config, tmp_path, monkeypatch):
    monkeypatch.setattr(automatic, "CACHE", str(tmp_path))
    remember(config, WORK)
    assert remembered(replace(config, seed=1)) == WORK
    assert remembered(replace(config, model={**config.model, "width": 32})) is None
    next((tmp_path / "measured").iterdir()).write_text("{}")
    assert remembered(config) is None


def test_no_place_to_remember_in_is_no_error(config, monkeypatch):
    monkeypatch.setattr(automatic, "CACHE", os.devnull)
    remember(config, WORK)
    assert remembered(config) is None


def test_a_run_says_and_keeps_what_was_chosen(metaformer, tmp_path):
    tiny = ["model=transformer", "model.width=8", "model.layers=1", "model.heads=1"]
    tiny += ["task.shots=1", "task.queries=1", "task.vocab_size=300", "learner.inner_steps=2"]
    words = [*tiny, "train.steps=25", "train.valid_episodes=2", f"run_dir={tmp_path / 'run'}"]
    said = metaformer("train", *words).out
    assert "\nauto     1 process (cores), graphs of 2 inner steps kept (all)" in said
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["train"]["processes"] == 1
    assert saved["engine"] == {"compile": False, "precision": "fp32", "kept_steps": 2}


def test_a_signal_while_the_work_is_measured_stops_the_run(popen, environment, tiny, tmp_path):
    words = [*tiny, "train.steps=100000", "train.eval_every=100000", f"run_dir={tmp_path / 'run'}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = popen("-m", "metaformer_cli", "train", *words, **pipes, env=environment)
    while not process.stdout.readline().startswith("data "):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err


def test_a_few_episodes_are_run_as_they_come(tiny_run):
    saved = yaml.safe_load((tiny_run / "config.yaml").read_text())
    assert saved["train"]["processes"] == 1
    assert saved["engine"] == {"compile": False, "precision": "fp32", "kept_steps": 1}


def test_a_compiler_that_fails_is_said_and_training_goes_on(
    metaformer, tiny, tmp_path, monkeypatch
):
    def broken(*_, **_options):  # as torch.compile
        def run(*_):
            raise RuntimeError("no such instruction\nand more")

        return run

    monkeypatch.setattr("torch.compile", broken)
    answer = metaformer("train", *tiny, "engine.compile=true", f"run_dir={tmp_path / 'run'}")
    assert answer.code == 0, answer
    said = "\ncompile  the compiler failed, so nothing is compiled: no such instruction\n"
    assert said in answer.out
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["engine"]["compile"] is False
