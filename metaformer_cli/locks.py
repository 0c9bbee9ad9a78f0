"""One writer at a time: a second one is told who writes, or waits for its turn.

A lock is the system's own (`flock`, by filelock), on a hidden file beside or in what is written. So
it is seen wherever the folder is: from other containers, and over NFS, where Linux takes the
server's lock. The system frees it however its process ends; the file alone may be left then, and
locks nobody out. Where a file system has no locks, a warning says so, and nothing is locked.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from metaformer_cli.atomic import no_empty_folder_left

LOCK: Final = ".lock"  # in a folder that has one writer
AT_ITS_END: Final = 0.5  # seconds that a writer may take to be gone
WITHOUT_LOCKS: Final = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)

_LOG = logging.getLogger(__name__)


@contextmanager
def only_writer(folder: Path, *names: str) -> Iterator[None]:
    """Inside, no other process writes into a run's folder, which is made where there is none.

    At the end the lock's file is gone, and a folder that was made and is empty.

    Args:
        folder: may itself be a link to one.
        names: patterns of what will be written there. None of them may be a symbolic link, which
            would lead what is written to another place.

    Raises:
        ValueError: another process writes there, or one of `names` is a link.
        OSError: it cannot be written to.
    """
    refuse_links(folder, *names)
    with no_empty_folder_left(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / LOCK, f"run_dir={folder}"):
            yield


@contextmanager
def locked(file: Path, what: str, *, waits: bool = False) -> Iterator[None]:
    """Inside, this process holds the lock of a file that is for nothing else.

    Args:
        file: made for the lock, and gone at the end.
        what: is written, in words for the one who does not get the lock.
        waits: whether it waits until it gets it, and says so; else it is refused.

    Raises:
        ValueError: another process holds it.
        OSError: the file cannot be made, or is a link.
    """
    lock = FileLock(file, poll_interval=0.1, on_acquired=_sign)
    with ExitStack() as stack:
        try:
            try:
                lock.acquire(timeout=AT_ITS_END)
            except Timeout:
                if not waits:
                    raise ValueError(
                        f"{what}: another process{_holder(file)} is writing there: wait until it "
                        "has ended, or give another folder"
                    ) from None
                _LOG.warning("waiting  for another process%s: %s", _holder(file), what)
                lock.acquire()
            stack.callback(lock.release)
            stack.callback(file.unlink, missing_ok=True)  # while nobody else can have it
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            _LOG.warning(
                "warning: %s: this file system has no locks (%s): start no other process that "
                "writes there",
                *(what, error.strerror),
            )
            file.unlink(missing_ok=True)
        yield


def refuse_links(folder: Path, *names: str) -> None:
    """Check that nothing which will be written in `folder` is a symbolic link.

    Args:
        folder: may itself be one.
        names: patterns, such as `checkpoints/*`.

    Raises:
        ValueError: something is.
    """
    for name in names:
        for path in (folder / name, *folder.glob(name)):  # which passes over a link to nothing
            if path.is_symlink():
                raise ValueError(
                    f"{path} is a symbolic link to {path.readlink()}: metaformer writes in "
                    f"{folder}, and to no other place: put what it leads to in its place, or take "
                    "it away"
                )


def _sign(descriptor: int) -> None:
    """Write into the lock's file who holds it."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)


def _holder(file: Path) -> str:
    """Who holds the lock, where it can be told."""
    try:
        with file.open("rb") as stream:
            signed = re.match(rb"(\d{1,10}) ([\w.-]{1,100})\n", stream.read(200))
    except OSError:
        return ""
    return f" (process {int(signed[1])} on {signed[2].decode()})" if signed else ""
