"""The kinds of faults that scripts/faults.py tries: each draws a case in a folder of its own."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import stat
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from fault_runs import AMPLE, PREDICT, TRAIN, Case, Trained, ended, run, start

from metaformer_cli.seal import sha256


def power(trained: Trained, folder: Path, rng: random.Random) -> Case:
    """A file of a run, as a power cut or a failing disk leaves it."""
    copy = trained.copy(folder)
    file = rng.choice(sorted(path for path in copy.rglob("*") if path.is_file()))
    content = bytearray(file.read_bytes())
    how = rng.choice(("emptied", "halved", "tail zeroed", "zeroed", "bit flipped", "block zeroed"))
    at = rng.randrange(max(1, len(content)))
    if how in ("emptied", "halved"):
        del content[0 if how == "emptied" else len(content) // 2 :]
    elif how == "bit flipped" and content:
        content[at] ^= 1 << rng.randrange(8)
    else:
        start = {"tail zeroed": max(0, len(content) - 4096), "block zeroed": at}.get(how, 0)
        end = at + 512 if how == "block zeroed" else len(content)
        content[start:end] = bytes(len(content[start:end]))
    file.write_bytes(content)
    what = rng.choice(("resume", "eval"))
    name = f"{what}: {file.relative_to(copy)} {how} at {at}"
    expected = trained.resumed if what == "resume" else trained.judged
    return Case(name, trained.words(what, copy), lambda: trained.result(what, copy), expected)


def nested(depth: int) -> Any:
    """Lists in lists."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


HOSTILE: Final[Sequence[Any]] = (
    *(
        None,
        -1,
        0,
        10**30,
        float("nan"),
        float("inf"),
        "",
        "x" * 100_000,
        "../../x",
        "\x00",
        "é" * 9,
    ),
    *([], {}, [[]], {"a": {}}, nested(300), True, "${oc.env:HOME}", "__import__('os')", "10**9"),
)


def forged(trained: Trained, folder: Path, rng: random.Random) -> Case:
    """A checkpoint whose header somebody wrote, with a hash that fits."""
    copy = trained.copy(folder)
    for file in (copy / "checkpoints").glob("*.safetensors"):
        raw = file.read_bytes()
        (size,) = struct.unpack("<Q", raw[:8])
        header = json.loads(raw[8 : 8 + size])
        content = json.loads(header["__metadata__"]["metaformer"])
        name = f"{change(content, random.Random(rng.random()))}"
        text = json.dumps(content)
        header["__metadata__"] = {"metaformer": text, "sha256": sha256(text)}
        written = json.dumps(header).encode()
        file.write_bytes(struct.pack("<Q", len(written)) + written + raw[8 + size :])
    what = rng.choice(("resume", "eval", "predict", "export"))
    words = {
        "predict": [*PREDICT, f"ckpt={copy}"],
        "export": ["export", f"ckpt={copy}", "out=exported"],
    }.get(what) or trained.words(what, copy)
    (folder / "support.csv").write_text("text,label\nhow are you,a\nwhat is it,b\n")
    return Case(f"{what}: {name}", words, folder=folder, may_run_on=True)


def change(content: Any, rng: random.Random) -> str:
    """Change one value somewhere inside, in place; which one, and how."""
    path = []
    while True:
        keys = list(content) if isinstance(content, dict) else range(len(content))
        key = rng.choice(list(keys))
        path.append(str(key)[:40])
        inner = content[key]
        if isinstance(inner, (dict, list)) and inner and rng.random() < 0.8:
            content = inner
            continue
        if rng.random() < 0.2:
            del content[key]
            return f"{'.'.join(path)} gone"
        content[key] = rng.choice(HOSTILE)
        return f"{'.'.join(path)}={str(content[key])[:20]!r}"


def tensors(trained: Trained, folder: Path, rng: random.Random) -> Case:
    """A checkpoint with any bytes before the tensors, or tensors of other shapes and types."""
    copy = trained.copy(folder)
    what, how = rng.choice(("resume", "eval")), rng.choice(("huge", "random", "types", "long"))
    for file in (copy / "checkpoints").glob("*.safetensors"):
        raw = file.read_bytes()
        (size,) = struct.unpack("<Q", raw[:8])
        header = json.loads(raw[8 : 8 + size])
        name = rng.choice([name for name in header if name != "__metadata__"])
        if how == "huge":
            header[name]["shape"] = [10**9, 10**6]
        elif how == "types":
            header[name]["dtype"] = rng.choice(("F64", "I8", "BOOL", "X", None, 3))
        written = json.dumps(header).encode()
        length = {"long": 2**40}.get(how, len(written))
        if how == "random":
            written = bytes(rng.randrange(256) for _ in range(200))
        file.write_bytes(struct.pack("<Q", length) + written + raw[8 + size :])
    return Case(f"{what}: tensors {how}", trained.words(what, copy), folder=folder)


OPTIONS: Final = (
    *("train.steps", "train.lr", "train.meta_batch", "train.log_every", "task.shots", "task.ways"),
    *("task.max_tokens", "task.vocab_size", "model.width", "model.heads", "model.head", "seed"),
    *("learner.inner_lr", "learner.adapt", "learner.chunk", "engine.precision", "device", "init"),
    *("run_dir", "resume", "data.path", "data.splits", "task", "model", "learner", "data", "x.y"),
    *("experiment", "plugins", "hydra.run.dir", "hydra.sweep.dir", "train", "engine.compile"),
)


def words(_: Trained, folder: Path, rng: random.Random) -> Case:
    """A command line with hostile values."""
    typed = []
    for _number in range(rng.randint(1, 3)):
        value = rng.choice(HOSTILE)
        shown = json.dumps(value) if isinstance(value, (list, dict)) else str(value)
        shown = shown.replace("\x00", "\x01")  # no program can be given a zero byte
        sign = rng.choice(("", "", "", "+", "++", "~"))
        typed.append(f"{sign}{rng.choice(OPTIONS)}={shown}")
    first = list(TRAIN) if rng.random() < 0.7 else ["data", "task=fewshot_text"]
    name = " ".join(word[:60] for word in typed)
    return Case(f"{first[0]}: {name}", [*first, *typed], folder=folder, may_run_on=True)


TABLE: Final = "text,label\n" + "".join(f"text {i} {i % 7},class {i % 12}\n" for i in range(120))


def hostile(file: Path, rng: random.Random) -> str:
    """Make a file that is none, or not one of text; what it is."""
    good = TABLE.encode()
    at = rng.randrange(len(good))
    contents: dict[str, bytes] = {
        "nothing": b"",
        "zero bytes": good[:at] + bytes(50) + good[at:],
        "any bytes": bytes(rng.randrange(256) for _ in range(3000)),
        "UTF-16": TABLE.encode("utf-16"),
        "an open quote": good[:at] + b'"' + good[at:],
        "a long field": good[:at] + b"x" * 3_000_000 + good[at:],
        "deep JSON": b"[" * 100_000,
        "deep objects": b'{"text":' * 5_000,
        "long labels": b"text,label\n" + b"a," + b"y" * 200_000 + b"\n" + b"b,c\n" * 9,
        "a header alone": b"text,label\n",
        "the same column twice": b"text,text,label\na,b,c\n" * 9,
        "a pickle": b"\x80\x04\x95" + bytes(60),
        "an archive": b"PK\x03\x04" + bytes(200),
        "no line ends": good.replace(b"\n", b" ") * 50,
    }
    others = ("a pipe", "/dev/zero", "/dev/urandom", "a hole", "a loop", "a folder", "a socket")
    how = rng.choice([*contents, *others])
    if how == "a pipe":
        os.mkfifo(file)
    elif how == "a socket":
        os.mknod(file, stat.S_IFSOCK | 0o600)
    elif how.startswith("/dev"):
        file.symlink_to(how)
    elif how == "a hole":
        with file.open("wb") as stream:
            stream.truncate(rng.choice((3, 20)) * 10**9)
    elif how == "a loop":
        file.symlink_to(file)
    elif how == "a folder":
        file.mkdir()
    else:
        file.write_bytes(contents[how])
    return how


def readers(trained: Trained, folder: Path, file: Path) -> dict[str, list[str]]:
    """The commands that read a file, by what they read it as; `good.csv` is there besides."""
    good = folder / "good.csv"
    good.write_text(TABLE)
    kind = "jsonl" if file.suffix == ".jsonl" else "csv"
    data = f"data={kind}"
    small = ["task.ways=2", "run_dir=made"]
    predict = ["predict", f"ckpt={trained.run}", "out=out.csv"]
    lists = folder / "lists"
    lists.mkdir()
    for part, classes in {"valid": "class 2\nclass 3\n", "test": "class 4\nclass 5\n"}.items():
        (lists / f"{part}.txt").write_text(classes)
    return {
        "data": ["data", data, f"data.path={file}", "task.ways=2"],
        "train": [*TRAIN, data, f"data.path={file}", *small],
        "splits": ["data", "data=csv", f"data.path={good}", "data.splits=lists", "task.ways=2"],
        "ckpt": ["eval", f"ckpt={file}", "run_dir=judged", "eval.episodes=3"],
        "init": [*TRAIN, f"init={file}", "run_dir=made"],
        "support": [*predict, f"support={file}", f"query={good}"],
        "query": [*predict, f"support={good}", f"query={file}"],
        "plugins": ["data", f"plugins={file}"],
    }


READ_AS: Final = ("data", "train", "splits", "ckpt", "init", "support", "query")
PLACES_OF: Final = {"splits": "lists/train.txt", "plugins": "data.py", "ckpt": "a", "init": "a"}


def files(trained: Trained, folder: Path, rng: random.Random) -> Case:
    """A hostile file wherever a file is meant."""
    where = rng.choice((*READ_AS, "plugins"))
    suffix = rng.choice((".csv", ".tsv", ".jsonl"))
    file = folder / PLACES_OF.get(where, f"data{suffix}")
    words = readers(trained, folder, file)[where]
    how = hostile(file, rng)
    return Case(f"{where}: {how}, as {file.name}", words, folder=folder)


def check_readers(trained: Trained, folder: Path) -> None:
    """Check that the commands of `files` go well with a sound file, or they would show nothing."""
    best = trained.run / "checkpoints" / "best.safetensors"
    for where in READ_AS:
        inside = folder / where
        inside.mkdir()
        file = inside / PLACES_OF.get(where, "data.csv")
        words = readers(trained, inside, file)[where]
        sound = {"splits": "class 0\nclass 1\n", "ckpt": None, "init": None}
        text = sound.get(where, TABLE)
        if text is None:
            shutil.copy(best, file)
        else:
            file.write_text(text)
        done = run(words, inside, AMPLE)
        assert done.code == 0, (where, done.err)


def places(trained: Trained, folder: Path, rng: random.Random) -> Case:
    """A run in an odd place."""
    odd: dict[str, str] = {
        "a space at the end": "odd ",
        "nothing": "",
        "an interpolation": "${oc.env:HOME}",
        "a line end": "a\nb",
        "400 folders": "/".join(["d"] * 400),
        "a name of 300": "n" * 300,
        "a file": "taken",
        "below a file": "taken/run",
        "a dangling link": "dangling",
        "quotes": 'it\'s "odd"',
        "braces": "{a,b}",
        "a comma": "a,b",
        "/dev/null": "/dev/null",
        "/proc": "/proc/metaformer",
    }
    (folder / "taken").write_text("mine")
    (folder / "dangling").symlink_to(folder / "nowhere")
    how, key = rng.choice(list(odd)), rng.choice(("run_dir", "run_dir", "hydra.run.dir"))
    typed = f"{key}={odd[how]}" if rng.random() < 0.5 else f"{key}='{odd[how]}'"
    own, few = {folder / "taken": b"mine"}, "eval.episodes=3"
    command = [*TRAIN, typed] if rng.random() < 0.7 else ["eval", f"ckpt={trained.run}", few, typed]
    return Case(f"{command[0]}: {typed[:60]!r}", command, folder=folder, files=own)


def full(trained: Trained, folder: Path, rng: random.Random) -> Case:
    """A disk that is full after some bytes: by the limit of a file's size."""
    del trained
    size = rng.choice((0, 100, 1_000, 5_000, 20_000, 100_000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    return Case(f"train: files of {size} bytes", [*TRAIN, "run_dir=made"], folder=folder)


# Names of modules that an interpreter imports early.
EARLY: Final = (
    *("pickle", "signal", "socket", "multiprocessing", "random", "json", "logging", "typing"),
    *("torch", "numpy", "hydra", "omegaconf", "sitecustomize", "usercustomize", "threading"),
    *("struct", "tempfile", "selectors", "queue", "copyreg", "safetensors", "tqdm", "yaml"),
)


def planted(trained: Trained, folder: Path, rng: random.Random) -> Case:
    """A folder of data with modules in it, which no process of ours may import."""
    for name in rng.sample(EARLY, 8):
        (folder / f"{name}.py").write_text(
            f"open({str(folder / 'code-ran-')!r} + {name!r}, 'w').close()\nraise SystemExit(7)\n"
        )
    two = ["train.processes=2", "run_dir=made"]
    typed = rng.choice(
        (
            [*TRAIN, *two, "train.meta_batch=2"],
            ["eval", f"ckpt={trained.run}", "eval.processes=2", "eval.episodes=4", "run_dir=e"],
        )
    )
    return Case(f"{typed[0]} of two processes", typed, folder=folder)


def killed(trained: Trained, folder: Path, rng: random.Random) -> Case:
    """A run that is killed at any moment, and then resumed."""
    made = folder / "run"
    moment = rng.uniform(0.2, 3)
    run([*TRAIN, f"run_dir={made}"], folder, moment)
    typed = trained.words("resume", made)
    begun = (made / "config.yaml").exists()  # else there is nothing to resume: it begins
    typed = typed if begun else [*TRAIN, f"run_dir={made}", "train.steps=6"]
    name = f"killed after {moment:.2f} s"
    return Case(name, typed, lambda: trained.of_resume(made), trained.resumed, folder)


def twins(trained: Trained, folder: Path, rng: random.Random) -> Case:
    """Two runs that are started into one folder, one after the other."""
    made = folder / "run"
    first = start([*TRAIN, "train.steps=6", f"run_dir={made}"], folder)
    time.sleep(rng.uniform(0, 2))

    def after() -> str:
        whole = ended(first, AMPLE).code == 0
        return "" if whole and trained.of_resume(made) == trained.resumed else "silent"

    typed = rng.choice(([*TRAIN, f"run_dir={made}"], trained.words("resume", made)))
    return Case(f"{typed[-1]} beside train", typed, folder=folder, after=after)


KINDS: Final[dict[str, Callable[[Trained, Path, random.Random], Case]]] = {
    own.__name__: own
    for own in (power, forged, tensors, words, files, places, full, planted, killed, twins)
}
