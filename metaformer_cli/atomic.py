"""Files and folders that are either whole or not there."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a file that takes the place of `path` once it is whole and on the disk.

    Whatever goes wrong inside, `path` stays as it was and nothing is left beside it, but for what
    a kill at the wrong instant leaves: a hidden `.tmp` file. Behind it, a power cut cannot bring
    back what was there before.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with aside.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
        sync_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Makes a folder that takes the place of `path` once all in it is written and on the disk.

    Whatever goes wrong inside, `path` stays as it was and nothing is left beside it, but for what
    a kill at the wrong instant leaves: a hidden `.tmp` folder.
    """
    mark = secrets.token_hex(4)
    aside, before = (path.with_name(f".{path.name}.{mark}.{word}.tmp") for word in ("new", "old"))
    try:
        aside.mkdir()
        yield aside
        sync_all(aside)
        if path.exists():  # a folder that is not empty cannot be replaced at once
            path.rename(before)
        aside.rename(path)
        sync_folder(path.parent)
    finally:
        if before.exists() and not path.exists():
            before.rename(path)
        for left in (aside, before):
            shutil.rmtree(left, ignore_errors=True)


def sync_all(folder: Path) -> None:
    """Bring a folder and all that is in it to the disk."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where its file system can."""
    with suppress(OSError):  # some network file systems cannot, and have nothing to bring
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def no_empty_folder_left(folder: Path) -> Iterator[None]:
    """At the end, a folder that was not there before, and those around it, are gone if empty."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    finally:
        for place in new:
            with suppress(OSError):  # it was not made, or holds something
                place.rmdir()
