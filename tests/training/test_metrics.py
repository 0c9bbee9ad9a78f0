"""metrics.jsonl and TensorBoard events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from metaformer_cli.tasks.classification import CLASSIFICATION
from metaformer_cli.training.metrics import Metrics, NoMetrics, cut_after, training_seconds


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def events(folder: Path) -> dict[tuple[str, int], float]:
    found = EventAccumulator(str(folder)).Reload()
    return {
        (tag, event.step): event.value
        for tag in found.Tags()["scalars"]
        for event in found.Scalars(tag)
    }


def as_events(written: list[dict[str, float]]) -> dict[tuple[str, int], Any]:
    return {
        (name, int(line["step"])): pytest.approx(value)
        for line in written
        for name, value in line.items()
        if name != "step"
    }


def metrics(folder: Path, step: int) -> Metrics:
    return Metrics(folder, CLASSIFICATION.lead, step=step, steps=9, meta_batch=2)


def test_both_records_hold_the_same_figures(tmp_path):
    with metrics(tmp_path, 0) as first:
        first.write(1, {"loss": 1.5, "lr": 0.1})
        first.write(2, {"loss": 1.25, "lr": 0.2})
        first.write(2, {"valid_accuracy": 0.5})
    assert lines(tmp_path) == [
        {"step": 1, "loss": 1.5, "lr": 0.1},
        {"step": 2, "loss": 1.25, "lr": 0.2},
        {"step": 2, "valid_accuracy": 0.5},
    ]
    assert events(tmp_path) == as_events(lines(tmp_path))


def test_a_resumed_run_has_every_step_once_in_both_records(tmp_path):
    with metrics(tmp_path, 0) as first:
        for step in range(1, 6):
            first.write(step, {"loss": 1 / step})
    with metrics(tmp_path, 3) as second:
        for step in range(4, 7):
            second.write(step, {"loss": 100.0 + step})
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert lines(tmp_path)[3] == {"step": 4, "loss": 104.0}
    assert events(tmp_path) == as_events(lines(tmp_path))


def test_a_line_is_there_as_soon_as_it_is_written(tmp_path):
    with metrics(tmp_path, 0) as writer:
        writer.write(1, {"loss": 1.0})
        assert lines(tmp_path) == [{"step": 1, "loss": 1.0}]


@pytest.mark.parametrize(
    "tail",
    [b'{"step": 2, "lo', b"\0\0\0\0\n", b'{"step": 3}\n', b'"step"\n', b'{"loss": 1}\n', b""],
)
def test_later_lines_and_unfinished_ones_are_cut(tmp_path, tail):
    path = tmp_path / "metrics.jsonl"
    whole = b'{"step": 1, "loss": 1.0}\n{"step": 2, "loss": 2.0}\n'
    path.write_bytes(whole + tail)
    cut_after(path, 2)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_the_ranks_after_the_first_write_and_say_nothing(capfd):
    with NoMetrics() as writer:
        writer.write(1, {"loss": 1.0})
        writer.advance([1.0], [0.5])
        writer.say("a line")
    assert capfd.readouterr() == ("", "")


def test_nothing_to_cut_makes_no_file(tmp_path):
    cut_after(tmp_path / "metrics.jsonl", 2)
    assert not list(tmp_path.iterdir())


def test_without_a_terminal_there_is_no_bar(tmp_path, capfd):
    with metrics(tmp_path, 0) as writer:
        writer.advance([1.0, 2.0], [0.5, 0.5])
        writer.say("a line")
    assert capfd.readouterr() == ("a line\n", "")


def test_the_time_of_training_is_what_the_logged_speeds_say(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert training_seconds(path, 4) is None
    lines = ['{"step": 0, "valid_accuracy": 0.5}', '{"step": 10, "episodes_per_second": 8.0}']
    path.write_text("\n".join(lines[:1]) + "\n")
    assert training_seconds(path, 4) is None, "nothing was logged yet"
    lines += ['{"step": 10, "valid_accuracy": 0.5}', '{"step": 30, "episodes_per_second": 4.0}']
    path.write_text("\n".join([*lines, '{"step": 40, "episodes_per']))
    assert training_seconds(path, 4) == pytest.approx(10 * 4 / 8 + 20 * 4 / 4)
