"""The folder that a command writes into is one process's at a time, and leads nowhere else."""

from __future__ import annotations

import os
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from metaformer_cli.atomic import replacing
from metaformer_cli.commands.place import alone_in_run, writing_report
from metaformer_cli.config.build import build
from metaformer_cli.config.schema import TrainCommand
from metaformer_cli.locks import LOCK, only_writer
from metaformer_cli.training.processes import Processes

ME = f"process {os.getpid()} on {socket.gethostname()}"


@pytest.fixture
def copied(tiny_run, tmp_path):
    return Path(shutil.copytree(tiny_run, tmp_path / "copied"))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the lock's."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != LOCK]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_where_a_run_is_trained_nothing_else_trains_or_measures(
    metaformer, tiny, copied, monkeypatch
):
    monkeypatch.chdir(copied.parent)
    before = contents(copied)
    with only_writer(copied):
        for words in (
            ["train", *tiny, f"run_dir={copied}", "resume=true"],
            ["train", *tiny, f"resume={copied}"],
            ["bench", f"run_dir={copied}"],
            ["train", *tiny, "-m", "seed=0,1", f"run_dir={copied}"],
            ["train", *tiny, "-m", "hparams_search=maml", "trials=1", f"run_dir={copied}"],
        ):
            answer = metaformer(*words)
            answer.assert_refused(f"run_dir={copied}: another process ({ME}) is writing there")
    assert contents(copied) == before
    assert [path.name for path in copied.parent.iterdir()] == ["copied"]


def test_a_run_is_judged_while_it_is_trained(metaformer, copied):
    with only_writer(copied):
        answer = metaformer("eval", f"ckpt={copied}", "eval.episodes=2")
    assert answer.code == 0, answer
    assert len(list(copied.glob("eval-*.json"))) == 1


def test_of_two_that_write_one_report_the_second_waits(tmp_path):
    both: dict[str, str] = {}

    def write(word: str) -> None:
        with writing_report(tmp_path / "run", "eval-[x]"):
            for suffix in ("json", "html"):
                with replacing(tmp_path / "run" / f"eval-[x].{suffix}") as stream:
                    stream.write(word.encode())
            read = {path.read_text() for path in (tmp_path / "run").glob("eval-*")}
            both[word] = " ".join(read)

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".eval-[x].json.0123abcd.tmp").write_text("half, of a kill")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, "abcdefgh"))
    assert both == {word: word for word in "abcdefgh"}
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *("eval-[x].json", "eval-[x].html")
    }


def test_a_run_that_another_process_just_trained_is_not_lost(copied):
    config = build({"run_dir": str(copied), **CHOICES}, TrainCommand)
    with pytest.raises(ValueError, match="another process has just trained a run there: continue"):
        enter(config)
    enter(build({"run_dir": str(copied), "resume": str(copied), **CHOICES}, TrainCommand))
    other = shutil.copytree(copied, copied.parent / "other")
    with pytest.raises(ValueError, match="another process has just trained a run there"):
        enter(build({"run_dir": str(copied), "resume": str(other), **CHOICES}, TrainCommand))
    assert not (copied / LOCK).exists()


CHOICES = {
    "task": {"name": "fewshot_text"},
    "data": {"name": "builtin"},
    "model": {"name": "transformer"},
    "learner": {"name": "maml"},
}


def enter(config: TrainCommand, processes: Processes | None = None) -> None:
    with alone_in_run(config, processes):
        pass


class Rank:
    """One of several processes, which is told what the first one said."""

    def __init__(self, rank: int, said: list[Any]) -> None:
        self.rank, self.said = rank, said

    def exchange(self, value: Any) -> list[Any]:
        if self.rank == 0:
            self.said.append(value)
        return [self.said[-1], value]


def test_of_several_processes_the_first_holds_the_lock_and_all_are_refused_alike(tmp_path):
    said: list[Any] = []
    first, second = (cast(Processes, Rank(rank, said)) for rank in (0, 1))
    config = build({"run_dir": str(tmp_path / "run"), **CHOICES}, TrainCommand)
    with alone_in_run(config, first):
        assert (tmp_path / "run" / LOCK).exists()
        enter(config, second)  # and does not ask for what the first holds
        for rank in (first, second):
            with pytest.raises(ValueError, match=f"another process .{ME}"):
                enter(config, rank)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "checkpoints",
        "checkpoints/last.safetensors",
        "checkpoints/best.safetensors",
        "config.yaml",
        "metrics.jsonl",
        "pretrained",
    ],
)
def test_a_resumed_run_writes_through_no_link(metaformer, copied, tmp_path, name):
    (tmp_path / "outside").mkdir()
    if (copied / name).exists():
        (copied / name).rename(tmp_path / "outside" / "there")
    else:
        (tmp_path / "outside" / "there").mkdir()
    (copied / name).symlink_to(tmp_path / "outside" / "there")
    before = contents(tmp_path)
    answer = metaformer("train", f"run_dir={copied}", "resume=true", "train.steps=8")
    answer.assert_refused(f"{copied / name} is a symbolic link to {tmp_path}", "to no other place")
    assert contents(tmp_path) == before


def test_a_run_folder_may_itself_be_a_link(metaformer, copied, tmp_path):
    (tmp_path / "link").symlink_to(copied)
    answer = metaformer("train", f"run_dir={tmp_path / 'link'}", "resume=true", "train.steps=8")
    assert answer.code == 0, answer
    assert (tmp_path / "link").is_symlink()
    assert not (copied / LOCK).exists()
