"""How much memory is free, of files that say it as Linux does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metaformer_cli.training.free_memory import free_memory

MEMINFO = "MemTotal: 9000 kB\nMemAvailable: 4000 kB\nSwapFree: 1000 kB\n"


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[str, dict[str, str]], Path]:
    """`machine(CGROUP, {FILE: TEXT})`: the folder of a machine with 5000 kB free."""

    def write(cgroup: str, files: dict[str, str]) -> Path:
        for name, text in {"proc/meminfo": MEMINFO, "proc/self/cgroup": cgroup, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_without_limits_what_the_machine_has_is_free(machine):
    assert free_memory("cpu", machine("0::/user\n", {})) == 5000 * 1024


def test_the_tightest_of_all_groups_that_hold_the_process_counts(machine):
    root = machine(
        "0::/outer/inner\n",
        {
            "sys/fs/cgroup/outer/inner/memory.max": "max\n",
            "sys/fs/cgroup/outer/inner/memory.current": "10\n",
            "sys/fs/cgroup/outer/inner/memory.stat": "inactive_file 5\n",
            "sys/fs/cgroup/outer/memory.max": "3000\n",
            "sys/fs/cgroup/outer/memory.current": "1000\n",
            "sys/fs/cgroup/outer/memory.stat": "anon 1\ninactive_file 200\n",
        },
    )
    assert free_memory("cpu", root) == 3000 - 1000 + 200


def test_a_group_of_the_first_version_counts_and_a_container_sees_its_own_as_the_root(machine):
    root = machine(
        "7:cpu:/x\n5:memory:/docker/abc\n",
        {
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "2500\n",
            "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 100\n",
        },
    )
    assert free_memory("cpu", root) == 0


def test_the_limit_of_the_process_itself_counts(machine, monkeypatch):
    root = machine("0::/\n", {"proc/self/status": "VmSize:  100 kB\n"})
    monkeypatch.setattr("resource.getrlimit", lambda _: (300 * 1024, 300 * 1024))
    assert free_memory("cpu", root) == 200 * 1024


def test_where_nobody_can_say_it_says_nothing(tmp_path):
    assert free_memory("cpu", tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_this_machine_can_say():
    found = free_memory("cpu")
    assert found is not None
    assert found > 1_000_000
