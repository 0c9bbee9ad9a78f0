"""metrics.jsonl and TensorBoard events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from metaformer_cli.tasks.classification import CLASSIFICATION
from metaformer_cli.training.checkpoint import Progress
from metaformer_cli.training.metrics import Metrics, NoMetrics, training_seconds, write_anew


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


def metrics(folder: Path, step: int, figures: Sequence[Mapping[str, float]] = ()) -> Metrics:
    begin = Progress(step, figures=[dict(own) for own in figures])
    return Metrics(folder, CLASSIFICATION.lead, begin, steps=9, meta_batch=2)


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
    with metrics(tmp_path, 3, lines(tmp_path)[:3]) as second:
        for step in range(4, 7):
            second.write(step, {"loss": 100.0 + step})
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert lines(tmp_path)[3] == {"step": 4, "loss": 104.0}
    assert events(tmp_path) == as_events(lines(tmp_path))


def test_a_line_is_there_as_soon_as_it_is_written(tmp_path):
    with metrics(tmp_path, 0) as writer:
        writer.write(1, {"loss": 1.0})
        assert lines(tmp_path) == [{"step": 1, "loss": 1.0}]


FIGURES: list[dict[str, float]] = [
    {"step": 0, "valid_accuracy": 0.1 + 0.2},
    {"step": 1, "loss": float("inf")},
    {"step": 2, "loss": 1e-300, "lr": 3e-05},
]


def written(folder: Path) -> bytes:
    """What a run writes that logs FIGURES."""
    with metrics(folder, 0) as writer:
        for own in FIGURES:
            figures = {name: value for name, value in own.items() if name != "step"}
            writer.write(int(own["step"]), figures)
    return (folder / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize(
    "tail", [b'{"step": 2, "lo', b"\0\0\0\0\n", b'{"step": 3}\n', b'"step"\n', b""]
)
def test_later_lines_and_unfinished_ones_are_cut(tmp_path, tail, capsys):
    whole = written(tmp_path)
    (tmp_path / "metrics.jsonl").write_bytes(whole + tail)
    with metrics(tmp_path, 2, FIGURES):
        assert (tmp_path / "metrics.jsonl").read_bytes() == whole
    assert capsys.readouterr().out == "", "nothing was lost"


@settings(max_examples=25)
@given(start=st.integers(0, 999), size=st.integers(1, 999), cut=st.booleans())
def test_whatever_happens_to_the_lines_they_are_restored_and_that_is_said(
    tmp_path_factory, start, size, cut
):
    path = tmp_path_factory.mktemp("damaged") / "metrics.jsonl"
    assert write_anew(path, FIGURES) == len(FIGURES), "all of them were missing"
    whole = path.read_bytes()
    start %= len(whole)
    end = len(whole) if cut else min(start + size, len(whole))
    path.write_bytes(whole[:start] + bytes(0 if cut else end - start) + whole[end:])
    left = path.read_bytes().splitlines(keepends=True)
    harmed = [line for line in whole.splitlines(keepends=True) if line not in left]
    assert write_anew(path, FIGURES) == len(harmed) > 0
    assert path.read_bytes() == whole
    assert list(path.parent.iterdir()) == [path]


def test_how_many_lines_are_restored_is_said(tmp_path, capsys):
    path, whole = tmp_path / "metrics.jsonl", written(tmp_path)
    path.write_bytes(b"")
    with metrics(tmp_path, 2, FIGURES):
        pass
    assert f"{path}: 3 of 3 lines were not there, or damaged" in capsys.readouterr().out
    assert path.read_bytes() == whole


def test_the_ranks_after_the_first_write_and_say_nothing(capfd):
    with NoMetrics() as writer:
        writer.write(1, {"loss": 1.0})
        writer.advance([1.0], [0.5])
        writer.say("a line")
    assert capfd.readouterr() == ("", "")


def test_without_a_terminal_there_is_no_bar(tmp_path, capfd):
    with metrics(tmp_path, 0) as writer:
        writer.advance([1.0, 2.0], [0.5, 0.5])
        writer.say("a line")
    assert capfd.readouterr() == ("a line\n", "")


def test_the_time_of_training_is_what_the_logged_speeds_say():
    assert training_seconds([], 4) is None
    figures = [{"step": 0, "valid_accuracy": 0.5}, {"step": 10, "episodes_per_second": 8.0}]
    assert training_seconds(figures[:1], 4) is None, "nothing was logged yet"
    figures += [{"step": 10, "valid_accuracy": 0.5}, {"step": 30, "episodes_per_second": 4.0}]
    assert training_seconds(figures, 4) == pytest.approx(10 * 4 / 8 + 20 * 4 / 4)
