"""The whole report of a real run, and its tables."""

from __future__ import annotations

import json

import pytest

from metaformer_cli.benchmark.contest import Measured
from metaformer_cli.benchmark.report import memory_table, speed_table

TINY = [
    *("model.width=8", "model.layers=1", "model.heads=1", "model.lexical_width=0"),
    *("model.dropout=0", "task.vocab_size=300", "task.ways=2", "task.shots=1", "task.queries=1"),
    *("learner.inner_steps=1", "bench.rounds=1", "bench.episodes=2", "bench.steps=2"),
]
MODES = {
    "functional, 2 processes": Measured(
        seconds=[0.5, 0.4, 1.0],
        episodes_per_second=[1600.0, 2000.0, 800.0],
        memory_bytes=12_345_000_000,
        error=3.4e-7,
        products_share=0.256,
        memory_by_steps={2: 12_345_000_000, 20: None},
    ),
    "learn2learn": Measured([1.0], [40.0], 1_000_000, 1e-6, 0.05, {2: 1_000_000, 20: 2_500_000}),
    "torchopt": Measured(failure="learner.engine=torchopt needs torchopt, which is not installed"),
}


def test_speeds_are_medians_with_their_range_and_multiples_of_the_baselines():
    head, ours, baseline, failed = speed_table(MODES, "learn2learn")
    assert head.split() == ["episodes/s", "(range)", "speed", "memory", "error", "share"]
    assert ours.removeprefix("functional, 2 processes").split() == [
        *("1,600", "(800-2,000)", "40.00x", "12,345", "MB", "3e-07", "26%")
    ]
    assert baseline.split()[1:4] == ["40.00", "(40.00-40.00)", "1.00x"]
    assert failed.split(maxsplit=1)[1].startswith("failed: learner.engine=torchopt needs")
    assert max(map(len, (head, ours, baseline, failed))) <= 80


def test_without_the_baseline_no_multiples_are_shown():
    (_, ours) = speed_table({"a": MODES["learn2learn"]}, "learn2learn")
    assert ours.split()[3] == "-"


def test_memory_by_steps_says_what_failed_and_what_is_stored():
    lines = memory_table(MODES, {2: 30_000, 20: 210_000})
    assert [line.split()[-2:] for line in lines] == [
        ["2", "20"],
        ["12,345.0", "failed"],
        ["1.0", "2.5"],
        ["0.0", "0.2"],
    ]
    assert max(map(len, lines)) <= 80


def test_a_report_has_every_mode_asked_for_in_a_table_in_json_and_in_a_plot(metaformer, tmp_path):
    pytest.importorskip("matplotlib", reason="the plot needs matplotlib")
    done = metaformer(
        "bench", *TINY, "bench.modes='functional, torchopt'", "run_dir=report", cwd=tmp_path
    )
    assert done.returncode == 0
    assert done.stderr.splitlines() == [  # off a terminal, in place of a bar
        "bench: the gradient in float64",
        "bench: first gradients of 2 modes, which compile what is compiled",
        "bench: round 1 of 1",
        "bench: memory",
        "bench: memory with 2 inner steps",
    ]
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.splitlines()[0] == ("maml, inner steps: 1, 2 episodes of builtin")
    report = json.loads((tmp_path / "report/bench.json").read_text())
    assert list(report["modes"]) == ["functional, 2 processes", "torchopt"]
    ours, torchopt = report["modes"].values()
    assert (ours["processes"], torchopt["padded"]) == (2, True)
    assert ours["failure"] is None
    assert ours["error"] < 1e-5
    assert len(ours["seconds"]) == 1
    assert ours["memory_by_steps"] == {}
    if torchopt["failure"] is None:
        assert torchopt["error"] < 1e-5
        assert torchopt["memory_by_steps"].keys() == {"2"}
    else:
        assert "needs torchopt" in torchopt["failure"]
    for name in report["modes"]:
        assert f"\n{name:24}" in done.stdout
    figures = report["reference"]
    assert 0 < figures["useful_flops_per_episode"] <= figures["executed_flops_per_episode"]
    stored = report["stored_bytes_by_steps"]
    assert stored == {"2": 4 * figures["adapted_parameters"] * 3}
    assert report["config"]["bench"]["episodes"] == 2
    assert report["versions"].keys() >= {"torch", "metaformer-cli"}
    assert (tmp_path / "report/bench.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "report").iterdir())) == 2
