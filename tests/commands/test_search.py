"""`hparams_search=NAME`: Optuna chooses, by validation alone."""

from __future__ import annotations

import math
import random
import sys
from dataclasses import asdict

import pytest
import yaml

from metaformer_cli.commands import search as searching
from metaformer_cli.commands.search import search
from metaformer_cli.commands.sweep import Ended
from metaformer_cli.config.build import build
from metaformer_cli.config.resolve import Composed
from metaformer_cli.config.schema import TrainCommand
from metaformer_cli.config.sweep import Job, Numbers, Search
from metaformer_cli.episode import Score
from metaformer_cli.training.comparison import Interval

optuna = pytest.importorskip("optuna", reason="needs the extra optuna")

sqlalchemy = pytest.importorskip("sqlalchemy")

SPACE = {"train.lr": Numbers(1e-6, 1.0, log=True), "learner.inner_steps": Numbers(1, 9)}
SINUSOID = {"task": "sinusoid", "data": "generated", "model": "points", "learner": "maml"}
TEXTS = {"task": "fewshot_text", "data": "builtin", "model": "transformer", "learner": "maml"}


def space(folder, trials=12, choices=SINUSOID, seed=0, where=SPACE):
    tree = asdict(build({group: {"name": name} for group, name in choices.items()}, TrainCommand))
    tree["seed"] = seed

    def job(number, values):
        place = str(folder / f"{number}")
        return Job(number, values, Composed("train", {**tree, "run_dir": place}, {}, place))

    return Search(folder, [], where, trials, seed, job)


def error_of(values):
    """How far a trial is from the best there is, train.lr=1e-3 and learner.inner_steps=4."""
    lr, steps = values["train.lr"], values["learner.inner_steps"]
    return abs(math.log10(lr) + 3) + 0.1 * abs(steps - 4)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk():
    """A test's database need not survive a power cut, which is most of the time that it takes."""

    def hurry(connection, _):
        connection.execute("PRAGMA synchronous=OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", hurry)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", hurry)


@pytest.fixture
def trials(monkeypatch):
    """`trials(SEARCH, {NUMBER: ERROR})`: the trials after a search of `error_of`."""

    def of(own, raises=None):
        lead = Score("error", lower_is_better=True)
        values: dict[int, Ended] = {}

        def attempt(job, run, failed):
            del run, failed
            error = (raises or {}).get(job.number)
            if isinstance(error, KeyboardInterrupt):
                raise error
            if error is not None:
                return Ended(job, error=str(error)), 2
            found = Ended(job, "run", "", lead, Interval(error_of(job.options), 0.1), 1)
            values[job.number] = found
            return found, 0

        monkeypatch.setattr(searching, "attempt", attempt)
        monkeypatch.setattr(searching, "ended", lambda job, _: attempt(job, None, None)[0])
        code: object = None
        try:
            code = search(own, lambda _: None, lambda error: (2, str(error)))
        except KeyboardInterrupt as stop:
            code = stop
        address = sqlalchemy.URL.create("sqlite", database=str(own.folder / "search.db"))
        study = optuna.load_study(study_name="search", storage=address.render_as_string())
        return code, study.trials

    return of


def test_what_is_known_of_a_search_is_kept_in_its_folder_whatever_that_is_called(tmp_path, trials):
    folder = tmp_path / "a?b%20c #1"
    trials(space(folder, trials=2))
    assert [path.name for path in tmp_path.iterdir()] == ["a?b%20c #1"]
    assert {"search.db", "sweep.json"} <= {path.name for path in folder.iterdir()}


def test_a_search_comes_nearer_to_the_best_than_its_first_draws_did(trials, tmp_path):
    code, found = trials(space(tmp_path, trials=25))
    errors = [trial.value for trial in found]
    assert (code, len(errors)) == (0, 25)
    assert min(errors[10:]) < 0.5 * min(errors[:10])


def test_a_search_that_was_stopped_ends_as_one_that_was_not(trials, tmp_path, capsys):
    _, whole = trials(space(tmp_path / "whole"))
    stopped, found = trials(space(tmp_path / "parts"), {7: KeyboardInterrupt()})
    assert isinstance(stopped, KeyboardInterrupt)
    assert len(found) == 8
    assert "7 of 12 jobs are done, 5 left\n" in capsys.readouterr().out
    code, found = trials(space(tmp_path / "parts"))
    assert code == 0
    assert f"search   {tmp_path}/parts: 7 of 12 trials are done\n" in capsys.readouterr().out
    assert [(t.params, t.value) for t in found] == [(t.params, t.value) for t in whole]


def test_the_seed_decides_what_is_tried_and_nothing_else_does(trials, tmp_path):
    random.seed(1)
    _, first = trials(space(tmp_path / "a", trials=1))
    random.seed(2)
    _, second = trials(space(tmp_path / "b", trials=1))
    _, other = trials(space(tmp_path / "c", trials=1, seed=1))
    assert [t.params for t in first] == [t.params for t in second]
    assert first[0].params != other[0].params


def test_a_failed_trial_does_not_end_the_search_and_counts(trials, tmp_path, capsys):
    code, found = trials(space(tmp_path, trials=4), {1: "the loss is nan"})
    assert code == 2
    assert [trial.state.name for trial in found] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert "failed   1: the loss is nan\n" in capsys.readouterr().out
    code, found = trials(space(tmp_path, trials=5))
    assert (code, len(found)) == (0, 5)
    assert "failed   1: the loss is nan\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("choices", "direction"), [(SINUSOID, "MINIMIZE"), (TEXTS, "MAXIMIZE")], ids=["error", "share"]
)
def test_the_task_says_which_way_is_better(choices, direction, trials, tmp_path):
    trials(space(tmp_path, trials=1, choices=choices))
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 'search.db'}")
    assert study.direction.name == direction


def test_numbers_stay_in_their_space_and_are_short(trials, tmp_path):
    _, found = trials(space(tmp_path, trials=3))
    for trial in found:
        job = searching.job_of(space(tmp_path), trial.number, trial.params)
        assert 1e-6 <= job.options["train.lr"] <= 1
        assert job.options["train.lr"] == pytest.approx(trial.params["train.lr"], rel=1e-3)
        assert len(str(job.options["train.lr"])) <= 9
        assert job.options["learner.inner_steps"] in range(1, 10)


def test_a_folder_of_another_search_is_refused(trials, tmp_path):
    trials(space(tmp_path, trials=1))
    with pytest.raises(ValueError, match=r"holds another search: seed=1 was given, .* seed=0;"):
        trials(space(tmp_path, trials=1, seed=1))
    wider = {**SPACE, "learner.inner_steps": Numbers(1, 20)}
    with pytest.raises(ValueError, match=r"another search: learner\.inner_steps=Numbers"):
        trials(space(tmp_path, trials=1, where=wider))


def test_what_is_no_study_is_refused(tmp_path):
    (tmp_path / "search.db").write_text("no database, " * 99)
    with pytest.raises(ValueError, match=r"search\.db: expected a search") as refused:
        search(space(tmp_path), lambda _: None, lambda error: (2, str(error)))
    assert "\n" not in str(refused.value)


def test_without_optuna_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r"pip install .metaformer-cli\[optuna\]"):
        search(space(tmp_path / "new"), lambda _: None, lambda error: (2, str(error)))
    assert not (tmp_path / "new").exists()


def test_torchruns_processes_would_each_choose_for_themselves(tmp_path, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    with pytest.raises(ValueError, match="expected a start without torchrun"):
        search(space(tmp_path), lambda _: None, lambda error: (2, str(error)))


def searched(metaformer, folder, held_out):
    """What a search knows of texts whose test classes have the given texts."""
    (folder / "splits").mkdir(parents=True)
    for part in ("train", "valid", "test"):
        (folder / f"splits/{part}.txt").write_text("".join(f"{part}{c}\n" for c in range(3)))
    rows = [
        f"{held_out if part == 'test' else part} {c} says {i},{part}{c}\n"
        for part in ("train", "valid", "test")
        for c in range(3)
        for i in range(4)
    ]
    (folder / "texts.csv").write_text("text,label\n" + "".join(rows))
    words = [f"data.path={folder}/texts.csv", f"data.splits={folder}/splits"]
    answer = metaformer(
        *("train", "-m", "hparams_search=maml", "trials=1", f"run_dir={folder}/search"),
        *("data=csv", *words, "model=transformer", "model.width=8", "model.heads=1"),
        *("model.layers=1", "model.lexical_width=0", "task.ways=3", "task.shots=2"),
        *("task.queries=2", "train.steps=2", "train.meta_batch=1", "train.valid_episodes=2"),
    )
    assert answer.code == 0, answer
    assert "\nnext     metaformer eval ckpt=" in answer.out
    known = yaml.safe_load((folder / "search/sweep.json").read_text())
    return [(job["options"], job["valid"], job["ci95"]) for job in known["jobs"]]


def test_the_test_classes_change_nothing(metaformer, tmp_path):
    one, other = (searched(metaformer, tmp_path / word, word) for word in ("moon", "sun"))
    assert len(one) == 1
    assert one == other
