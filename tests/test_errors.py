"""Bad input, in real processes: one line, exit code 2, nothing left behind."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SOUND = "text,label\n" + "".join(f"{word} {i},{word}\n" for word in "abcdef" for i in range(4))


@pytest.fixture
def folder(tmp_path: Path, tiny_run: Path) -> Path:
    """A folder with files that are sound, and files that are not."""
    (tmp_path / "sound.csv").write_text(SOUND)
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 9)
    (tmp_path / "one_class.csv").write_text("text,label\n" + "".join(f"t{i},x\n" for i in range(9)))
    (tmp_path / "a_folder").mkdir()
    (tmp_path / "garbage").write_bytes(b"no checkpoint at all " * 99)
    (tmp_path / "pickled").write_bytes(pickle.dumps({"weights": [1.0]}))
    whole = (tiny_run / "checkpoints" / "best.safetensors").read_bytes()
    (tmp_path / "truncated").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty").write_bytes(b"")
    return tmp_path


def files(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }


CSV = "train data=csv data.path="
PREDICT = "predict ckpt=RUN support=sound.csv query=sound.csv out=out.csv"
CASES = {
    "train lerner=maml": ["lerner", "did you mean learner?"],
    "train train.stepz=3": ["train.stepz", "did you mean train.steps?"],
    "train +learner.first_ordr=true": ["learner.first_ordr"],
    "train learner=mamml": ["learner=mamml", "did you mean maml?"],
    "train steps": ["steps", "NAME=VALUE"],
    "train train.steps=abc": ["train.steps", "a whole number", "'abc'"],
    "train train.lr=-1": ["train.lr=-1.0", "above 0"],
    "train --flagg": ["--flagg", "--help"],
    "train seed=0,1": ["seed", "-m"],
    "train data=csv": ["data.path"],
    f"{CSV}missing.csv": ["missing.csv"],
    f"{CSV}a_folder": ["a_folder", "folder"],
    f"{CSV}binary.csv": ["binary.csv"],
    f"{CSV}one_class.csv task.shots=1 task.queries=1": ["one_class.csv", "class"],
    f"{CSV}sound.csv task.shots=4 task.queries=1 task.ways=2": ["sound.csv", "task.shots"],
    "train task.shots=400": ["task.shots"],
    "train task.shots=0": ["task.shots=0", "at least 1"],
    "train task.ways=1": ["task.ways=1", "at least 2"],
    "train run_dir=sound.csv/run": ["run_dir=sound.csv/run", "is a file"],
    "train run_dir=sound.csv": ["run_dir=sound.csv", "is a file"],
    "train resume=missing": ["resume=missing", "does not exist"],
    "train resume=true": ["run_dir=FOLDER"],
    "train resume=garbage": ["garbage", "not a whole safetensors file"],
    "train resume=RUN model.width=16": ["model.width=16", "model.width=8"],
    "train resume=RUN seed=7": ["seed=7", "seed=0"],
    "train run_dir=RUN": ["already holds a run", "resume=true"],
    "train learner=tfidf": ["nothing to train", "metaformer eval learner=tfidf"],
    "eval": ["ckpt=RUN_FOLDER"],
    "eval ckpt=missing": ["missing does not exist"],
    "eval ckpt=a_folder": ["a_folder holds no checkpoint"],
    "eval ckpt=garbage": ["garbage", "not a whole safetensors file"],
    "eval ckpt=empty": ["empty", "not a whole safetensors file"],
    "eval ckpt=truncated": ["truncated", "not a whole safetensors file"],
    "eval ckpt=pickled": ["pickle", "can run code"],
    "eval ckpt=RUN model.heads=2": ["model.heads=2", "model.heads=1"],
    "compare RUN": ["1 to compare", "expected two or more", "tfidf"],
    "compare RUN missing": ["missing does not exist"],
    "compare RUN garbage": ["garbage", "not a whole safetensors file"],
    "compare RUN tfidf task.shots=400": ["tiny", "task.shots"],
    "predict": ["ckpt", "support", "query", "out", "are needed"],
    f"{PREDICT} support=one_class.csv": ["one_class.csv", "at least two classes", "'x'"],
    f"{PREDICT} support=binary.csv": ["binary.csv"],
    f"{PREDICT} support=missing.csv": ["missing.csv"],
    f"{PREDICT} query=a_folder": ["a_folder"],
    f"{PREDICT} ckpt=pickled": ["pickle", "can run code"],
    f"{PREDICT} out=nowhere/out.csv": ["nowhere"],
    f"{PREDICT} out=sound.csv": ["sound.csv"],
    "data data=csv data.path=missing.csv": ["missing.csv"],
    "nonsense": ["nonsense", "train, eval, compare, predict, export, data, bench or list"],
}


@pytest.mark.parametrize("line", CASES)
def test_bad_input_is_answered_by_one_line_and_leaves_nothing(line, folder, tiny_run, metaformer):
    before = files(folder), files(tiny_run)
    failed = metaformer(*line.replace("RUN", str(tiny_run)).split(), cwd=folder)
    assert failed.returncode == 2
    assert failed.stdout == ""
    assert failed.stderr.startswith("metaformer: error: ")
    assert failed.stderr.count("\n") == 1, failed.stderr
    for part in CASES[line]:
        assert part in failed.stderr
    assert (files(folder), files(tiny_run)) == before


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("there is no mount command")
    words = [mount, "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    mounted = subprocess.run(words, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a tmpfs: {mounted.stderr.strip()}")
    yield place
    subprocess.run([umount, str(place)], check=True)


def test_a_full_disk_is_one_line_and_leaves_only_what_is_whole(full_disk, metaformer, tiny):
    larger = [*tiny, "model.width=64", "task.vocab_size=2000"]  # half a megabyte and more
    failed = metaformer("train", *larger, f"run_dir={full_disk}/run", cwd=full_disk)
    assert failed.returncode == 2
    assert failed.stderr.count("metaformer: error:") == 1
    assert "No space left on device" in failed.stderr.splitlines()[-1]
    assert "Traceback" not in failed.stderr
    assert not [path for path in full_disk.rglob("*") if path.name.endswith(".tmp")]
    for checkpoint in full_disk.rglob("*.safetensors"):
        assert metaformer("eval", f"ckpt={checkpoint}", "--cfg=job", cwd=full_disk).returncode == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused_before_the_work(tmp_path, metaformer):
    (tmp_path / "locked").mkdir(mode=0o500)
    failed = metaformer("train", "run_dir=locked/run", cwd=tmp_path)
    assert failed.returncode == 2
    assert "cannot write in" in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_a_traceback_comes_on_request(tmp_path, metaformer):
    failed = metaformer("train", "train.steps=abc", cwd=tmp_path, METAFORMER_TRACEBACK="1")
    assert failed.returncode == 2
    assert failed.stderr.startswith("Traceback") or "\nTraceback" in failed.stderr
    assert "ValueError: train.steps: expected a whole number" in failed.stderr
