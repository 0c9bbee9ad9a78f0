"""A run's folder: at every instant there is a whole checkpoint in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from metaformer_cli.training.checkpoint import Progress, load, load_latest
from metaformer_cli.training.checkpoint_header import BEST, LAST, PREVIOUS
from metaformer_cli.training.optimiser import AdamW
from metaformer_cli.training.run import Run

META = {"w": torch.ones(2, 2)}
STATE = {"task": "{}", "model": ""}


def optimiser() -> AdamW:
    return AdamW(META, lr=0.1, weight_decay=0, clip_norm=1, warmup_steps=0, steps=9)


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "new" / "run", {"seed": 0}, STATE)
    run.begin("seed: 0\n")
    return run


def steps(run: Run) -> dict[str, int]:
    folder = run.folder / "checkpoints"
    return {path.name: load(path).progress.step for path in folder.iterdir()}


def test_it_begins_with_a_folder_that_people_can_read(run):
    assert (run.folder / "config.yaml").read_text() == "seed: 0\n"
    assert sorted(path.name for path in run.folder.iterdir()) == ["checkpoints", "config.yaml"]
    assert not run.has_best


def test_a_checkpoint_holds_the_configuration_and_the_state(run):
    saved = load(run.save(META, optimiser(), Progress(1), best=False))
    assert (saved.config, saved.state) == ({"seed": 0}, STATE)


def test_the_last_the_one_before_and_the_best_are_kept(run):
    path = run.save(META, optimiser(), Progress(1), best=True)
    assert path == run.folder / "checkpoints" / LAST
    assert steps(run) == {LAST: 1, BEST: 1}
    assert run.has_best
    run.save(META, optimiser(), Progress(2), best=False)
    assert steps(run) == {LAST: 2, PREVIOUS: 1, BEST: 1}
    run.save(META, optimiser(), Progress(3), best=True)
    assert steps(run) == {LAST: 3, PREVIOUS: 2, BEST: 3}


def test_where_another_process_writes_nothing_is_written(tmp_path):
    run = Run(tmp_path / "run", {"seed": 0}, STATE, writes=False)
    run.begin("seed: 0\n")
    path = run.save(META, optimiser(), Progress(1), best=True)
    assert path == tmp_path / "run" / "checkpoints" / LAST
    assert not list(tmp_path.iterdir())


class Killed(BaseException):
    pass


@pytest.mark.parametrize("renames", range(4))
def test_killed_between_any_two_renames_the_latest_is_the_new_or_the_old(run, monkeypatch, renames):
    run.save(META, optimiser(), Progress(1), best=True)
    run.save(META, optimiser(), Progress(2), best=True)
    left = renames
    original = Path.replace

    def replace(self, target):
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(Killed):
            run.save(META, optimiser(), Progress(3), best=True)
    assert load_latest(run.folder)[0].progress.step in (1, 2, 3)
    assert steps(run)[BEST] in (2, 3)
    run.begin("seed: 0\n")
    run.save(META, optimiser(), Progress(4), best=False)
    assert load_latest(run.folder)[0].progress.step == 4
    assert set(steps(run)) <= {LAST, PREVIOUS, BEST}


def test_what_a_kill_in_the_middle_of_a_write_leaves_is_cleared_away(run):
    run.save(META, optimiser(), Progress(1), best=False)
    for name in (".config.yaml.0123abcd.tmp", "checkpoints/.next.safetensors.0123abcd.tmp"):
        (run.folder / name).write_bytes(b"half")
    (run.folder / "checkpoints" / "next.safetensors").write_bytes(b"whole, but not in its place")
    (run.folder / "notes.tmp").write_text("the user's own")
    assert load_latest(run.folder)[0].progress.step == 1
    run.begin("seed: 0\n")
    left = {path.name for path in run.folder.rglob("*") if path.is_file()}
    assert left == {"config.yaml", LAST, "notes.tmp"}
