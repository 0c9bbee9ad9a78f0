"""`metaformer train` in several processes: the same weights, whatever happens to them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from metaformer_cli.commands.build import resolve_device
from metaformer_cli.training.launch import Place

Start = Callable[..., "subprocess.Popen[str]"]


def tensors(run: Path, name: str = "last.safetensors") -> dict[str, Tensor]:
    return safetensors.torch.load_file(run / "checkpoints" / name)


def lines(run: Path) -> list[dict[str, float]]:
    """metrics.jsonl, without the figure that depends on the clock."""
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in found:
        line.pop("episodes_per_second", None)
    return found


def assert_close(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """The same weights and optimiser, to rounding."""
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """What runs in this process has as many threads as the ranks."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def start(popen, environment) -> Start:
    """Starts a command line."""

    def command_line(*words: str | Path, module: str = "metaformer_cli") -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process: subprocess.Popen[str] = popen("-m", module, *words, **pipes, env=environment)
        return process

    return command_line


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def options(tiny) -> list[str]:
    lengths = ["train.steps=40", "train.eval_every=20", "train.log_every=1"]
    return [*tiny, *lengths, "train.meta_batch=3", "train.valid_episodes=5"]


@pytest.fixture(scope="module")
def one(metaformer, options, keeping, tmp_path_factory) -> Path:
    """A run of one process."""
    run: Path = tmp_path_factory.mktemp("processes") / "one"
    with keeping(20):
        assert metaformer("train", f"run_dir={run}", *options).code == 0
    return run


def test_three_processes_for_two_episodes_give_the_weights_and_figures_of_one(
    metaformer, start, options, one
):
    runs = [one.with_name(name) for name in ("few-one", "few-three")]
    few = [*options, "train.meta_batch=2", "train.valid_episodes=4", "train.steps=6"]
    process = start("train", f"run_dir={runs[1]}", *few, "train.processes=3")
    assert metaformer("train", f"run_dir={runs[0]}", *few).code == 0
    code, out, err = ended(process)
    assert (code, err) == (0, "")
    first_words = [line.split()[0] for line in out.splitlines() if not line.startswith("step ")]
    told = [word for word in first_words if word in ("run", "data", "model", "best", "next")]
    assert told == ["run", "data", "model", "best", "next"]
    assert_close(tensors(runs[1]), tensors(runs[0]))
    assert lines(runs[1]) == [pytest.approx(line, rel=1e-4) for line in lines(runs[0])]


def test_a_run_of_one_process_goes_on_with_two_of_torchruns(start, one):
    run, source = one.with_name("torchrun"), one.with_name("earlier.safetensors")
    launcher = ("--standalone", "--nproc-per-node=2", "-m", "metaformer_cli")
    words = ("train", f"resume={source}", f"run_dir={run}")
    code, out, err = ended(start(*launcher, *words, module="torch.distributed.run"))
    assert code == 0, err
    assert out.count("step 20 of 40\n") == out.count("next     ") == 1
    assert_close(tensors(run), tensors(one))


def children(process: subprocess.Popen[str]) -> list[int]:
    """The process ids of a command's ranks, in order."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [pid for pid in map(int, found) if "spawn_main" in command(pid)]


def command(pid: int) -> str:
    path = Path(f"/proc/{pid}/cmdline")
    return path.read_text() if path.exists() else ""


def wait_for_lines(process: subprocess.Popen[str], run: Path, count: int) -> None:
    deadline = time.monotonic() + 150
    path = run / "metrics.jsonl"
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_killed_and_stopped_it_names_the_dead_saves_and_ends_as_if_nothing_had_been(
    metaformer, start, options, one
):
    run = one.with_name("killed")
    process = start("train", f"run_dir={run}", *options, "train.processes=2")
    wait_for_lines(process, run, 2)
    ranks = children(process)
    os.kill(ranks[0], signal.SIGKILL)
    code, _, err = ended(process)
    assert code == 2
    assert re.fullmatch(
        rf"metaformer: error: .*go on with run_dir={run} resume=true: rank 0 \(process {ranks[0]}\)"
        rf" was killed by SIGKILL; step \d+ of 40 is saved in {run}/checkpoints/last.safetensors\n",
        err,
    )
    assert not any(map(command, ranks))

    process = start("train", f"run_dir={run}", "resume=true")
    wait_for_lines(process, run, len(lines(run)) + 2)
    process.terminate()
    code, out, err = ended(process)
    assert code == 143
    assert out.count("stopped by SIGTERM: step ") == 1
    assert err == "\nstopping as soon as nothing is lost; once more stops at once\n"

    assert metaformer("train", f"run_dir={run}", "resume=true", "train.processes=1").code == 0
    assert_close(tensors(run), tensors(one))


@pytest.mark.parametrize(
    ("device", "local_rank", "gpus", "expected"),
    [
        ("auto", 1, 2, "cuda:1"),
        ("cuda", 0, 2, "cuda:0"),
        ("auto", 1, 0, "cpu"),
        ("cpu", 1, 2, "cpu"),
    ],
)
def test_each_process_has_a_gpu_of_its_own(monkeypatch, device, local_rank, gpus, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch, "empty", lambda *_, device: device)  # it is there
    assert resolve_device(device, Place(local_rank, 2, local_rank)) == expected


@pytest.mark.parametrize(("device", "local_rank"), [("cuda", 2), ("cuda:0", 0), ("auto", 2)])
def test_processes_that_would_share_a_gpu_are_refused(monkeypatch, device, local_rank):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="3 processes: expected device=cuda and a GPU for each"):
        resolve_device(device, Place(local_rank, 3, local_rank))
