"""Files that are none, files without an end, and what nests too deep: one line, at once."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

SOUND = "text,label\n" + "".join(f"{word} {i},{word}\n" for word in "abcdef" for i in range(4))


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """What waits is stopped, and fails."""

    def stop(*_: object) -> None:
        raise AssertionError("it waits, or reads without an end")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Files that are sound, and, in the place of files, what is none or too much."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    (folder / "sound.csv").write_text(SOUND)
    for name in ("splits", "configs/learner"):
        (folder / name).mkdir(parents=True)
    for name in ("pipe", "pipe.csv", "pipe.py", "pipe.npz", "splits/train.txt"):
        os.mkfifo(folder / name)
    (folder / "zero.csv").symlink_to("/dev/zero")
    for name, begin in (("holes.csv", SOUND), ("large.csv", SOUND)):
        with (folder / name).open("w") as stream:
            stream.write(begin)
            stream.truncate(20_000_000_000 if name == "large.csv" else 3_000_000_000)
    (folder / "configs" / "learner" / "deep.yaml").write_text(f"x: {'[' * 300}{']' * 300}\n")
    deep = '{"text": "a", "label": "b", "more": ' + "[" * 300 + "]" * 300 + "}\n"
    (folder / "deep.jsonl").write_text(deep)
    return folder


PREDICT = "predict ckpt=RUN support=sound.csv query=sound.csv out=out.csv"
CASES = {
    "eval ckpt=pipe": ["pipe is a pipe", "expected a file"],
    "train init=pipe": ["pipe is a pipe"],
    "train plugins=pipe.py": ["pipe.py is a pipe"],
    "data data=csv data.path=pipe.csv": ["pipe.csv is a pipe"],
    "data data=csv data.path=zero.csv": ["zero.csv is a device"],
    "data data=csv data.path=holes.csv": ["holes.csv:26", "NUL"],
    "data data=csv data.path=large.csv": ["large.csv:26", "NUL"],
    "data data=jsonl data.path=deep.jsonl": ["deep.jsonl:1", "deeper than 32 levels"],
    "data data=csv data.path=sound.csv data.splits=splits": ["train.txt is a pipe"],
    "data task=fewshot_image data=images data.path=pipe.npz": ["pipe.npz is a pipe"],
    "data task=fewshot_lm data=folder data.path=splits": ["train.txt is a pipe"],
    f"{PREDICT} support=pipe.csv": ["pipe.csv is a pipe"],
    "train --config-dir configs learner=deep": ["deep.yaml nests deeper than 32 levels"],
    f"train train.lr={'[' * 300}{']' * 300}": ["train.lr nests 301 deep", "at most 32"],
    f"train +a={'{b:' * 300}1{'}' * 300}": ["+a nests 300 deep"],
    f"train train.lr={'${' * 300}x{'}' * 300}": ["train.lr nests 301 deep"],
    f"train {'.'.join('a' * 90)}=1": ["nests 89 deep"],
    f"train -m train.lr={'[' * 300}{']' * 300},1": ["train.lr nests 301 deep"],
    f"train plugins={'[' * 300}{']' * 300}": ["plugins nests 300 deep"],
}


@pytest.mark.parametrize("line", CASES, ids=lambda line: line[:40])
def test_what_is_no_sound_file_is_refused_in_one_short_line(
    line, folder, metaformer, tiny_run, monkeypatch
):
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = metaformer(*line.replace("RUN", str(tiny_run)).split())
    answer.assert_refused(*CASES[line])
    assert len(answer.err) < 2500
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    assert more < 500_000, "kilobytes"
    assert sorted(folder.rglob("*")) == before
