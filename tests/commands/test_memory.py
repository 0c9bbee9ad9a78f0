"""Whether a run fits into memory, and what is said where it does not."""

from __future__ import annotations

import errno

import pytest
import safetensors.torch
import torch

from metaformer_cli.commands.memory import largest, out_of_memory
from metaformer_cli.episode import Episode, Examples
from metaformer_cli.learners.maml import MAML

FREE = "metaformer_cli.training.free_memory.free_memory"


def test_a_run_that_cannot_fit_is_refused_before_the_work(metaformer, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(FREE, lambda _: 1000)
    words = ("train", *tiny, "engine.kept_steps=2", f"run_dir={tmp_path}/run")
    refused = ("one episode takes more than", "0.0 GB are free", "lower engine.kept_steps, ")
    metaformer(*words).assert_refused(*refused, "task.shots", "task.max_tokens", "learner=fomaml")
    assert not (tmp_path / "run").exists()


def test_a_run_that_may_not_fit_is_warned_of_and_goes_on(metaformer, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(FREE, lambda _: 40_000_000)  # an episode is small, the libraries are not
    answer = metaformer("train", *tiny, "train.steps=1", f"run_dir={tmp_path}/run")
    assert answer.code == 0, answer
    said = " ".join(answer.out.split())
    assert "warning: this run takes about 0." in said
    assert "0.0 GB are free; if it is stopped for want of memory, lower task.shots" in said


def test_memory_that_is_full_is_one_line_and_the_last_checkpoint_is_whole(
    metaformer, tiny, tmp_path, monkeypatch
):
    gradient, calls = MAML.add_meta_gradient, []

    def full_at_last(*arguments):
        calls.append(arguments)
        if len(calls) == 8:  # two to measure, two a step
            torch.empty(2**55)
        return gradient(*arguments)

    monkeypatch.setattr(MAML, "add_meta_gradient", full_at_last)
    run = tmp_path / "run"
    answer = metaformer("train", *tiny, "learner=maml", f"run_dir={run}")
    answer.assert_refused("out of memory: lower task.shots", "learner=fomaml", "resume=true")
    assert len(safetensors.torch.load_file(run / "checkpoints/last.safetensors")) > 10
    monkeypatch.undo()
    assert metaformer("train", f"run_dir={run}", "resume=true").code == 0


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("Storage size calculation overflowed with sizes=[9, 4611686018427]"), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (RuntimeError("shapes cannot be multiplied"), False),
    ],
)
def test_memory_that_is_full_is_told_from_other_faults(error, expected):
    assert out_of_memory(error) is expected


def test_the_episode_with_the_most_numbers_is_measured():
    def episode(tokens: int, seed: int) -> Episode:
        one = Examples({"tokens": torch.zeros(tokens)}, torch.zeros(1), ())
        return Episode(one, one, (), seed)

    assert largest([episode(3, 0), episode(9, 1), episode(9, 2), episode(5, 3)]).seed == 1
