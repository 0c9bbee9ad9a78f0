"""Sine waves as a task, and as a person's own points."""

from __future__ import annotations

import csv
import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.tasks.sinusoid import Sinusoid, mean_wave
from metaformer_cli.tasks.task import EpisodeSampler


@given(st.integers(0, 10**6))
def test_all_points_of_an_episode_lie_on_one_wave_of_the_papers_ranges(seed):
    drawn = Sinusoid(shots=6, queries=4).draw({}, random.Random(seed), training=True)
    assert (len(drawn.support), len(drawn.query)) == (6, 4)
    amplitude, phase = map(float, drawn.groups[0].replace(" sin(x -", "").rstrip(")").split())
    assert 0.1 <= amplitude <= 5
    assert 0 <= phase <= math.pi
    for x, y in (map(float, row) for row in (*drawn.support, *drawn.query)):
        assert -5 <= x <= 5
        assert y == pytest.approx(amplitude * math.sin(x - phase), abs=1e-6)


def test_trained_judged_resumed_and_asked_from_the_command_line(tmp_path, metaformer):
    small = ["task.shots=4", "task.queries=2", "model.width=8", "model.layers=1", "model.heads=2"]
    train = ["train.steps=2", "train.valid_episodes=2", "train.meta_batch=2", "run_dir=run"]
    done = metaformer("train", "task=sinusoid", *small, *train, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "data     generated\n" in done.stdout
    assert "squared_error" not in done.stdout
    again = metaformer("train", "run_dir=run", "resume=true", "train.steps=3", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    judged = metaformer("eval", "ckpt=run", "eval.episodes=3", cwd=tmp_path)
    assert judged.stdout.startswith("maml: "), judged.stderr
    assert "(4-shot, 3 test episodes of generated" in judged.stdout
    (tmp_path / "wave.csv").write_text("x,y\n0,0\n1,0.84\n2,0.91\n")
    (tmp_path / "ask.csv").write_text("x,note\n0.5,a\n1.5,b\n")
    files = ["support=wave.csv", "query=ask.csv", "out=out.csv"]
    asked = metaformer("predict", "ckpt=run", *files, cwd=tmp_path)
    assert asked.stdout == "2 rows given a value, adapted on 3 examples: out.csv\n", asked.stderr
    with (tmp_path / "out.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["note"] for row in rows] == ["a", "b"]
    assert all(math.isfinite(float(row["predicted"])) for row in rows)


def test_data_of_texts_is_refused_with_data_that_fits(tmp_path, metaformer):
    done = metaformer("train", "task=sinusoid", "data=builtin", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "metaformer: error: task=sinusoid is about points, and data=builtin holds text: "
        "expected data=generated, or task=fewshot_lm|fewshot_text"
    )


def test_the_mean_of_all_waves_is_what_many_waves_are_on_average():
    task = Sinusoid(queries=4)
    episode = EpisodeSampler(task, {}, name="test", seed=0).episode(0)
    x = episode.query.inputs["points"][:, 0].double()
    rng, total = random.Random(0), torch.zeros(4, dtype=torch.float64)
    for _ in range(20_000):
        words = task.function(rng)[0]
        amplitude, phase = map(float, words.replace(" sin(x -", "").rstrip(")").split())
        total += amplitude * torch.sin(x - phase)
    torch.testing.assert_close(mean_wave(episode).double(), total / 20_000, rtol=0, atol=0.06)
