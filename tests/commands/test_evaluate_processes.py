"""`metaformer eval` in several processes: the same figures, and no process left behind."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory):
    return Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("processes") / "run"))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """What runs in this process has as many threads as the ranks."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_two_processes_write_the_report_of_one(metaformer, run):
    reports = []
    for count in (1, 2):  # five episodes: the shares differ
        answer = metaformer("eval", f"ckpt={run}", "eval.episodes=5", f"eval.processes={count}")
        assert answer.code == 0
        assert answer.out.count("report ") == 1
        (file,) = run.glob("eval-*.json")
        reports.append((file.name, json.loads(file.read_text())))
        file.unlink()
    (name, one), (other_name, two) = reports
    assert other_name == name, "how many processes decides nothing"
    assert two["config"]["eval"].pop("processes") == 2
    assert one["config"]["eval"].pop("processes") == 1
    assert two.pop("loss") == pytest.approx(one.pop("loss"), rel=1e-5)
    del one["seconds"], two["seconds"]
    assert two == one


def test_a_signal_ends_all_processes_and_nothing_is_written(popen, environment, run):
    words = ("eval", f"ckpt={run}", "eval.episodes=100000", "eval.processes=2")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = popen("-m", "metaformer_cli", *words, **pipes, env=environment)
    time.sleep(8)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert not list(run.glob("eval-*.json"))
