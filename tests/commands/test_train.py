"""`metaformer train`."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from metaformer_cli.training.checkpoint import load, save

LAST = "last.safetensors"
CHECKPOINTS = ("best.safetensors", "last.safetensors")


def weights(run: Path, name: str = "last.safetensors") -> dict[str, bytes]:
    """Every tensor of a checkpoint, the optimiser's too, as bytes."""
    tensors = safetensors.torch.load_file(run / "checkpoints" / name)
    return {key: value.numpy().tobytes() for key, value in tensors.items()}


def lines(run: Path) -> list[dict[str, float]]:
    """metrics.jsonl, without the figure that depends on the clock."""
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in found:
        line.pop("episodes_per_second", None)
    return found


@pytest.fixture
def copied(tiny_run, tmp_path):
    return Path(shutil.copytree(tiny_run, tmp_path / "copied"))


def test_a_run_folder_holds_what_was_promised(tiny_run):
    assert sorted(path.name for path in (tiny_run / "checkpoints").iterdir()) == sorted(CHECKPOINTS)
    config = yaml.safe_load((tiny_run / "config.yaml").read_text())
    assert config["model"]["width"] == 8
    assert config["task"]["ways"] == 3
    assert config["train"]["lr"] > 0
    written = [json.loads(line) for line in (tiny_run / "metrics.jsonl").read_text().splitlines()]
    training = [line for line in written if "loss" in line]
    validation = [line for line in written if "loss" not in line]
    assert [line["step"] for line in training] == [2, 4, 6]
    assert all(
        set(line) == {"step", "loss", "accuracy", "lr", "episodes_per_second"} for line in training
    )
    assert [line["step"] for line in validation] == [0, 3, 6]
    over = {"valid_over_untrained", "valid_over_baseline"}
    assert all(set(line) == {"step", "valid_accuracy", "valid_ci95"} | over for line in validation)
    assert all(0 <= line["accuracy"] <= 1 and line["loss"] > 0 for line in training)
    assert all(line["episodes_per_second"] > 0 for line in training)
    events = EventAccumulator(str(tiny_run)).Reload()
    for tag in ("loss", "accuracy", "lr", "episodes_per_second"):
        assert [(e.step, pytest.approx(e.value)) for e in events.Scalars(tag)] == [
            (line["step"], line[tag]) for line in training
        ]
    assert [e.value for e in events.Scalars("valid_accuracy")] == [
        pytest.approx(line["valid_accuracy"]) for line in validation
    ]


def test_what_is_printed_fits_80_columns_and_agrees_with_the_files(metaformer, tiny, tmp_path):
    answer = metaformer("train", f"run_dir={tmp_path / 'a b'}", *tiny)
    assert answer.code == 0
    assert answer.err == ""
    printed = answer.out.splitlines()
    assert printed[0] == f"run      {tmp_path / 'a b'}"
    assert printed[-1] == f"next     metaformer eval ckpt='{tmp_path / 'a b'}'"
    assert max(len(line) for line in printed if str(tmp_path) not in line) <= 80
    best = max(line.get("valid_accuracy", -1) for line in lines(tmp_path / "a b"))
    assert f"best     {best:.1%} on validation, " in answer.out


def test_one_configuration_gives_one_result(metaformer, tiny, tiny_run, tmp_path):
    assert metaformer("train", f"run_dir={tmp_path / 'same'}", *tiny).code == 0
    assert weights(tmp_path / "same") == weights(tiny_run)
    assert lines(tmp_path / "same") == lines(tiny_run)
    assert metaformer("train", f"run_dir={tmp_path / 'other'}", "seed=1", *tiny).code == 0
    assert weights(tmp_path / "other") != weights(tiny_run)


def test_the_meta_parameters_have_moved(tiny_run):
    tensors = safetensors.torch.load_file(tiny_run / "checkpoints/last.safetensors")
    moments = {name: value for name, value in tensors.items() if name.endswith("/exp_avg")}
    assert moments
    assert all(torch.isfinite(value).all() for value in tensors.values())
    assert all(value.any() for name, value in moments.items() if "token" not in name)


class TestResume:
    def test_a_finished_run_has_nothing_more_to_do(self, metaformer, copied, tiny_run):
        answer = metaformer("train", f"run_dir={copied}", "resume=true")
        assert answer.code == 0
        assert f"resume   {copied}: step 6 of 6\n" in answer.out
        assert weights(copied) == weights(tiny_run)
        assert lines(copied) == lines(tiny_run)

    def test_more_steps_go_on_and_log_each_step_once(self, metaformer, copied):
        assert metaformer("train", f"run_dir={copied}", "resume=true", "train.steps=9").code == 0
        assert [line["step"] for line in lines(copied)] == [0, 2, 3, 4, 6, 6, 8, 9]
        rates = {line["step"]: line["lr"] for line in lines(copied) if "lr" in line}
        assert rates[8] > rates[6] == 0.0

    def test_fewer_steps_than_are_done_are_refused(self, metaformer, copied, tiny_run):
        answer = metaformer("train", f"run_dir={copied}", "resume=true", "train.steps=5")
        answer.assert_refused("train.steps=5", "at step 6", "raise it")
        assert weights(copied) == weights(tiny_run)
        assert lines(copied) == lines(tiny_run)

    def test_an_earlier_checkpoint_goes_on_to_the_same_end(
        self, metaformer, copied, tiny_run, earlier
    ):
        shutil.copy(earlier, copied / "checkpoints")
        answer = metaformer("train", f"resume={copied / 'checkpoints' / earlier.name}")
        assert "step 3 of 6" in answer.out
        assert weights(copied) == weights(tiny_run)
        assert lines(copied) == lines(tiny_run)

    def test_another_folder_gets_a_run_of_its_own(self, metaformer, tiny_run, earlier, tmp_path):
        before = weights(tiny_run)
        answer = metaformer("train", f"resume={earlier}", f"run_dir={tmp_path / 'new'}")
        assert answer.code == 0
        assert weights(tmp_path / "new") == before == weights(tiny_run)
        assert (tmp_path / "new/checkpoints/best.safetensors").exists()
        assert lines(tmp_path / "new") == lines(tiny_run)
        assert "3 of 3 lines were not there" in answer.out
        assert metaformer("eval", f"ckpt={tmp_path / 'new'}", "eval.episodes=2").code == 0

    @pytest.mark.parametrize("damage", ["cut", "garbage"])
    def test_a_damaged_last_checkpoint_is_refused(self, metaformer, copied, damage):
        last = copied / "checkpoints/last.safetensors"
        last.write_bytes(last.read_bytes()[:-1] if damage == "cut" else b"garbage" * 9)
        answer = metaformer("train", f"run_dir={copied}", "resume=true")
        best = last.with_name("best.safetensors")
        answer.assert_refused(
            f"{last} is not a whole safetensors file", f"whole is {best}", "init="
        )

    def test_where_a_power_cut_left_zeros_in_all_but_checkpoints_nothing_is_lost(
        self, metaformer, copied, tiny_run
    ):
        for file in (path for path in copied.iterdir() if path.is_file()):
            file.write_bytes(bytes(file.stat().st_size))
        answer = metaformer("train", f"run_dir={copied}", "resume=true")
        assert "6 of 6 lines were not there, or damaged" in answer.out
        assert weights(copied) == weights(tiny_run)
        assert (copied / "metrics.jsonl").read_text() == (tiny_run / "metrics.jsonl").read_text()

    def test_a_damaged_best_checkpoint_does_not_count_and_that_is_said(self, metaformer, copied):
        best = copied / "checkpoints/best.safetensors"
        best.write_bytes(best.read_bytes()[:-1] + b"?")
        answer = metaformer("train", f"run_dir={copied}", "resume=true", "train.steps=9")
        assert answer.code == 0, answer
        assert f"note     {best} is damaged" in answer.out
        assert load(best).progress.step == 9

    def test_killed_before_its_first_checkpoint_it_begins_again_as_it_was_configured(
        self, metaformer, copied, tiny_run
    ):
        for left in (*copied.rglob("*.safetensors"), copied / "metrics.jsonl"):
            left.unlink()
        shutil.rmtree(copied / "pretrained", ignore_errors=True)
        answer = metaformer("train", f"run_dir={copied}", "resume=true")
        assert answer.code == 0, answer
        assert weights(copied) == weights(tiny_run)
        assert lines(copied) == lines(tiny_run)
        changed = metaformer("train", f"run_dir={copied}", "resume=true", "model.width=16")
        changed.assert_refused("model.width=16 was given", "model.width=8")

    def test_the_best_checkpoint_holds_what_was_learned_and_nothing_to_go_on_with(
        self, metaformer, tiny_run, tmp_path
    ):
        best = tiny_run / "checkpoints/best.safetensors"
        assert {name.partition("/")[0] for name in weights(tiny_run, best.name)} == {"meta"}
        answer = metaformer("train", f"resume={best}", f"run_dir={tmp_path / 'new'}")
        answer.assert_refused(f"resume={best}", "expected a run folder, or its", LAST)
        assert not (tmp_path / "new").exists()

    def test_another_models_weights_are_refused(self, metaformer, copied):
        file = copied / "checkpoints/last.safetensors"
        whole = load(file)
        name = next(name for name in whole.meta if name.startswith("encoder."))
        save(file, replace(whole, meta={**whole.meta, name: torch.ones(2, 2, 2)}))
        answer = metaformer("train", f"run_dir={copied}", "resume=true")
        answer.assert_refused(name, "has shape (2, 2, 2)", "expected (")
        save(file, replace(whole, meta={n: own for n, own in whole.meta.items() if n != name}))
        answer = metaformer("train", f"run_dir={copied}", "resume=true")
        answer.assert_refused("is missing from the checkpoint")


def test_a_place_that_cannot_be_written_to_is_refused_at_once(metaformer, tiny, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file/run"):
        metaformer("train", f"run_dir={place}", *tiny).assert_refused(f"{tmp_path}/file is a file")
    read_only = tmp_path / "read_only"
    read_only.mkdir(mode=0o555)
    if os.access(read_only, os.W_OK):  # root may
        read_only = Path("/proc")
    answer = metaformer("train", f"run_dir={read_only / 'run'}", *tiny)
    answer.assert_refused(str(read_only))


# From here on, real processes.


@pytest.fixture
def start(popen) -> Callable[..., subprocess.Popen[str]]:
    env = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return partial(popen, "-m", "metaformer_cli", "train", **pipes, env=env)


def stop_at(process: subprocess.Popen[str], number: signal.Signals, run: Path, line: int) -> str:
    """Send a signal once metrics.jsonl has so many lines; all that the process printed."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        path = run / "metrics.jsonl"
        if path.exists() and path.read_bytes().count(b"\n") >= line:
            break
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return out + err


def test_killed_interrupted_and_killed_again_it_ends_as_if_nothing_had_been(
    metaformer, start, tiny, tmp_path
):
    options = [*tiny, "train.steps=24", "train.log_every=1", "train.eval_every=4"]
    straight, run = tmp_path / "straight", tmp_path / "run"
    assert metaformer("train", f"run_dir={straight}", *options).code == 0
    rng = random.Random(0)

    process = start(f"run_dir={run}", *options)
    stop_at(process, signal.SIGKILL, run, line=rng.randint(1, 6))
    assert process.returncode == -signal.SIGKILL
    (run / "checkpoints/.last.safetensors.0123abcd.tmp").write_bytes(b"half a checkpoint")

    process = start(f"run_dir={run}", "resume=true")
    said = stop_at(process, signal.SIGINT, run, line=rng.randint(9, 14))
    assert process.returncode == 130, said
    assert "stopped by SIGINT: step " in said
    assert f"go on    metaformer train resume={run}\n" in said
    assert "Traceback" not in said

    process = start(f"resume={run}")
    stop_at(process, signal.SIGKILL, run, line=rng.randint(18, 24))
    assert process.returncode == -signal.SIGKILL

    assert metaformer("train", f"run_dir={run}", "resume=true").code == 0
    for name in CHECKPOINTS:
        assert weights(run, name) == weights(straight, name)
    assert lines(run) == lines(straight)
    assert not list((run / "checkpoints").glob(".*"))


def test_to_compile_mapped_episodes_is_refused(metaformer, tiny, tmp_path):
    words = ("engine.compile=true", "learner.chunk=2", f"run_dir={tmp_path / 'run'}")
    answer = metaformer("train", *tiny, *words)
    answer.assert_refused("engine.compile=true and learner.chunk=2", "expected one", "leave one")
    assert not (tmp_path / "run").exists()
