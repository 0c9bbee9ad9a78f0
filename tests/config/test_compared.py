"""What `compare`'s words mean, without judging anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaformer_cli.config.compared import compared, entries, runs_of


@pytest.fixture
def sweep(tmp_path, monkeypatch) -> Path:
    """A sweep of which one job failed, beside what is no run."""
    monkeypatch.chdir(tmp_path)
    for name in ("10_c", "9_b", "0_a", "2_failed"):
        (tmp_path / "sweep" / name / "checkpoints").mkdir(parents=True)
        if name != "2_failed":
            (tmp_path / "sweep" / name / "checkpoints" / "best.safetensors").write_bytes(b"")
    (tmp_path / "sweep" / "notes").mkdir()
    return Path("sweep")


@pytest.mark.usefixtures("sweep")
def test_a_sweep_is_its_runs_in_their_order_and_what_is_left_out_is_said():
    runs, notes = runs_of("sweep")
    assert runs == ["sweep/0_a", "sweep/9_b", "sweep/10_c"]
    assert notes == ["sweep: 1 of 4 runs left out, without a checkpoint: 2_failed"]


@pytest.mark.usefixtures("sweep")
def test_a_baseline_takes_what_it_needs_from_the_first_run_wherever_it_stands():
    found, _ = entries(["tfidf", "sweep/9_b", "sweep/0_a"])
    assert found == [
        ("tfidf", ["ckpt='sweep/9_b'", "learner=tfidf"]),
        ("sweep/9_b", ["ckpt='sweep/9_b'"]),
        ("sweep/0_a", ["ckpt='sweep/0_a'"]),
    ]


@pytest.mark.usefixtures("sweep")
def test_a_run_that_is_named_twice_is_one():
    found, _ = entries(["sweep", "sweep/9_b"])
    assert [word for word, _ in found] == ["sweep/0_a", "sweep/9_b", "sweep/10_c"]


@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "0 to compare: expected two or more"),
        ("tfidf", "1 to compare"),
        ("tfidf tfidf", "1 to compare"),
        ("maml tfidf", "maml is a learner that trains: give the folder of a run"),
        ("missing tfidf", "missing does not exist: expected a run folder"),
        ("tfid sweep", "did you mean tfidf?"),
        ("sweep/notes tfidf", "sweep/notes holds no run"),
        ("tfidf linear_probe ckpt=sweep", "runs are words of their own"),
        ("tfidf linear_probe learner=maml", "each run brings its own learner"),
        ("tfidf linear_probe -m", "metaformer compare takes no -m"),
        ("tfidf linear_probe task.shots=interval(1,3)", "task.shots: expected values with commas"),
        (
            "tfidf linear_probe task.shot=1",
            "tfidf: unknown option task.shot; did you mean task.shots?",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(words, said):
    with pytest.raises(ValueError, match=r"\S") as error:
        compared(words.split())
    line = " ".join([*getattr(error.value, "__notes__", []), str(error.value)])
    assert said in line
    assert "\n" not in line


def test_each_combination_of_values_is_a_table():
    found = compared(
        ["tfidf", "linear_probe", "task.shots=1,5", "task.ways=3,4", "eval.episodes=7"]
    )
    assert found is not None
    asked = {
        setting: [(own.word, own.config.task["shots"], own.config.task["ways"]) for own in table]
        for setting, table in found.settings.items()
    }
    assert asked == {
        f"task.shots={shots} task.ways={ways}": [
            ("tfidf", shots, ways),
            ("linear_probe", shots, ways),
        ]
        for shots in (1, 5)
        for ways in (3, 4)
    }
    assert all(own.config.eval.episodes == 7 for table in found.settings.values() for own in table)
    assert not found.other_data


def test_data_may_be_named_and_so_may_the_reports_folder():
    found = compared(["tfidf", "linear_probe", "data=builtin", "run_dir=there"])
    assert found is not None
    assert (found.other_data, found.run_dir, list(found.settings)) == (True, "there", [""])


def test_configurations_can_be_seen_instead(capsys):
    assert compared(["tfidf", "linear_probe", "--cfg=job", "task.shots=3"]) is None
    shown = capsys.readouterr().out
    assert shown.count("shots: 3") == 2
    assert shown.startswith("# tfidf\n")
