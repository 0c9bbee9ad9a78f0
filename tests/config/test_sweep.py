"""Several jobs of one command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from metaformer_cli.config.compose import run
from metaformer_cli.config.sweep import Numbers, Search, Sweep, space_of


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(*words: str) -> Any:
    """What `metaformer train -m` is to do."""
    found: list[Sweep | Search] = []

    def keep(own: Sweep | Search) -> int:
        found.append(own)
        return 7

    assert run("train", ["-m", *words], never, keep) == 7
    return found[0]


def never(own: object) -> int:
    raise AssertionError(own)


def test_a_job_says_by_what_it_differs():
    sweep = read("learner=maml,fomaml", "task.shots=1", "train.lr=0.1", "run_dir=a b")
    assert [job.words for job in sweep.jobs] == ["learner=maml", "learner=fomaml"]
    assert sweep.folder == Path("a b")
    assert {job.composed.given["task.shots"] for job in sweep.jobs} == {1}
    assert {Path(job.composed.folder).parent for job in sweep.jobs} == {sweep.folder}


def test_of_an_option_that_is_typed_twice_the_last_counts():
    assert [job.composed.tree["seed"] for job in read("seed=0,1", "seed=2").jobs] == [2]


def test_a_star_stands_for_every_choice():
    (job,) = read("experiment=glob(sinus*)").jobs
    assert job.composed.tree["task"]["name"] == "sinusoid"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.lr=interval(1e-5,1e-3)"], "a search beside it, hparams_search=NAME"),
        (["hydra/sweeper=basic"], "metaformer itself composes and runs jobs"),
        (
            ["hydra/launcher=basic"],
            "expected hydra/launcher=joblib, submitit_local or submitit_slurm",
        ),
        (["hydra.launcher.partition=gpu"], "expected hydra/launcher=joblib, submitit_local or"),
        (["hydra/launcher=joblib", "hparams_search=maml"], "leave hydra/launcher out"),
        (["seed=0,1", "lerner=maml"], "did you mean learner"),
        (["hparams_search=nothing"], "hparams_search=nothing: expected maml"),
        (["hparams_search=maml", "trials=0"], "trials=0: expected at least 1"),
        (["hparams_search=maml,maml"], "expected one NAME of a space"),
    ],
)
def test_what_cannot_be_swept_is_one_line_and_leaves_nothing(words, said, tmp_path):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        read(*words)
    assert said in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_launcher_that_is_not_installed_is_asked_for_by_its_extra(monkeypatch):
    monkeypatch.setattr("metaformer_cli.config.launcher.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r'pip install "metaformer-cli\[slurm\]"$'):
        read("hydra/launcher=submitit_slurm")


def test_what_a_launcher_is_told_comes_from_the_command_line_alone(tmp_path):
    (tmp_path / "experiment").mkdir()
    own = tmp_path / "experiment/foreign.yaml"
    own.write_text("# @package _global_\nhydra: {launcher: {setup: [touch touched]}}\n")
    words = ["--config-dir", ".", "hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=5"]
    with pytest.raises(ValueError, match="setup"):  # of a launcher without shell commands
        read(*words, "experiment=foreign", "seed=0,1")
    launch = read(*words, "run_dir=sweep", "seed=0,1").launch
    assert launch.name == "submitit_slurm"
    assert launch.words == [*words[2:], "hydra.sweep.dir='sweep'"]


def test_joblib_runs_each_job_once_in_their_order():
    launch = read("hydra/launcher=joblib", "hydra.launcher.n_jobs=1", "seed=0,1").launch
    assert launch(str, 3) == ["0", "1", "2"]


def test_slurm_gets_a_job_file_with_what_was_typed_and_its_refusal_is_one_line(
    tmp_path, monkeypatch
):
    for name in ("sbatch", "srun"):
        fake = tmp_path / name
        fake.write_text(
            f'#!/bin/sh\ncp "$1" {tmp_path}/job.sh\necho no such partition >&2\nexit 1\n'
        )
        fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    words = ["hydra.launcher.partition=gpu", "hydra.launcher.timeout_min=240"]
    launch = read("hydra/launcher=submitit_slurm", *words, "run_dir=sweep", "seed=0,1").launch
    with pytest.raises(ValueError, match=r"^hydra/launcher=submitit_slurm: .*no such partition$"):
        launch(str, 2)
    job = (tmp_path / "job.sh").read_text().splitlines()
    wanted = ["--array=0-1%2", "--partition=gpu", "--time=240"]
    assert {f"#SBATCH {option}" for option in wanted} <= {*job}
    assert f"-m submitit.core._submit {tmp_path}/sweep/.submitit/" in job[-1]


def test_a_search_without_a_space_is_refused(tmp_path):
    (tmp_path / "hparams_search").mkdir()
    (tmp_path / "hparams_search/none.yaml").write_text("# @package _global_\nseed: 1\n")
    with pytest.raises(
        ValueError, match=r"expected what to look for, under hydra\.sweeper\.params"
    ):
        read("--config-dir", ".", "hparams_search=none")


def test_a_search_is_of_several_runs():
    with pytest.raises(ValueError, match="add -m"):
        run("train", ["hparams_search=maml"], never, never)


def test_a_search_looks_in_the_space_of_its_yaml_and_where_one_types():
    search = read("hparams_search=maml", "train.lr=interval(1,2)", "seed=3", "trials=5")
    assert search.space["train.lr"] == Numbers(1.0, 2.0)
    assert search.space["learner.inner_steps"] == Numbers(1, 10)
    assert search.space["learner.inner_lr"] == Numbers(0.03, 3.0, log=True)
    assert (search.trials, search.seed) == (5, 3)
    job = search.job(4, {"train.lr": 1.25, "learner.inner_steps": 2})
    assert job.options == {"train.lr": 1.25, "learner.inner_steps": 2}
    assert job.composed.tree["learner"]["inner_steps"] == 2
    assert job.composed.folder == f"{search.folder}/4_train.lr-1.25_learner.inner_steps-2"
    assert job.composed.given["resume"] is True


def test_the_document_shows_the_space_that_there_is():
    root = Path(__file__).parents[2]
    shown = (root / "docs/sweeps.md").read_text().split("```yaml\n")[1].split("```")[0]
    assert shown == (root / "configs/hparams_search/maml.yaml").read_text()


@pytest.mark.parametrize(
    ("text", "space"),
    [
        ("interval(1,5)", Numbers(1.0, 5.0)),
        ("int(interval(1,5))", Numbers(1, 5)),
        ("tag(log,interval(1e-5,1e-3))", Numbers(1e-5, 1e-3, log=True)),
        ("range(1,10,4)", Numbers(1, 9, step=4)),
        ("choice(3,x)", ["3", "x"]),
        ("1,2", ["1", "2"]),
    ],
)
def test_a_space_is_written_as_hydra_writes_it(text, space):
    (override,) = OverridesParser.create().parse_overrides([f"x={text}"])
    assert space_of(override) == space


@pytest.mark.parametrize("text", ["interval(5,1)", "range(5,1)", "range(5,1,-1)"])
def test_an_empty_space_is_refused(text):
    (override,) = OverridesParser.create().parse_overrides([f"x={text}"])
    with pytest.raises(ValueError, match="expected interval"):
        space_of(override)
