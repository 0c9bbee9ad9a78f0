"""A sweep of `metaformer train`, and what it says at its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metaformer_cli.commands.sweep import Ended, Table, sweep
from metaformer_cli.config.resolve import Composed
from metaformer_cli.config.sweep import Job, Sweep
from metaformer_cli.episode import Score
from metaformer_cli.training.comparison import Interval

ACCURACY, ERROR = Score("accuracy", "%"), Score("error", lower_is_better=True)
# nothing but words differs between these jobs
JOBS = [Job(i, {"seed": i}, Composed("data", {"seed": i}, {}, None)) for i in range(3)]


@pytest.fixture(scope="module")
def swept(metaformer, tiny, tmp_path_factory):
    """A sweep whose first job fails: what it answered, and its folder."""
    folder = tmp_path_factory.mktemp("swept") / "a sweep"
    words = ["train.lr=1e20,1e-3", "train.eval_every=2", "train.steps=2", "train.warmup_steps=0"]
    return metaformer("train", "-m", *tiny, *words, f"run_dir={folder}"), folder


def test_where_a_job_fails_the_others_go_on_and_the_end_says_all(swept):
    answer, folder = swept
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("metaformer: error: job 0 (train.lr=1e+20): step ")
    end = answer.out[answer.out.index("\nsweep    ") + 1 :].splitlines()
    assert end[0] == f"sweep    {folder}: 1 of 2 jobs are done, 1 failed"
    assert [line.split()[0] for line in end[2:4]] == ["*", "failed"]
    assert end[2].endswith("1: train.lr=0.001")
    assert "\nfailed   0: step " in answer.out
    assert f"best     {folder}/1_train.lr-0.001" in end
    assert f"next     metaformer eval ckpt='{folder}/1_train.lr-0.001'" in end
    assert f"         metaformer compare '{folder}'" in end
    assert max(len(line) for line in end if str(folder) not in line) <= 80


def test_the_table_is_a_file_too_with_the_scores_of_the_runs(swept):
    _, folder = swept
    known = json.loads((folder / "sweep.json").read_text())
    assert known["best"] == [f"{folder}/1_train.lr-0.001"]
    failed, done = known["jobs"]
    assert failed["options"] == {"train.lr": 1e20}
    assert failed["error"].startswith("step ")
    metrics = (folder / "1_train.lr-0.001/metrics.jsonl").read_text().splitlines()
    validated = [line for line in map(json.loads, metrics) if line["step"] == done["step"]]
    (found,) = [line for line in validated if "valid_accuracy" in line]
    assert done["valid"] == pytest.approx(found["valid_accuracy"])
    assert done["ci95"] == pytest.approx(found["valid_ci95"])
    assert (done["score"], done["lower_is_better"]) == ("accuracy", False)


def test_a_wrong_option_of_any_job_stops_all_before_the_first(metaformer, tiny, tmp_path):
    words = ("-m", *tiny, "train.lr=1e-3,-1", f"run_dir={tmp_path / 'sweep'}")
    metaformer("train", *words).assert_refused("job 1 (train.lr=-1)", "train.lr=-1", "above 0")
    assert not (tmp_path / "sweep").exists()


@pytest.fixture
def _any_options(monkeypatch):
    monkeypatch.setattr("metaformer_cli.commands.sweep.resolve", lambda composed: composed)


def run_with(errors):
    """Run the jobs, of which some raise: the exit code."""

    def run(composed):
        if error := errors.get(composed.tree["seed"]):
            raise error

    def failed(error):
        return (2 if isinstance(error, ValueError) else 1), f"{' '.join(error.__notes__)} {error}"

    return sweep(Sweep(None, JOBS), run, failed)


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ({}, 0),
        ({0: ValueError("no")}, 2),
        ({1: ZeroDivisionError("ours")}, 1),
        ({0: ZeroDivisionError("ours"), 1: ValueError("no")}, 1),
        ({0: ValueError("no"), 1: ZeroDivisionError("ours")}, 1),
    ],
)
@pytest.mark.usefixtures("_any_options")
def test_the_exit_code_says_whether_and_whose_fault_it_was(errors, code, capsys):
    assert run_with(errors) == code
    out = capsys.readouterr().out
    assert f"{3 - len(errors)} of 3 jobs are done" in out
    for number, error in errors.items():
        assert f"failed   {number}: {error}\n" in out


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(130), BrokenPipeError()])
@pytest.mark.usefixtures("_any_options")
def test_who_stops_a_sweep_is_told_what_was_done(stop, capsys):
    with pytest.raises(type(stop)):
        run_with({1: stop})
    out = capsys.readouterr().out
    assert "job 2" not in out
    assert "sweep    in folders of their own: 1 of 3 jobs are done, 2 left\n" in out


def done(number, mean, lead=ACCURACY, episodes=""):
    return Ended(JOBS[number], f"r/{number}", "", lead, Interval(mean, 0.1), 5, episodes)


@pytest.mark.parametrize(
    ("lead", "values", "order"),
    [(ACCURACY, [0.2, 0.9, 0.5], [1, 2, 0]), (ERROR, [0.2, 0.9, 0.1], [2, 0, 1])],
)
def test_the_best_stands_first_whichever_way_a_score_goes(lead, values, order, capsys):
    table = Table(None, 3)
    for number, value in enumerate(values):
        table.add(done(number, value, lead), 0)
    table.print()
    out = capsys.readouterr().out
    rows = [line for line in out.splitlines() if ": seed=" in line]
    assert [int(row[row.index(": seed=") - 1]) for row in rows] == order
    assert [row[0] for row in rows] == ["*", " ", " "]
    assert f"best     r/{order[0]}\n" in out


def test_runs_with_other_validation_episodes_are_no_rivals(capsys):
    table = Table(None, 3)
    for number, (value, episodes) in enumerate([(0.2, "a"), (0.9, "b"), (0.1, "a")]):
        table.add(done(number, value, episodes=episodes), 0)
    table.print()
    out = capsys.readouterr().out
    assert [own.run for own in table.best()] == ["r/0", "r/1"]
    assert "best     r/0 of those with its validation episodes\n" in out


def test_each_job_is_written_down_when_it_ends(tmp_path: Path):
    table = Table(tmp_path / "sweep", 2)
    table.add(Ended(JOBS[0], error="no"), 2)
    assert json.loads((tmp_path / "sweep/sweep.json").read_text()) == {
        "best": [],
        "jobs": [{"run": None, "options": {"seed": 0}, "error": "no"}],
    }
