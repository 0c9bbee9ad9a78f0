"""The estimate of memory, against what is counted by hand and by the operating system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.memory import PROCESS, chunk_that_fits, resident_bytes

PEAK = """
import sys
import torch
from metaformer_cli.benchmark.workload import return_freed_memory
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.maml import MAML
sys.path.insert(0, sys.argv[3])
from conftest import make_episode, make_learner

torch.set_num_threads(1)
kind, kept = {"MAML": MAML, "FOMAML": FOMAML}[sys.argv[1]], int(sys.argv[2])

def resident(key):
    (line,) = [line for line in open("/proc/self/status") if line.startswith(key)]
    return 1024 * int(line.split()[1])

def learner(width):
    options = {"width": width, "layers": 4, "inner_steps": 4, "kind": kind}
    made, meta = make_learner("copied", run_by=Engine(kept_steps=kept), **options)
    made.model.float()
    return made, {name: value.float() for name, value in meta.items()}

episode = make_episode(ways=4, shots=12, queries=12)
small, meta = learner(16)
small.meta_gradient(meta, [episode])  # so that what is loaded and allocated once is not counted
del small
large, meta = learner(256)
return_freed_memory()  # or what the smaller learner left would be used first
with open("/proc/self/clear_refs", "w") as reset:
    reset.write("5")
before = resident("VmRSS")
large.meta_gradient(meta, [episode])
gradients = 4 * sum(value.numel() for value in meta.values())
print((resident("VmHWM") - before - gradients) / large.footprint(meta, episode).episode)
"""


def test_what_an_episode_adapts_is_counted_by_used_rows(make_learner, make_episode):
    episode = make_episode()
    learner, meta = make_learner()
    used = set(episode.support.inputs["tokens"].tolist() + episode.query.inputs["tokens"].tolist())
    width = meta["encoder.backbone.embedding.weight"].shape[1]
    others = sum(
        value.numel()
        for name, value in meta.items()
        if name.startswith("encoder.") and "embedding" not in name
    )
    assert learner.adapted_count(meta, episode) == others + len(used) * width + 3 * (width + 1)
    only_head, meta = make_learner(adapt="head")
    assert only_head.adapted_count(meta, episode) == 3 * (width + 1)


def test_more_steps_cost_a_copy_of_what_adapts_each_and_kept_graphs_cost_more(
    make_learner, make_episode
):
    episode = make_episode()

    def estimate(**options):
        run_by = Engine(kept_steps=options.pop("kept_steps", 1))
        learner, meta = make_learner(run_by=run_by, **options)
        found = learner.footprint(meta, episode)
        return found.episode, 4 * found.adapted

    (two, copy), (ten, _) = estimate(inner_steps=2), estimate(inner_steps=10)
    assert ten - two == 8 * copy
    assert estimate(inner_steps=10, kept_steps=3)[0] > ten
    assert estimate(inner_steps=2, kind=FOMAML) == estimate(inner_steps=10, kind=FOMAML)
    learner, meta = make_learner(learn_rates=False)
    count = sum(value.numel() for value in meta.values())
    assert resident_bytes(learner.model, meta) == 4 * 6 * count
    assert learner.footprint(meta, episode).held == 4 * 6 * count


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
@pytest.mark.parametrize(("kind", "kept"), [("MAML", 1), ("MAML", 4), ("FOMAML", 1)])
def test_the_estimate_is_near_what_a_process_takes(kind, kept):
    done = subprocess.run(
        [sys.executable, "-c", PEAK, kind, str(kept), Path(__file__).parent],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 0.35 < float(done.stdout) < 2


@pytest.mark.parametrize(
    ("free", "expected"), [(-5, 1), (0, 1), (99, 1), (100, 1), (299, 2), (10_000, 4)]
)
def test_as_many_episodes_run_as_one_as_fit_but_one_at_least(free, expected):
    assert chunk_that_fits(free, one=100, most=4) == expected


def test_a_learner_runs_as_many_as_half_of_the_memory_holds_where_nobody_has_chosen(
    make_learner, make_episode
):
    episode = make_episode()

    def chunk(episodes, *, most=8, **options):
        learner, meta = make_learner(**options)
        one = learner.footprint(meta, episode)
        learner.fit_to(2 * (one.held + episodes * one.episode), meta, episode, most)
        found = learner.footprint(meta, episode)
        assert found.bytes == PROCESS + one.held + found.chunk * one.episode
        assert found.chunk == learner.engine.chunk
        return found.chunk

    assert chunk(3) == 3
    assert chunk(3, most=2) == 2
    assert chunk(0) == 1
    assert chunk(3, chunk=2) == 2
    assert chunk(3, run_by=Engine(compile=True)) == 1
