"""CSV and TSV: the rows of a text, with the line of each; none is lost without being counted.

A text comes in pieces, and no more of it is held than the row that is being read.

A row of CSV is read by RFC 4180. In TSV quotes may be that, or characters like any other: programs
write both, and to read the second as the first merges rows. So both are tried there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest

from metaformer_cli.data.problems import NAMED, Problems, counted, few

DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon"}

_QUOTED = re.compile(r'"([^"]*+(?:""[^"]*+)*+)"')
_FIRST_LINE = re.compile(r'(?:[^"\r\n]++|"[^"]*+")*+')
_NEEDS_QUOTES = re.compile(r'["\r\n,;\t]|^\s|\s$|^$')


@dataclass(slots=True)
class Row:
    """One row of a table.

    Attributes:
        cells: its fields, without quotes that are none of the text.
        line: where it starts, from 1.
        lines: how many it takes.
        fault: why it is no row, in words.
        quoted: whether a field is in quotes.
        needless: whether one is that needs none.
        stray: whether one has a quote that is not in quotes.
        merges: whether it has taken several lines that would each be a row without quotes.
    """

    cells: list[str]
    line: int
    lines: int = 1
    fault: str = ""
    quoted: bool = False
    needless: bool = False
    stray: bool = False
    merges: bool = False


def table(
    pieces: Callable[[], Iterable[str]], path: str, delimiter: str, found: Problems
) -> Iterator[Row]:
    """The rows of a table, the header first; what is malformed or too short or long is left out.

    A row may have more fields than the header if they are empty, as spreadsheets write them, and
    lack those that the header does not name. Empty lines are no rows.

    Args:
        pieces: gives the text of the file, piece by piece, as often as it is asked.
        path: its name, for messages.
        delimiter: one of `DELIMITERS`.
        found: takes the rows that are left out; and how quotes were read, where there is a doubt:
            all of it is there when the last row is read.

    Raises:
        ValueError: the header is malformed.
    """
    # A program that puts the header in quotes puts all texts in quotes.
    doubtful = (
        delimiter == "\t"
        and any('"' in piece for piece in pieces())
        and not next(split(pieces(), delimiter, quotes=True)).quoted
    )
    plain = doubtful and _plain(pieces, path, delimiter, found)
    rows = split(pieces(), delimiter, quotes=not plain)
    header = next(rows)
    if header.fault:
        raise ValueError(f"{path}:{header.line}: the header cannot be read: {header.fault}")
    merged: list[str] = []
    merges = quoted = 0
    for row in chain((header,), rows):
        quoted += row.quoted
        if row.merges:
            merges += 1
            if merges <= NAMED:
                merged.append(f"{row.line} to {row.line + row.lines - 1}")
        source = f"{path}:{row.line}"
        if row.fault:
            found.add("malformed row", source, rows=row.lines, details=row.fault)
        elif not fits(row, header):
            details = (
                f"{counted(len(row.cells), 'field')}, but the header names {len(header.cells)}; "
                f'put a text that holds a {DELIMITERS[delimiter]} in "quotes"'
            )
            found.add("wrong number of fields", source, details=details)
        elif row is not header and len(header.cells) > 1 and _is_header(row, header):
            found.add("header repeated", source)
        else:
            yield row
    if merges:
        found.note(
            f"{path}: {counted(merges, 'row')} in quotes over several lines that might each "
            f"be a row, lines {few(merged, total=merges)}; if they are, a quote was left open"
        )
    if doubtful and quoted:
        found.note(f"{path}: {counted(quoted, 'row')} with quotes around fields, read without them")


def _plain(pieces: Callable[[], Iterable[str]], path: str, delimiter: str, found: Problems) -> bool:
    """Whether quotes are characters of the texts: then fewer rows speak against that reading."""
    headers = [next(split(pieces(), delimiter, quotes=quotes)) for quotes in (True, False)]
    faults, counts, same = [0, 0], [0, 0], True
    readings = (split(pieces(), delimiter, quotes=quotes) for quotes in (True, False))
    for rows in zip_longest(*readings):
        same = same and None not in rows and rows[0].cells == rows[1].cells
        for which, row in enumerate(rows):
            if row is not None:
                counts[which] += 1
                faults[which] += _speaks_against(row, headers[which]) + row.merges
    if faults[1] >= faults[0]:
        return False
    if not same:
        found.note(
            f"{path}: quotes are read as characters of the texts, {counts[1] - 1:,} rows; "
            f"read as quotes around texts, they would make {counts[0] - 1:,} of them"
        )
    return True


def fits(row: Row, header: Row) -> bool:
    """Whether a row has the header's fields, but for empty ones."""
    width = len(header.cells)
    return len(row.cells) == width or not any(
        map(str.strip, row.cells[width:] + header.cells[len(row.cells) :])
    )


def split(pieces: Iterable[str], delimiter: str, *, quotes: bool) -> Iterator[Row]:
    """Splits a text into rows and fields.

    Lines end as the first one does: at CR, or at LF and CRLF. After a malformed row reading goes on
    at the next line, if the lines that it swallowed look like rows, and else behind them.

    Args:
        pieces: of the text of the whole file.
        delimiter: between fields.
        quotes: whether a field may stand in quotes; else a quote is a character.
    """
    source, text, more = iter(pieces), "", True
    end: str | None = None
    while end is None:
        text, more = _longer(text, source)
        end = _line_end(text, whole=not more)
    place, number, width, suspect = 0, 1, 0, -1
    first: int | None = None  # fields of the first row
    while more or place < len(text):
        row, stop, failed = None, _find(text, end, place), 0
        past = stop  # where the row ends
        line = text[place:stop].removesuffix("\r")
        if delimiter in line or (line if width == 1 else line.strip()):
            row = Row(line.split(delimiter), number)
            if quotes and '"' in line:
                row, past, failed = _quoted_row(text, delimiter, end, place, number)
            if row.fault:
                between = text[stop + 1 : failed].split(end)[:-1]
                like_rows = sum(line.count(delimiter) == width - 1 for line in between)
                past = _find(text, end, failed) if 2 * like_rows < len(between) else stop
        if max(past, failed) >= len(text) and more:  # what follows may be a part of it
            text, more = _longer(text[place:], source)
            place, suspect = 0, suspect - place
            continue
        if row:
            width = width or len(row.cells)
            first = len(row.cells) if first is None else first
            if row.fault:
                suspect = failed
            elif place <= suspect < past and row.stray:
                row.fault = "malformed CSV: the end of a row that is malformed"
            row.lines += text.count(end, stop, past)
            row.merges = (
                row.lines > 1 and not row.fault and _like_rows(text[place:past], first, delimiter)
            )
            yield row
        number += text.count(end, place, past + 1)
        place = past + 1


def _longer(text: str, source: Iterator[str]) -> tuple[str, bool]:
    """A text with more behind it than it was long, and whether there may be more."""
    parts, size = [text], 0
    for piece in source:
        parts.append(piece)
        size += len(piece)
        if size > len(text):
            return "".join(parts), True
    return "".join(parts), False


def _quoted_row(text: str, delimiter: str, end: str, start: int, line: int) -> tuple[Row, int, int]:
    """A row some of whose fields may be in quotes, where it ends, and the place where it fails."""
    cells: list[str] = []
    place, stop = start, _find(text, end, start)
    quoted = needless = stray = False
    while True:
        if text.startswith('"', place):
            match = _QUOTED.match(text, place)
            if match is None:
                fault = "malformed CSV: a quote is left open, or not doubled"
                return Row([], line, fault=fault, quoted=True), stop, len(text)
            cell, place = match[1].replace('""', '"'), match.end()
            quoted = True
            needless |= not _NEEDS_QUOTES.search(cell)
            stop = _find(text, end, place)
            if text.startswith("\r", place) and place + 1 == stop:
                place = stop
            if place != stop and not text.startswith(delimiter, place):
                fault = "malformed CSV: text after a closing quote; is a quote not doubled?"
                return Row([], line, fault=fault, quoted=True), stop, place
        else:
            past = text.find(delimiter, place, stop)
            cell = text[place : stop if past < 0 else past]
            if past < 0:
                cell = cell.removesuffix("\r")
            place = stop if past < 0 else past
            stray |= '"' in cell
        cells.append(cell)
        if place == stop:
            return Row(cells, line, quoted=quoted, needless=needless, stray=stray), stop, 0
        place += 1


def _is_header(row: Row, header: Row) -> bool:
    """Whether a row is the header again, of a file that was appended, mark and all."""
    return row.cells[1:] == header.cells[1:] and row.cells[0].lstrip("\ufeff") == header.cells[0]


def _speaks_against(row: Row, header: Row) -> bool:
    """Whether a row speaks against a reading, as faulty or as no program would write it."""
    return bool(row.fault) or row.needless or row.stray or not fits(row, header)


def _like_rows(text: str, width: int, delimiter: str) -> bool:
    """Whether each line of a text would be a row of so many fields, and several, without quotes."""
    lines = re.split(r"\r\n|\r|\n", text)
    return width > 1 and all(line.count(delimiter) == width - 1 for line in lines)


def _line_end(text: str, *, whole: bool) -> str | None:
    """What ends the first line that is not within quotes: CR, or else LF.

    None: this begin of a text does not say.
    """
    match = _FIRST_LINE.match(text)
    after = text[match.end() : match.end() + 2] if match else ""
    if not whole and (after in ("", "\r") or after.startswith('"')):
        return None
    return "\r" if after.startswith("\r") and after != "\r\n" else "\n"


def _find(text: str, end: str, place: int) -> int:
    """Where the line at `place` ends."""
    found = text.find(end, place)
    return len(text) if found < 0 else found
