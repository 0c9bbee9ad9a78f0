"""Bytes to text: UTF-8 strictly, what a byte order mark says, or cp1252 where that is plausible."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BufferedIOBase
from pathlib import Path
from typing import TextIO

from metaformer_cli.bounds import HELD, regular
from metaformer_cli.data.problems import Problems

# The longer marks first: UTF-32's begins like UTF-16's.
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
CHUNK = 1 << 24  # bytes that are read at a time
FALLBACK = "cp1252"  # what Excel and older programs write in Western Europe and America
PIECE = 1 << 20  # bytes, or characters, of a large file at a time
MOST_BEYOND = 0.3  # of the characters that are not blank: Western languages have about a tenth
REMEDY = "save it as UTF-8, or name the encoding of a data set with data.encoding="

# What cp1252 makes of other encodings: several accented letters in a row (Cyrillic, Greek,
# Chinese), or a sign such as ¹ within a word (Central European); ’ and - may stand there.
_UNLIKELY = re.compile(r"[^\W\d_a-zA-Z]{3,}|(?<=[^\W\d_])[^\w\s\x00-\x7f’‘“”´·…\xad–—](?=[^\W\d_])")

_UTF_8 = re.compile(rb"[\xc3-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


def read_text(path: str | Path, found: Problems | None = None, encoding: str | None = None) -> str:
    """Reads a text file, without its byte order mark.

    Args:
        path: the file.
        found: is told which encoding was found; None: none is guessed.
        encoding: of the file; None: see `decoded`.

    Raises:
        ValueError: no such file, or no file, or bytes that are no text, with their line.
    """
    path = Path(path)
    with _opened(path, HELD) as stream:
        return decoded(read_bytes(stream, path, encoding), path, found, encoding)


@contextmanager
def _opened(path: Path, at_most: int | None = None) -> Iterator[BufferedIOBase]:
    """A file to read, of so many bytes, or one line of why not."""
    try:
        with regular(path, at_most).open("rb") as stream:
            yield stream
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder: expected a file") from None


@dataclass(frozen=True)
class TextFile:
    """A file of sound text that is never held as a whole; it can be read more than once.

    Attributes:
        path: of the file.
        encoding: as it was found.
        blank: whether there is nothing but white space in it.
    """

    path: Path
    encoding: str
    blank: bool

    def pieces(self) -> Iterator[str]:
        """All characters as they stand, `PIECE` at a time, without a byte order mark."""
        with self._text(newline="") as stream:
            while piece := stream.read(PIECE):
                yield piece

    def lines(self) -> Iterator[str]:
        r"""All lines, whether they end at LF, CRLF or CR; each ends at LF here."""
        with self._text(newline=None) as stream:
            yield from stream

    @contextmanager
    def _text(self, newline: str | None) -> Iterator[TextIO]:
        with self.path.open(encoding=self.encoding, newline=newline) as stream:
            if stream.read(1) != "\ufeff":
                stream.seek(0)
            yield stream


def text_file(
    path: str | Path, found: Problems | None = None, encoding: str | None = None
) -> TextFile:
    """Checks a text file a piece at a time: `read_text` for what may be large.

    Raises:
        ValueError: as `read_text`.
    """
    path = Path(path)
    with _opened(path) as stream:
        marked = _marked(stream.read(4))
    file = TextFile(path, (marked or "utf-8") if encoding is None else encoding, blank=True)
    blank, letters, lines = True, 0, 0
    try:
        for piece in file.pieces():
            _refuse_nul(piece, path, letters, lines)
            blank = blank and not piece.strip()
            letters += len(piece)
            lines += piece.count("\n")
    except LookupError:
        raise _unknown(encoding) from None
    except UnicodeError:  # says where, or which encoding it is
        blank = not read_text(path, found, encoding).strip()
        if encoding is None:
            return TextFile(path, FALLBACK, blank)
        # UTF-16 and UTF-32 without a mark: a whole text is taken to be in this machine's order
        order = {"little": "le", "big": "be"}[sys.byteorder]
        return TextFile(path, f"{codecs.lookup(encoding).name}-{order}", blank)
    _note_mark(marked, path, found, encoding)
    return replace(file, blank=blank)


def _marked(data: bytes | bytearray) -> str | None:
    """The encoding that a byte order mark says."""
    return next((name for mark, name in MARKS.items() if data.startswith(mark)), None)


def _note_mark(
    marked: str | None, path: Path, found: Problems | None, encoding: str | None
) -> None:
    if found and encoding is None and marked not in (None, "utf-8"):
        found.note(f"{path} is read as {marked}, as its byte order mark says")


def _refuse_nul(text: str, path: Path, letters: int = 0, lines: int = 0) -> None:
    """Refuse a part of a file, behind so many characters and lines, that no text can be."""
    if (nul := text.find("\0")) >= 0:
        raise ValueError(
            f"{path}:{lines + text.count(chr(10), 0, nul) + 1}: character {letters + nul} is NUL: "
            f"expected text, and this is a binary file or in another encoding; {REMEDY}"
        )


def read_bytes(stream: BufferedIOBase, path: Path, encoding: str | None = None) -> bytearray:
    """All of a stream; or what shows already that it is no text, which `decoded` then refuses.

    So holes, and binary files of gigabytes, take little time and memory.

    Args:
        stream: of what may be a text.
        path: of the file, for messages.
        encoding: of it; None: UTF-8, or as its byte order mark says.

    Raises:
        ValueError: there are more bytes than a text has that is held in memory.
    """
    data = bytearray(stream.read(CHUNK))
    plain = encoding is None and not data.startswith(tuple(MARKS))
    alien = bytes(1 if plain else 8)  # eight in a row are a NUL in UTF-16 and in UTF-32 too
    chunk = bytes(data)
    while chunk and alien not in chunk:
        if len(data) > HELD:
            raise ValueError(f"{path}: expected at most {HELD / 1e9:g} GB of text")
        data += (chunk := stream.read(CHUNK))
    return data


def decoded(
    data: bytes | bytearray,
    path: Path,
    found: Problems | None = None,
    encoding: str | None = None,
) -> str:
    """The text of a file's bytes, without its byte order mark.

    Args:
        data: the bytes.
        path: of the file, for messages.
        found: is told which encoding was found; None: none is guessed.
        encoding: as Python names it; None: what the byte order mark says, else UTF-8, else cp1252,
            if the text is plausible then.

    Raises:
        ValueError: they are no text in that encoding, or a NUL says that they are none at all.
    """
    marked = _marked(data)
    _note_mark(marked, path, found, encoding)
    name = (marked or "utf-8") if encoding is None else encoding
    try:
        text = data.decode(name).removeprefix("\ufeff")
    except LookupError:
        raise _unknown(encoding) from None
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        if found and encoding is None and marked is None and b"\0" not in data:
            return _guessed(data, start, path, found)
        raise ValueError(f"{_not(name, data, start, path)}: {REMEDY}") from None
    _refuse_nul(text, path)
    return text


def _unknown(encoding: str | None) -> ValueError:
    return ValueError(
        f"data.encoding={encoding}: Python knows no text in it; expected a name such as utf-8, "
        "cp1252, utf-16 or gb18030"
    )


def _guessed(data: bytes | bytearray, start: int, path: Path, found: Problems) -> str:
    """Text in cp1252, where the bytes are no UTF-8 from `start` on."""
    refusal = f"{_not('utf-8', data, start, path)}, nor plausible as {FALLBACK}: {REMEDY}"
    try:
        text = data.decode(FALLBACK)
    except UnicodeDecodeError:
        raise ValueError(refusal) from None
    beyond = re.findall(r"[^\x00-\x7f]", text)
    # A file in UTF-8 with a damaged place would be read as Ã© throughout.
    unlikely = sum(map(len, _UNLIKELY.findall(text))) + len(_UTF_8.findall(data))
    dense = len(beyond) > MOST_BEYOND * len(re.findall(r"\S", text))
    if dense or 10 * unlikely > len(beyond) or re.search(r"[\x00-\x08\x0e-\x1f]", text):
        raise ValueError(refusal)
    # One byte is one character, so that `start` is a place in the text too.
    line = text[text.rfind("\n", 0, start) + 1 :].splitlines()[0]
    column = start - text.rfind("\n", 0, start) - 1
    found.note(
        f"{path} is no UTF-8 and is read as {FALLBACK}: {len(beyond):,} characters beyond ASCII, "
        f"first in {line[max(0, column - 20) : column + 20]!r} on line {_line_at(data, start)}; "
        f"if that looks wrong, {REMEDY}"
    )
    return text


def _not(name: str, data: bytes | bytearray, start: int, path: Path) -> str:
    came = f"byte {start} ({data[start]:#04x})" if start < len(data) else "its end"
    return f"{path}:{_line_at(data, start)}: {came} is not {name.upper()}"


def _line_at(data: bytes | bytearray, position: int) -> int:
    return data.count(b"\n", 0, position) + 1
