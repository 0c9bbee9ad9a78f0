"""A run is judged on what it was not trained on, and no report takes another's place."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metaformer_cli.seal import sha256
from metaformer_cli.training.checkpoint import load

SMALL = [
    *("model=transformer", "model.width=16", "model.heads=2", "model.layers=1", "device=cpu"),
    *("task.ways=2", "task.shots=2", "task.queries=2", "task.vocab_size=300"),
    *("learner.inner_steps=1", "train.meta_batch=1", "train.steps=2", "train.eval_every=2"),
    *("train.valid_episodes=2", "data=csv"),
]
LABELS = [f"class{n}" for n in range(12)]


def write(path: Path, labels: list[str], *, rows: int = 6, topic: str = "") -> Path:
    lines = [f"{topic}{label} number {row},{label}\n" for label in labels for row in range(rows)]
    path.write_text("".join(["text,label\n", *lines]))
    return path


def split_into(folder: Path, parts: dict[str, list[str]]) -> None:
    folder.mkdir(exist_ok=True)
    for part, labels in parts.items():
        (folder / f"{part}.txt").write_text("\n".join(labels))


def reports(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in folder.glob("eval-*.json")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, metaformer):
    """A folder with a run on `tickets.csv`, for reading only."""
    folder = tmp_path_factory.mktemp("trained")
    write(folder / "tickets.csv", LABELS)
    with contextlib.chdir(folder):
        answer = metaformer("train", *SMALL, "data.path=tickets.csv", "run_dir=run")
    assert answer.code == 0, answer
    return folder


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    """A copy of it to change, as the working folder."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_seeds_change_neither_split_nor_episodes(here, metaformer):
    words = ("ckpt=run", "eval.episodes=3")
    for change in ("seed=0", "seed=1", "data.split_seed=1"):
        assert metaformer("eval", *words, change).code == 0
    found = reports(here / "run")
    assert len(found) == 3
    assert len({report["episodes_sha256"] for report in found}) == 1
    assert all(report["record"]["seen"] == report["record"]["new"] == 0 for report in found)


def test_a_sweep_over_seed_trains_on_one_split(here, metaformer):
    splits = []
    for seed in (0, 1):
        words = (*SMALL, "data.path=tickets.csv", f"seed={seed}")
        assert metaformer("train", *words, f"run_dir=seed{seed}").code == 0
        assert metaformer("eval", f"ckpt=seed{seed}", "eval.episodes=3").code == 0
        splits += reports(here / f"seed{seed}")
    assert splits[0]["record"] == splits[1]["record"]
    assert splits[0]["episodes_sha256"] == splits[1]["episodes_sha256"]
    assert splits[0]["config"]["seed"] != splits[1]["config"]["seed"]


def test_a_class_that_was_added_is_judged_under_its_own_name_alone(here, metaformer):
    words = ("eval", "ckpt=run", "eval.episodes=3")
    assert metaformer(*words).code == 0
    (before,) = reports(here / "run")
    write(here / "tickets.csv", ["gift", *LABELS[::-1], "card"])
    answer = metaformer(*words)
    assert "2 classes ('card', 'gift') new; judge those new with eval.split=new" in answer.out
    same, new = metaformer(*words, "eval.split=new"), reports(here / "run")
    assert same.code == 0, same
    by_split = {report["split"]: report for report in reports(here / "run")}
    assert by_split["new"]["record"]["new"] == 2
    tests = [report for report in new if report["split"] == "test"]
    assert {report["record"]["sha256"] for report in tests} == {before["record"]["sha256"]}
    assert len({report["data_sha256"] for report in tests}) == 2
    answer = metaformer(*words, "eval.split=new", "task.ways=3")
    answer.assert_refused("eval.split=new: an episode draws 3 classes, and 2 of", "task.ways")


def test_seen_classes_are_judged_by_name_alone(here, metaformer):
    words = ("eval", "ckpt=run", "eval.episodes=3")
    assert metaformer(*words, "eval.split=train").code == 0
    (report,) = reports(here / "run")
    assert report["record"]["seen"] == 8
    metaformer(*words, "eval.split=new").assert_refused("0 of tickets.csv can be judged")
    fits = ("data=csv", "data.path=tickets.csv", "task.shots=2", "task.queries=2")
    alone = metaformer("eval", "learner=tfidf", "model=transformer", *fits, "eval.split=new")
    alone.assert_refused("eval.split=new", "give ckpt=")


def test_other_data_are_judged_without_what_the_run_has_seen(here, metaformer):
    write(here / "site.csv", [f"place{n}" for n in range(20)])
    rows = (here / "tickets.csv").read_text().splitlines()[1:]
    with (here / "site.csv").open("a") as stream:  # four classes of the run, renamed
        stream.writelines(f"{row.replace(',class', ',known')}\n" for row in rows[:24])
    words = ("eval", "ckpt=run", "data.path=site.csv", "eval.episodes=3")
    seen = 0
    for split in ("test", "valid", "train"):
        answer = metaformer(*words, f"eval.split={split}")
        assert answer.code == 0, answer
        assert "site.csv: not the run's data (" in answer.out
        seen += answer.out.count("'known")
    assert 0 < seen <= 4
    assert all(report["record"]["seen"] == 0 for report in reports(here / "run"))
    assert not any(report["record"]["same_data"] for report in reports(here / "run"))


class TestResume:
    WORDS = ("train", "run_dir=run", "resume=true", "train.steps=4")

    def test_changed_data_are_refused_and_nothing_is_written(self, here, metaformer):
        write(here / "tickets.csv", ["gift", *LABELS[1:]])
        before = {path: path.read_bytes() for path in (here / "run").rglob("*") if path.is_file()}
        metaformer(*self.WORDS).assert_refused(
            "tickets.csv is not what run was trained on: 1 class ('gift') new, 1 class ('class0') "
            "gone; ",
            "data.changed=accept",
        )
        assert before == {
            path: path.read_bytes() for path in (here / "run").rglob("*") if path.is_file()
        }

    def test_accepted_the_recorded_split_goes_on_and_the_next_change_is_refused(
        self, here, metaformer
    ):
        write(here / "tickets.csv", ["gift", *LABELS[1:]])
        answer = metaformer(*self.WORDS, "data.changed=accept")
        assert answer.code == 0, answer
        assert "data     changed: 1 class ('gift') new" in answer.out
        assert metaformer(*self.WORDS[:3], "train.steps=6").code == 0, "these data it knows"
        write(here / "tickets.csv", ["gift", *LABELS[1:]], rows=7)
        metaformer(*self.WORDS[:3], "train.steps=8").assert_refused("with other rows")
        for word in ("test", "train"):
            assert metaformer("eval", "ckpt=run", "eval.episodes=2", f"eval.split={word}").code == 0
        found = {report["split"]: report["record"] for report in reports(here / "run")}
        assert found["test"]["seen"] == found["train"]["new"] == 0

    @pytest.mark.usefixtures("here")
    def test_accepted_all_that_is_compared_is_judged_on_the_new_validation_episodes(
        self, metaformer, keeping
    ):
        def scattered(seed: int) -> None:
            rng = random.Random(seed)
            texts = [f"{rng.random()},{label}" for label in LABELS for _ in range(9)]
            Path("noise.csv").write_text("\n".join(["text,label", *texts]))

        words = ("train", *SMALL, "data.path=noise.csv", "train.valid_episodes=9")
        words = (*words, "train.lr=0.5", "train.warmup_steps=1")
        scattered(0)
        with keeping(0):
            assert metaformer(*words, "run_dir=noise").code == 0
        before = load(Path("noise/checkpoints/last.safetensors")).progress
        scattered(1)
        resumed = ("train", "data.changed=accept")
        answer = metaformer(*resumed, "run_dir=noise", "resume=true")  # no step is left to do
        assert answer.code == 0, answer
        after = load(Path("noise/checkpoints/last.safetensors")).progress
        assert (after.step, after.best_step) == (2, 2)
        best = load(Path("noise/checkpoints/best.safetensors")).progress
        assert best == replace(after, figures=[])  # which the last one has for both
        assert all(after.others[name] != before.others[name] for name in ("untrained", "TF-IDF"))
        assert after.best_scores != after.others["untrained"]
        # the start, as the same run finds it where nothing has been trained yet
        answer = metaformer(*resumed, "run_dir=anew", "resume=earlier.safetensors")
        assert answer.code == 0, answer
        assert load(Path("anew/checkpoints/last.safetensors")).progress.others == after.others

    def test_the_recorded_split_goes_on_and_that_is_said_where_the_files_list_another(
        self, tmp_path, metaformer, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        write(tmp_path / "tickets.csv", LABELS)
        parts = {"train": LABELS[:5], "valid": LABELS[5:8], "test": LABELS[8:11]}
        split_into(tmp_path / "splits", parts)
        words = (*SMALL, "data.path=tickets.csv", "data.splits=splits", "run_dir=run")
        assert metaformer("train", *words).code == 0
        split_into(tmp_path / "splits", parts | {"train": [*LABELS[:5], LABELS[11]]})
        answer = metaformer(*self.WORDS)
        assert answer.code == 0, answer
        line = "split as the run recorded it, not as the data are split today"
        assert f"data     {line}" in answer.out
        assert "data     tickets.csv: 5 train classes" in answer.out
        assert line in metaformer("eval", "ckpt=run", "eval.episodes=2").out

    def test_another_order_of_rows_is_no_change(self, here, metaformer):
        head, *rows = (here / "tickets.csv").read_text().splitlines()
        (here / "tickets.csv").write_text("\n".join([head, *rows[::-1]]))
        answer = metaformer(*self.WORDS)
        assert answer.code == 0, answer
        assert "changed" not in answer.out


def test_in_a_held_out_file_of_the_same_classes_none_that_was_seen_is_judged(here, metaformer):
    write(here / "held.csv", LABELS, topic="held out ")
    words = ("eval", "ckpt=run", "data.path=held.csv", "eval.episodes=2")
    metaformer(*words, "eval.split=new").assert_refused("0 of held.csv can be judged")
    for seed in range(3):
        metaformer(*words, f"data.split_seed={seed}", "task.ways=2")
    assert all(report["record"]["seen"] == 0 for report in reports(here / "run"))


def test_a_sweep_over_files_and_options_keeps_every_report_and_repeats_none(here, metaformer):
    for name in ("site1", "site2"):
        (here / name).mkdir()
        write(here / name / "data.csv", LABELS, topic=name)
    words = (
        *("eval", "-m", "ckpt=run", "data.path=site1/data.csv,site2/data.csv"),
        *("task.shots=1,2", "eval.episodes=2"),
    )
    assert metaformer(*words).code == 0
    names = sorted(path.name for path in (here / "run").glob("eval-*"))
    assert len(names) == 4
    assert all(name.startswith("eval-maml-csv-data-test-2way-") for name in names)
    paths = [report["config"]["data"]["path"] for report in reports(here / "run")]
    assert paths.count("site1/data.csv") == 2
    one = ("eval", "ckpt=run", "data.path=site1/data.csv", "task.shots=1", "eval.episodes=2")
    assert metaformer(*one).code == 0
    assert names == sorted(path.name for path in (here / "run").glob("eval-*"))
    write(here / "site1" / "data.csv", LABELS, topic="changed")
    assert metaformer(*one).code == 0
    assert len(reports(here / "run")) == 5
    assert metaformer(*one, "eval.episodes=3").code == 0
    assert len(reports(here / "run")) == 6


def test_a_report_is_kept_where_other_classes_are_listed_under_the_same_split(here, metaformer):
    words = (
        *("eval", "model=transformer", "learner=tfidf", "data=csv", "data.path=tickets.csv"),
        *("task.ways=2", "task.shots=2", "task.queries=2", "data.splits=splits"),
        *("run_dir=out", "eval.episodes=2"),
    )
    for test in (LABELS[6:9], LABELS[9:]):
        parts = {"train": LABELS[:3], "valid": LABELS[3:6], "test": test}
        split_into(here / "splits", parts)
        for _ in range(2):  # the same again has the same name
            answer = metaformer(*words)
            assert answer.code == 0, answer
    assert len({report["episodes_sha256"] for report in reports(here / "out")}) == 2
    assert len(reports(here / "out")) == 2


def test_a_report_is_kept_where_other_weights_lie_in_the_same_folder(
    here, metaformer, pretrained_folder
):
    words = (
        *("eval", "learner=linear_probe", "model=pretrained", "model.path=weights", "device=cpu"),
        *("task.ways=2", "task.shots=2", "task.queries=2", "data=csv", "data.path=tickets.csv"),
        *("run_dir=out", "eval.episodes=2"),
    )
    for architecture in ("bert", "distilbert"):
        shutil.copytree(pretrained_folder(architecture), "weights")
        answer = metaformer(*words)
        assert answer.code == 0, answer
        shutil.rmtree("weights")
    found = {report["config"]["model"]["sha256"] for report in reports(here / "out")}
    assert len(found) == len(reports(here / "out")) == 2


def test_predict_says_which_classes_of_the_support_were_trained_on(here, metaformer):
    rows = (here / "tickets.csv").read_text().splitlines()
    Path("query.csv").write_text("text\nwhat is this\n")
    words = ("predict", "ckpt=run", "support=support.csv", "query=query.csv", "out=out.csv")
    Path("support.csv").write_text("\n".join([*rows, "new one,mine", "new two,mine"]))
    answer = metaformer(*words)
    assert answer.code == 0, answer
    assert "note     10 classes ('class0', " in answer.out
    Path("support.csv").write_text("text,label\nnew one,mine\nnew two,class0\n")
    assert "note" not in metaformer(*words).out


def test_a_checkpoint_without_a_record_is_refused_in_one_line(here, metaformer):
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    file = here / "run/checkpoints/best.safetensors"
    with safe_open(file, framework="np") as stream:
        header = json.loads(stream.metadata()["metaformer"])
    text = json.dumps(header | {"data": {"name": 3}})
    save_file(load_file(file), file, metadata={"metaformer": text, "sha256": sha256(text)})
    metaformer("eval", "ckpt=run").assert_refused("does not say what it was trained on")
