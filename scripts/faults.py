"""Tries faults of many kinds on metaformer, and prints what came of them as a table in Markdown.

    python scripts/faults.py [--seed 0] [--cases 40] [--kinds "power forged ..."]

Of each kind so many cases are drawn by the seed. Each runs as a process of its own, in a folder of
its own, for at most 30 s and with at most 2 GB more than the libraries take. It is a fault of ours
where a command

- ends well with another result than without the damage, and does not say so (`silent`);
- ends in a traceback, or otherwise than by 0 or 2 (`traceback`);
- takes longer or more memory before it refuses (`slow`, `memory`);
- refuses in more than one line, or in one of more than 2,100 characters (`lines`);
- runs code that lay among data (`ran code`), or leaves something half-written (`litter`).

Exit code 0: none was found. Linux only: processes are forked once PyTorch is imported, and `/proc`
says how much memory they take. Forty cases of each kind take about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import stat
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

os.environ["OMP_NUM_THREADS"] = "1"  # threads do not survive a fork
os.environ["COLUMNS"] = "80"

from metaformer_cli.cli import main as metaformer
from metaformer_cli.seal import sha256

SECONDS: Final = 30.0  # on a machine that does nothing else
AMPLE: Final = 600.0  # for what is no fault
BYTES: Final = 2 * 10**9
LONGEST: Final = 2_100
SAID: Final = ("damaged", "not a whole", "were not there", "written anew", "note ", "warning")
MODEL: Final = (
    *("model=transformer", "model.width=8", "model.layers=1", "model.heads=1", "device=cpu"),
    *("task.vocab_size=300", "task.shots=1", "task.queries=1", "learner.inner_steps=1"),
)
PREDICT: Final = ("predict", "support=support.csv", "query=support.csv", "out=out.csv")
TRAIN: Final = (
    *("train", *MODEL, "train.steps=4", "train.valid_episodes=2", "train.meta_batch=1"),
    *("train.log_every=1", "train.eval_every=2", "train.patience=null"),
)


@dataclass
class Outcome:
    """How a command ended: `code` is None where it was stopped for taking too long."""

    code: int | None
    out: str
    err: str
    bytes: int


@dataclass
class Case:
    """One fault.

    Attributes:
        name: what is done, for the list of those that were not borne.
        words: of the command.
        result: of what ended well, to be compared with `expected`; None: nothing is.
        expected: the same without the fault.
        files: which nobody may leave behind or change, with their bytes.
        may_run_on: whether what runs for longer is no fault, as with options that ask for more.
        after: what else is wrong once the command has ended, in a word of `verdict`; or nothing.
    """

    name: str
    words: Sequence[str]
    result: Callable[[], Any] | None = None
    expected: Any = None
    folder: Path | None = None
    files: dict[Path, bytes] = field(default_factory=dict)
    may_run_on: bool = False
    after: Callable[[], str] = str


@dataclass(frozen=True)
class Started:
    """A command that runs: its process, and where what it prints can be read."""

    pid: int
    out: int
    err: int


def start(words: Sequence[str], folder: Path) -> Started:
    """Start a command in a fork of this process, which has imported all that is slow to."""
    (out, to_out), (err, to_err) = os.pipe(), os.pipe()  # files have the limits of a full disk
    pid = os.fork()
    if pid:
        for handle in (to_out, to_err):
            os.close(handle)
        for handle in (out, err):
            os.set_blocking(handle, False)
        return Started(pid, out, err)
    for number, handle in enumerate((os.open(os.devnull, os.O_RDONLY), to_out, to_err)):
        os.dup2(handle, number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    os.chdir(folder)
    sys.argv = ["metaformer", *words]
    code = 1
    try:
        code = metaformer()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:  # noqa: BLE001, what Python would do
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(started: Started, seconds: float = SECONDS) -> Outcome:
    """How a command ended that was started; it is stopped where it takes longer."""
    began, peak = time.monotonic(), 0
    texts = {started.out: b"", started.err: b""}
    status: int | None = None
    while status is None and time.monotonic() - began < seconds:
        done, found = os.waitpid(started.pid, os.WNOHANG)
        status = found if done else None
        peak = max(peak, held_by(started.pid))
        for handle in texts:
            with suppress(BlockingIOError):
                texts[handle] += os.read(handle, 1 << 20)
        time.sleep(0.005)
    if status is None:
        os.kill(started.pid, signal.SIGKILL)
        os.waitpid(started.pid, 0)
    for handle in texts:
        with suppress(BlockingIOError):
            while more := os.read(handle, 1 << 20):
                texts[handle] += more
        os.close(handle)
    out, err = (text.decode(errors="replace") for text in texts.values())
    return Outcome(None if status is None else os.waitstatus_to_exitcode(status), out, err, peak)


def run(words: Sequence[str], folder: Path, seconds: float = SECONDS) -> Outcome:
    """Run a command; it is stopped where it takes longer."""
    return ended(start(words, folder), seconds)


def held_by(pid: int) -> int:
    """Bytes of memory that a process has at most had; 0 once it has ended."""
    try:
        words = Path(f"/proc/{pid}/status").read_text().split()
        return int(words[words.index("VmHWM:") + 1]) * 1024
    except (OSError, ValueError):
        return 0


def verdict(case: Case, found: Outcome, idle: int) -> str:
    """What came of a case, in a word: `refused`, `same`, `said`, `went on`, or one of a fault."""
    if found.code is None:
        return "went on" if case.may_run_on else "slow"
    if found.code not in (0, 2) or "Traceback (most" in found.err:
        return "traceback"
    if wrong := case.after():
        return wrong
    if case.folder and any(case.folder.glob("code-ran-*")):
        return "ran code"
    if found.code == 2:
        lines = [line for line in found.err.splitlines() if "metaformer: error:" in line]
        if found.bytes - idle > BYTES:
            return "memory"
        if len(lines) != 1 or len(lines[0]) > LONGEST:
            return "lines"
        for path, content in case.files.items():
            if not path.exists() or path.read_bytes() != content:
                return "litter"
        return "refused"
    if case.result is None:
        return "fine"
    if case.result() == case.expected:
        return "same"
    return "said" if any(word in found.out + found.err for word in SAID) else "silent"


GOOD: Final = ("refused", "same", "said", "fine", "went on")
BAD: Final = ("silent", "traceback", "slow", "memory", "lines", "ran code", "litter")
VERDICTS: Final = (*GOOD, *BAD)


# Kinds. Each is given a folder to draw in, and draws cases for ever.


class Trained:
    """A small run, made once, and what a resume and an evaluation of it give."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run = folder, folder / "run"
        self.folder.mkdir()
        made = run([*TRAIN, f"run_dir={self.run}"], folder, AMPLE)
        assert made.code == 0, made.err
        self.resumed = self.of_resume(self._copied("resume"))
        self.judged = self.of_eval(self._copied("eval"))

    def copy(self, folder: Path) -> Path:
        """A copy, to be damaged."""
        return Path(shutil.copytree(self.run, folder / "run"))

    def words(self, what: str, copy: Path) -> list[str]:
        """The command that resumes or judges a copy."""
        if what == "resume":
            return ["train", f"run_dir={copy}", "resume=true", "train.steps=6"]
        return ["eval", f"ckpt={copy}", "eval.episodes=3", f"run_dir={copy.parent / 'judged'}"]

    def result(self, what: str, copy: Path) -> Any:
        """What the command gave."""
        return self.of_resume(copy) if what == "resume" else self.of_eval(copy)

    def of_resume(self, copy: Path) -> Any:
        """The weights, and the metrics without speeds."""
        from safetensors.numpy import load_file

        weights = load_file(copy / "checkpoints" / "last.safetensors")
        lines = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
        for line in lines:
            line.pop("episodes_per_second", None)
        return {name: value.tobytes() for name, value in weights.items()}, lines

    def of_eval(self, copy: Path) -> Any:
        """The scores of each episode."""
        (report,) = (copy.parent / "judged").glob("eval-*.json")
        return json.loads(report.read_text())["scores"]["accuracy"]["per_episode"]

    def _copied(self, what: str) -> Path:
        folder = self.folder / what
        folder.mkdir()
        copy = self.copy(folder)
        done = run(self.words(what, copy), folder, AMPLE)
        assert done.code == 0, done.err
        return copy


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


PLACES_OF: Final = {"splits": "lists/train.txt", "plugins": "data.py", "ckpt": "a", "init": "a"}


def files(trained: Trained, folder: Path, rng: random.Random) -> Case:
    """A hostile file wherever a file is meant."""
    where = rng.choice(("data", "train", "splits", "ckpt", "init", "support", "query", "plugins"))
    suffix = rng.choice((".csv", ".tsv", ".jsonl"))
    file = folder / PLACES_OF.get(where, f"data{suffix}")
    words = readers(trained, folder, file)[where]
    how = hostile(file, rng)
    return Case(f"{where}: {how}, as {file.name}", words, folder=folder)


def check_readers(trained: Trained, folder: Path) -> None:
    """Check that the commands of `files` go well with a sound file, or they would show nothing."""
    best = trained.run / "checkpoints" / "best.safetensors"
    for where in ("data", "train", "splits", "ckpt", "init", "support", "query"):
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


def tried(
    kind: str, seed: int, count: int, trained: Trained, idle: int, seconds: float
) -> Iterator[tuple[str, str]]:
    """The verdict on each of so many cases, and its name."""
    for number in range(count):
        rng = random.Random(f"{seed} {kind} {number}")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        with tempfile.TemporaryDirectory(prefix="faults-") as name:
            folder = Path(name)
            try:
                case = KINDS[kind](trained, folder, rng)
                found = run(case.words, folder, seconds)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            said = verdict(case, found, idle)
            line = (found.err.strip().splitlines() or [""])[-1]
            yield said, f"{kind} {number}: {case.name}: {line[:300]}"


def main() -> int:
    """Try faults, print a table, and whatever was not borne."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=40, help="of each kind")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that a case may take")
    parser.add_argument("--kinds", default=" ".join(KINDS), help="of: %(default)s")
    options = parser.parse_args()
    import torch  # noqa: F401, before it is forked

    import metaformer_cli.commands.evaluate
    import metaformer_cli.commands.train  # noqa: F401

    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        trained = Trained(Path(name) / "trained")
        idle = run(["data"], Path(name), AMPLE).bytes
        counts: dict[str, Counter[str]] = {}
        bad = []
        check_readers(trained, Path(name))
        print(f"| kind | cases | {' | '.join(VERDICTS)} |\n|---|--:|{'--:|' * len(VERDICTS)}")
        for kind in options.kinds.split():
            counts[kind] = Counter()
            for said, case in tried(
                kind, options.seed, options.cases, trained, idle, options.seconds
            ):
                counts[kind][said] += 1
                if said not in GOOD:
                    bad.append(f"{said}: {case}")
                    print(bad[-1], file=sys.stderr, flush=True)
            shown = (str(counts[kind][said] or "") for said in VERDICTS)
            print(f"| {kind} | {counts[kind].total()} | {' | '.join(shown)} |", flush=True)
    print(f"\n{len(bad)} of {sum(own.total() for own in counts.values())} were not borne")
    return int(bool(bad))


if __name__ == "__main__":
    raise SystemExit(main())
