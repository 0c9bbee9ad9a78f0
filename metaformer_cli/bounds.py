"""What may be read from outside: files that are files, none too large, nothing nested too deep.

A pipe is waited for, a device has no end, and a file of gigabytes that are all holes fills the
memory before it is seen to hold nothing. Whatever opens a file that a person named, or that lies in
a folder which a person named, asks here first. What is nested hundreds of times overflows the stack
of whoever walks through it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

# Bytes. Python, YAML, JSON and lists of names: a tokenizer of 262,144 tokens takes 34 million.
SETTINGS: Final = 256_000_000
# What is held in memory whole, where it takes several times as many.
HELD: Final = 8_000_000_000
# Lists and mappings in each other; our own options nest three times.
DEEPEST: Final = 32

_KINDS: Final = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def regular(path: Path, at_most: int | None = None) -> Path:
    """The path, of what is a file and may be opened.

    Args:
        path: where it is; a link is followed.
        at_most: how many bytes such a file ever has; None: any number, as it is not read whole.

    Raises:
        ValueError: it is a pipe, a device or a socket; or it is too large.
        OSError: it is missing, or a folder.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no file")
        raise ValueError(f"{path} is {kind}: expected a file, which can be read again")
    if at_most is not None and status.st_size > at_most:
        raise ValueError(
            f"{path} holds {status.st_size / 1e9:,.1f} GB: expected at most {at_most / 1e9:g} GB "
            "of such a file; is it the right one?"
        )
    return path


def too_deep(value: object) -> bool:
    """Whether lists and mappings lie in each other more than `DEEPEST` times."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            member
            for node in level
            if isinstance(node, Mapping | list)
            for member in (node.values() if isinstance(node, Mapping) else node)
        ]
    return any(isinstance(node, Mapping | list) for node in level)
