"""What TensorBoard is told."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from metaformer_cli.training.events import Events


def told(folder, name: str) -> list[tuple[int, float]]:
    read = EventAccumulator(str(folder))
    read.Reload()
    return [(event.step, event.value) for event in read.Scalars(name)]


def test_tensorboard_reads_each_figure_as_soon_as_it_is_written(tmp_path):
    with closing(Events(tmp_path, purge_step=1)) as events:
        events.add_scalar("loss", 0.5, 1)
        events.add_scalar("loss", float("inf"), 2)
        assert told(tmp_path, "loss") == [(1, 0.5), (2, float("inf"))]


def test_what_a_killed_run_wrote_after_its_checkpoint_is_forgotten(tmp_path):
    for first, value in ((1, 0.5), (3, 0.25)):
        with closing(Events(tmp_path, purge_step=first)) as events:
            for step in range(first, 5):
                events.add_scalar("loss", value, step)
    assert told(tmp_path, "loss") == [(1, 0.5), (2, 0.5), (3, 0.25), (4, 0.25)]


def test_in_any_century(tmp_path, monkeypatch):
    for year in (1970, 2300):
        seconds = (year - 1970) * 365.2425 * 86400
        monkeypatch.setattr(time, "time", lambda seconds=seconds: seconds)
        with closing(Events(tmp_path, purge_step=year)) as events:
            events.add_scalar("loss", 0.5, year)
    assert told(tmp_path, "loss") == [(1970, 0.5), (2300, 0.5)]


def test_a_disk_that_is_full_is_an_error_of_the_run_itself(tmp_path, monkeypatch):
    threads = threading.active_count()
    events = Events(tmp_path, purge_step=1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(events._records, "write", full)
    with closing(events), pytest.raises(OSError, match="No space left"):
        events.add_scalar("loss", 0.5, 1)
    assert threading.active_count() <= threads, "and nobody else is left to say it again"
