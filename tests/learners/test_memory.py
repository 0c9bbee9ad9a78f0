"""The estimate of memory, against what is counted by hand and by the operating system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.memory import (
    adapted_count,
    chunk_that_fits,
    episode_bytes,
    resident_bytes,
)

PEAK = """
import sys
import torch
from metaformer_cli.benchmark.workload import return_freed_memory
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.memory import episode_bytes
sys.path.insert(0, sys.argv[3])
from conftest import make_episode, make_maml

torch.set_num_threads(1)
first_order, kept = int(sys.argv[1]), int(sys.argv[2])

def resident(key):
    (line,) = [line for line in open("/proc/self/status") if line.startswith(key)]
    return 1024 * int(line.split()[1])

def learner(width):
    options = {"width": width, "layers": 4, "inner_steps": 4, "first_order": bool(first_order)}
    maml, meta = make_maml("copied", engine=Engine(kept_steps=kept), **options)
    maml.model.float()
    return maml, {name: value.float() for name, value in meta.items()}

episode = make_episode(ways=4, shots=12, queries=12)
maml, meta = learner(16)
maml.meta_gradient(meta, [episode])  # so that what is loaded and allocated once is not counted
maml, meta = learner(256)
return_freed_memory()  # or what the smaller learner left would be used first
with open("/proc/self/clear_refs", "w") as reset:
    reset.write("5")
before = resident("VmRSS")
maml.meta_gradient(meta, [episode])
gradients = 4 * sum(value.numel() for value in meta.values())
print((resident("VmHWM") - before - gradients) / episode_bytes(maml, meta, episode))
"""


def test_what_an_episode_adapts_is_counted_by_used_rows(make_maml, make_episode):
    episode = make_episode()
    maml, meta = make_maml()
    used = set(episode.support.inputs["tokens"].tolist() + episode.query.inputs["tokens"].tolist())
    width = meta["encoder.backbone.embedding.weight"].shape[1]
    others = sum(
        value.numel()
        for name, value in meta.items()
        if name.startswith("encoder.") and "embedding" not in name
    )
    assert adapted_count(maml, meta, episode) == others + len(used) * width + 3 * (width + 1)
    only_head, meta = make_maml(adapt="head")
    assert adapted_count(only_head, meta, episode) == 3 * (width + 1)


def test_more_steps_cost_a_copy_of_what_adapts_each_and_kept_graphs_cost_more(
    make_maml, make_episode
):
    episode = make_episode()

    def estimate(**options):
        engine = Engine(kept_steps=options.pop("kept_steps", 1))
        maml, meta = make_maml(engine=engine, **options)
        return episode_bytes(maml, meta, episode), 4 * adapted_count(maml, meta, episode)

    (two, copy), (ten, _) = estimate(inner_steps=2), estimate(inner_steps=10)
    assert ten - two == 8 * copy
    assert estimate(inner_steps=10, kept_steps=3)[0] > ten
    assert estimate(inner_steps=2, first_order=True) == estimate(inner_steps=10, first_order=True)
    maml, meta = make_maml(learn_rates=False)
    count = sum(value.numel() for value in meta.values())
    assert resident_bytes(maml, meta) == 4 * 5 * count


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
@pytest.mark.parametrize(("first_order", "kept"), [(0, 1), (0, 4), (1, 1)])
def test_the_estimate_is_near_what_a_process_takes(first_order, kept):
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(first_order), str(kept), Path(__file__).parent],
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
