"""A run's folder: at every instant there is a whole checkpoint in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from metaformer_cli.seal import unsealed
from metaformer_cli.training.checkpoint import Progress, load
from metaformer_cli.training.checkpoint_header import BEST, LAST, validated
from metaformer_cli.training.optimiser import AdamW
from metaformer_cli.training.run import Run

META = {"w": torch.ones(2, 2)}
STATE = {"task": "{}", "model": ""}


def optimiser() -> AdamW:
    return AdamW(META, lr=0.1, rate_lr=0.1, weight_decay=0, clip_norm=1, warmup_steps=0, steps=9)


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "new" / "run", {"seed": 0}, STATE)
    run.begin("seed: 0\n")
    return run


def steps(run: Run) -> dict[str, int]:
    folder = run.folder / "checkpoints"
    return {path.name: load(path).progress.step for path in folder.iterdir()}


def test_it_begins_with_a_folder_that_people_can_read(run):
    assert unsealed(run.folder / "config.yaml") == "seed: 0\n"
    assert sorted(path.name for path in run.folder.iterdir()) == ["checkpoints", "config.yaml"]


def test_a_checkpoint_holds_the_configuration_and_the_state(run):
    saved = load(run.save(META, optimiser(), Progress(1)))
    assert (saved.config, saved.state) == ({"seed": 0}, STATE)


def test_the_last_and_the_best_are_kept(run):
    path = run.save(META, optimiser(), Progress(1), judged=META, best=True)
    assert path == run.folder / "checkpoints" / LAST
    assert steps(run) == {LAST: 1, BEST: 1}
    run.save(META, optimiser(), Progress(2))
    assert steps(run) == {LAST: 2, BEST: 1}
    run.save(META, optimiser(), Progress(3), judged=META, best=True)
    assert steps(run) == {LAST: 3, BEST: 3}


def test_what_was_learned_is_in_both_and_what_training_needs_besides_in_the_last_alone(run):
    run.save(META, optimiser(), Progress(1), judged=META, best=True)
    last, best = (load(run.folder / "checkpoints" / name) for name in (LAST, BEST))
    assert last.meta.keys() == best.meta.keys() == META.keys()
    assert last.optimiser.keys() == optimiser().state_tensors().keys()
    assert best.optimiser == {}


def test_where_another_process_writes_nothing_is_written(tmp_path):
    run = Run(tmp_path / "run", {"seed": 0}, STATE, writes=False)
    run.begin("seed: 0\n")
    path = run.save(META, optimiser(), Progress(1), judged=META, best=True)
    assert path == tmp_path / "run" / "checkpoints" / LAST
    assert not list(tmp_path.iterdir())


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    ("call", "calls", "bests"),
    # each file is flushed, renamed, and its name is flushed
    [("replace", 0, 0), ("replace", 1, 1), *(("fsync", n, (n + 1) // 2) for n in range(3))],
)
def test_killed_before_a_rename_or_a_flush_the_last_is_whole(run, monkeypatch, call, calls, bests):
    run.save(META, optimiser(), Progress(1), judged=META, best=True)
    run.save(META, optimiser(), Progress(2), judged=META, best=True)
    owner, left = (Path if call == "replace" else os), calls
    original = getattr(owner, call)

    def killed(*args):
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(owner, call, killed)
        with pytest.raises(Killed):
            run.save(META, optimiser(), Progress(3), judged=META, best=True)
    assert steps(run) == {LAST: 2, BEST: 2 + bests}
    run.begin("seed: 0\n")
    run.save(META, optimiser(), Progress(4))
    assert steps(run) == {LAST: 4, BEST: 2 + bests}


def test_what_a_kill_in_the_middle_of_a_write_leaves_is_cleared_away(run):
    run.save(META, optimiser(), Progress(1))
    for name in (".config.yaml.0123abcd.tmp", "checkpoints/.last.safetensors.0123abcd.tmp"):
        (run.folder / name).write_bytes(b"half")
    (run.folder / ".pretrained.0123abcd.new.tmp").mkdir()
    (run.folder / ".pretrained.0123abcd.new.tmp" / "config.json").touch()
    (run.folder / ".eval-maml.json.0123abcd.tmp").write_text("another process writes it")
    (run.folder / "notes.tmp").write_text("the user's own")
    assert load(run.folder / "checkpoints" / LAST).progress.step == 1
    run.begin("seed: 0\n")
    left = {path.name for path in run.folder.rglob("*") if path.is_file()}
    assert left == {"config.yaml", LAST, "notes.tmp", ".eval-maml.json.0123abcd.tmp"}
    assert not list(run.folder.glob(".pretrained*"))


def test_so_many_of_the_last_validated_weights_are_kept_as_one_asks_for(tmp_path):
    run = Run(tmp_path / "run", {"seed": 0}, STATE, keep=2)
    run.begin("seed: 0\n")
    for step in (0, 8, 9, 10, 11):
        judged = {"w": torch.full((2, 2), float(step))}
        run.save(META, optimiser(), Progress(step), judged=judged if step != 11 else None)
    assert steps(run) == {"step-9.safetensors": 9, "step-10.safetensors": 10, LAST: 11}
    files = validated(run.folder / "checkpoints")
    assert [path.name for path in files] == ["step-9.safetensors", "step-10.safetensors"]
    kept = load(files[-1])
    assert kept.meta["w"].tolist() == [[10.0, 10.0], [10.0, 10.0]]
    assert not kept.optimiser
