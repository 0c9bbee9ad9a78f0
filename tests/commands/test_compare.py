"""`metaformer compare`."""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest

from metaformer_cli.commands.compare import trained_seconds
from metaformer_cli.training.checkpoint_header import LAST
from tests.commands.conftest import metaformer_here

SHORT = ["train.steps=2", "train.eval_every=2", "train.valid_episodes=2", "train.warmup_steps=0"]
CLASSES = [f"k{number:02}" for number in range(16)]


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory) -> Path:
    """A folder with two runs that differ in their seed, one of other options and classes, and data.

    The third was trained on a class that the others hold out, and they on one that it does.
    """
    folder: Path = tmp_path_factory.mktemp("compare")
    rows = [f"{label} {n} of {label * 2},{label}" for label in CLASSES for n in range(5)]
    (folder / "my.csv").write_text("\n".join(["text,label", *rows]))
    for name, train in {"usual": CLASSES[:8], "other": [*CLASSES[:7], CLASSES[11]]}.items():
        (folder / name).mkdir()
        test = [label for label in CLASSES if label not in (*train, *CLASSES[8:11])]
        for split, own in {"train": train, "valid": CLASSES[8:11], "test": test}.items():
            (folder / name / f"{split}.txt").write_text("\n".join(own))
    for name, words in {
        "a": ["data.splits=usual"],
        "b": ["data.splits=usual", "seed=1"],
        "c": ["data.splits=other", "task.shots=1"],
    }.items():
        words[0] = f"data.splits={folder}/{words[0].partition('=')[2]}"
        data = ["data=csv", "model=transformer", f"data.path={folder / 'my.csv'}"]
        answer = metaformer_here("train", *data, *tiny, *SHORT, *words, f"run_dir={folder / name}")
        assert answer.code == 0, answer
    return folder


def report(folder: Path) -> dict[str, Any]:
    (file,) = folder.glob("compare-*.json")
    found = json.loads(file.read_text())
    assert isinstance(found, dict)
    return found


def test_runs_and_a_baseline_stand_in_one_table_with_the_figures_of_eval(
    metaformer, runs, tmp_path
):
    words = ["eval.episodes=6", f"run_dir={tmp_path / 'all'}"]
    answer = metaformer("compare", runs / "a", runs / "b", "tfidf", *words)
    assert (answer.code, answer.err) == (0, "")
    (table,) = report(tmp_path / "all")["tables"]
    own = {contender["name"]: contender for contender in table["contenders"]}
    assert own.keys() == {"maml (2 seeds)", "tfidf"}
    both, baseline = own["maml (2 seeds)"], own["tfidf"]

    judged = []
    for name, ask in {"a": [], "b": [], "tfidf": ["learner=tfidf"]}.items():
        ckpt = runs / ("a" if ask else name)
        alone = ["eval.episodes=6", f"run_dir={tmp_path / name}", f"ckpt={ckpt}"]
        assert metaformer("eval", *alone, *ask).code == 0
        (file,) = (tmp_path / name).glob("eval-*.json")
        judged.append(json.loads(file.read_text()))
        assert judged[-1]["episodes_sha256"] == table["episodes_sha256"]
    a, b, tfidf = (one["scores"]["accuracy"] for one in judged)
    assert baseline["per_episode"] == tfidf["per_episode"]
    assert both["per_episode"] == pytest.approx(
        [(x + y) / 2 for x, y in zip(a["per_episode"], b["per_episode"], strict=True)]
    )
    assert both["seeds"] == [0, 1]
    assert both["seed_means"] == [a["mean"], b["mean"]]
    assert both["seed_sd"] == pytest.approx(statistics.stdev([a["mean"], b["mean"]]))

    # two steps count, as in training, and as many again are shown
    assert both["inner_steps"] == 2
    assert len(both["per_step"]) == 5
    assert both["per_step"][2] == pytest.approx(both["score"]["mean"])
    assert both["parameters"] > 0
    assert both["training_seconds"] > 0
    assert (baseline["parameters"], baseline["training_seconds"]) == (0, None)
    assert sum(baseline["reliability"]["counts"]) == 6 * 3 * 2, "every query"
    assert 0 <= baseline["reliability"]["error"] <= 1
    assert table["queries"] == [6, 6]

    assert table["episodes_sha256"][:8] in answer.out
    (page,) = (tmp_path / "all").glob("compare-*.html")
    assert "maml (2 seeds)" in page.read_text()
    assert str(page) in answer.out


def test_twice_the_same_figures_under_the_same_name(metaformer, runs, tmp_path):
    found = []
    for name in ("one", "other"):
        words = ["eval.episodes=3", "eval.inner_steps=2", f"run_dir={tmp_path / name}"]
        assert metaformer("compare", runs / "a", "linear_probe", *words).code == 0
        (table,) = report(tmp_path / name)["tables"]
        for contender in table["contenders"]:
            del contender["adapt_ms"], contender["query_ms"]
            assert len(contender["per_step"]) in (1, 3), "no more steps are shown than asked for"
        found.append((table, [path.name for path in (tmp_path / name).glob("*.html")]))
    assert found[0] == found[1]


def test_a_folder_of_runs_is_compared_by_itself_and_keeps_the_report(metaformer, runs, tmp_path):
    sweep = tmp_path / "sweep"
    for name in ("a", "b"):
        shutil.copytree(runs / name, sweep / name)
    shutil.copytree(runs / "a", sweep / "failed", ignore=shutil.ignore_patterns("*.safetensors"))
    # one seed twice is no spread over seeds
    shutil.copytree(runs / "a", sweep / "again")
    answer = metaformer("compare", sweep, "eval.episodes=2", "task.shots=1,2")
    assert answer.code == 0, answer
    said = " ".join(answer.out.split())
    assert "1 of 4 runs left out, without a checkpoint: failed" in said
    tables = report(sweep)["tables"]
    assert [table["setting"] for table in tables] == ["task.shots=1", "task.shots=2"]
    assert [table["title"] for table in tables] == ["3-way 1-shot", "3-way 2-shot"]
    for table in tables:
        assert {own["name"] for own in table["contenders"]} == {
            f"maml {sweep / name}" for name in ("a", "b", "again")
        }
        places = {own["name"]: place for place, own in enumerate(table["contenders"])}
        twins = {places[f"maml {sweep / name}"] for name in ("a", "again")}
        (pair,) = (own for own in table["differences"] if {own["one"], own["other"]} == twins)
        assert (pair["mean"], pair["holm"], pair["told_apart"]) == (0, 1, False)


def test_what_is_asked_of_two_runs_must_be_the_same(metaformer, runs, tmp_path):
    words = ["compare", runs / "a", runs / "c", "eval.episodes=2", f"run_dir={tmp_path / 'out'}"]
    metaformer(*words).assert_refused(
        f"{runs / 'a'} and {runs / 'c'} hold out other classes", "2 classes ('k07', 'k11')"
    )
    data = f"data.path={runs / 'my.csv'}"
    metaformer(*words, data).assert_refused("judged on other episodes (", "task.shots=2 and 1")
    assert not (tmp_path / "out").exists()
    answer = metaformer(*words, data, "task.shots=1")
    assert answer.code == 0, answer
    (table,) = report(tmp_path / "out")["tables"]
    assert len(table["contenders"]) == 2
    (note,) = (note for note in table["notes"] if "left out for all" in note)
    assert "('k07', 'k11')" in note
    assert "left out for all" in " ".join(answer.out.split())


def test_what_cannot_be_written_or_read_is_refused_before_the_work(metaformer, runs, tmp_path):
    (tmp_path / "file").write_text("")
    answer = metaformer("compare", runs / "a", "tfidf", f"run_dir={tmp_path / 'file'}")
    answer.assert_refused("is a file", "another run_dir")
    metaformer("compare", tmp_path / "file", "tfidf").assert_refused("not a whole safetensors file")
    metaformer("compare", runs / "a", "tfidf", "eval.inner_steps=1").assert_refused(
        str(runs / "a"), "eval.inner_steps=1 is below learner.inner_steps=2"
    )


def test_eval_shows_more_inner_steps_and_counts_as_many_as_before(metaformer, runs, tmp_path):
    found = []
    for words in ([], ["eval.inner_steps=4"]):
        folder = tmp_path / str(len(words))
        asked = [f"ckpt={runs / 'a'}", "eval.episodes=2", f"run_dir={folder}", *words]
        answer = metaformer("eval", *asked)
        assert answer.code == 0, answer
        (file,) = folder.glob("eval-*.json")
        found.append(json.loads(file.read_text()))
    short, long = (one["scores"]["accuracy"] for one in found)
    assert long["per_step"][:3] == short["per_step"]
    assert len(long["per_step"]) == 5
    assert long["per_episode"] == short["per_episode"]
    assert long["gain"] == short["gain"]
    assert found[0]["loss"] == found[1]["loss"]
    assert found[0]["beside"] == found[1]["beside"], "others take their own steps"
    assert "after 0, 1, … inner steps (2 of them count):" in answer.out


def test_where_the_last_checkpoint_is_damaged_the_time_of_training_is_not_known_and_that_is_said(
    tiny_run, tmp_path, capsys
):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    assert (trained_seconds(run, 2) or 0) > 0
    last = run / "checkpoints" / LAST
    last.write_bytes(last.read_bytes()[:-1])
    assert trained_seconds(run, 2) is None
    assert f"is not known: {last} is not a whole safetensors file" in capsys.readouterr().out
    last.unlink()
    assert trained_seconds(run, 2) is None
