"""Seals: hashes beside what is written, so that damage is seen when it is read back.

A disk may give back other bits than it was given, and a power cut zeros in place of them. A seal is
no signature: it shows what happened by chance, and not what somebody meant to do.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from metaformer_cli.bounds import SETTINGS, regular

SUMS: Final = "metaformer.sha256"  # lines of `sha256sum`, which checks them with -c
_LAST: Final = "# sha256 of all above: "


def sealed(text: str) -> str:
    """Lines of text, and one more with their hash: a comment in YAML and to `sha256sum`."""
    return f"{text}{_LAST}{sha256(text)}\n"


def unsealed(file: Path) -> str:
    """The text of a file that was written with its seal.

    Raises:
        ValueError: it is not what was written, or not all of it.
        OSError: it cannot be read.
    """
    text, _, found = regular(file, SETTINGS).read_bytes().decode(errors="replace").rpartition(_LAST)
    if found != f"{sha256(text)}\n":
        raise ValueError(f"{file} is damaged: it is not what was written, by its last line")
    return text


def seal_folder(folder: Path) -> None:
    """Write the hash of each file in a folder, for `check_folder`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{file_sha256(file)}  {file.relative_to(folder).as_posix()}\n" for file in files]
    (folder / SUMS).write_text(sealed("".join(lines)), "utf-8")


def check_folder(folder: Path) -> None:
    """Check that the files which a folder was sealed with are what they were.

    Raises:
        ValueError: one is not, or the seal itself.
    """
    for line in unsealed(folder / SUMS).splitlines():
        expected, _, name = line.partition("  ")
        if not (folder / name).is_file() or file_sha256(folder / name) != expected:
            raise ValueError(f"{folder / name} is damaged: it is not what was written, by {SUMS}")


def file_sha256(file: Path) -> str:
    """Of the bytes of a file, in hexadecimal digits."""
    with regular(file).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256(text: str) -> str:
    """Of a text in UTF-8, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()
