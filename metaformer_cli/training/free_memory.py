"""How much memory there is to take."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# Of each version of control groups: where they lie, the limit, what is used, and, of that, the
# files that would be given up.
CGROUPS = {
    2: ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    1: (
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
}


def free_memory(device: str, root: Path = Path("/")) -> int | None:
    """How many bytes this process may take besides: on a GPU, those that are free there.

    Else, the least that the machine, the control groups that the process is in, such as a
    container's, and its own limit (`ulimit -v`) leave.

    Args:
        device: where tensors are.
        root: where the system's files are.

    Returns:
        None where nobody can say, as on a Mac.
    """
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    try:
        free = [_of_machine(root), *_of_groups(root), *_of_process(root)]
    except (OSError, ValueError, KeyError):
        return None
    return max(0, min(free))


def _of_machine(root: Path) -> int:
    """What the machine has left, files that it would give up and swap among it."""
    found = _figures(root / "proc/meminfo")
    return 1024 * (found["MemAvailable:"] + found["SwapFree:"])


def _of_groups(root: Path) -> Iterator[int]:
    """What each limited control group leaves, the process's own and those that hold it."""
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if number != "0" and "memory" not in controllers.split(","):
            continue
        base, limit, used, files = CGROUPS[2 if number == "0" else 1]
        inside = PurePosixPath(path.lstrip("/"))
        for group in (inside, *inside.parents):
            folder = root / base / group
            try:
                most = (folder / limit).read_text().strip()
                held = int((folder / used).read_text())
                cached = _figures(folder / "memory.stat").get(files, 0)
            except OSError:  # the first has none; a container sees its own as the first
                continue
            if most != "max":
                yield int(most) - held + cached


def _of_process(root: Path) -> Iterator[int]:
    """What the process's own limit leaves, if it has one."""
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        yield most - 1024 * _figures(root / "proc/self/status")["VmSize:"]


def _figures(file: Path) -> dict[str, int]:
    """The numbers of a file that has a name and a number on each line."""
    words = [line.split() for line in file.read_text().splitlines()]
    return {own[0]: int(own[1]) for own in words if len(own) > 1 and own[1].isdigit()}
