"""CSV and TSV: the rows of a text, with the line of each; none is lost without being counted.

A row of CSV is read by RFC 4180. In TSV quotes may be that, or characters like any other: programs
write both, and to read the second as the first merges rows. So both are tried there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from metaformer_cli.data.problems import Problems, counted, few

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
        start: likewise, a place in the text.
        stop: the place where it ends.
        fault: why it is no row, in words.
        quoted: whether a field is in quotes.
        needless: whether one is that needs none.
        stray: whether one has a quote that is not in quotes.
    """

    cells: list[str]
    line: int
    start: int
    stop: int
    lines: int = 1
    fault: str = ""
    quoted: bool = False
    needless: bool = False
    stray: bool = False


def table(text: str, path: str, delimiter: str, found: Problems) -> list[Row]:
    """The rows of a table, the header first; what is malformed or too short or long is left out.

    A row may have more fields than the header if they are empty, as spreadsheets write them, and
    lack those that the header does not name. Empty lines are no rows.

    Args:
        text: of the whole file.
        path: its name, for messages.
        delimiter: one of `DELIMITERS`.
        found: takes the rows that are left out; and how quotes were read, where there is a doubt.

    Raises:
        ValueError: the header is malformed.
    """
    rows = list(split(text, delimiter, quotes=True))
    merged = [row for row in rows if _merges(text, row, rows[0], delimiter)]
    two_ways = delimiter == "\t" and '"' in text
    plain = list(split(text, delimiter, quotes=False)) if two_ways else []
    # A program that puts the header in quotes puts all texts in quotes.
    doubtful = bool(plain) and not rows[0].quoted
    if doubtful and _faults(plain) < _faults(rows) + len(merged):
        if [row.cells for row in plain] != [row.cells for row in rows]:
            found.note(
                f"{path}: quotes are read as characters of the texts, {len(plain) - 1:,} rows; "
                f"read as quotes around texts, they would make {len(rows) - 1:,} of them"
            )
        rows, merged, doubtful = plain, [], False
    if merged:
        places = [f"{row.line} to {row.line + row.lines - 1}" for row in merged]
        found.note(
            f"{path}: {counted(len(merged), 'row')} in quotes over several lines that might each "
            f"be a row, lines {few(places)}; if they are, a quote was left open"
        )
    if doubtful and (quoted := sum(row.quoted for row in rows)):
        found.note(f"{path}: {counted(quoted, 'row')} with quotes around fields, read without them")
    header, *others = rows
    if header.fault:
        raise ValueError(f"{path}:{header.line}: the header cannot be read: {header.fault}")
    sound = [header]
    for row in others:
        source = f"{path}:{row.line}"
        if row.fault:
            found.add("malformed row", source, rows=row.lines, details=row.fault)
        elif not fits(row, header):
            details = (
                f"{counted(len(row.cells), 'field')}, but the header names {len(header.cells)}; "
                f'put a text that holds a {DELIMITERS[delimiter]} in "quotes"'
            )
            found.add("wrong number of fields", source, details=details)
        elif len(header.cells) > 1 and _is_header(row, header):
            found.add("header repeated", source)
        else:
            sound.append(row)
    return sound


def fits(row: Row, header: Row) -> bool:
    """Whether a row has the header's fields, but for empty ones."""
    width = len(header.cells)
    return len(row.cells) == width or not any(
        map(str.strip, row.cells[width:] + header.cells[len(row.cells) :])
    )


def split(text: str, delimiter: str, *, quotes: bool) -> Iterator[Row]:
    """Splits a text into rows and fields.

    Lines end as the first one does: at CR, or at LF and CRLF. After a malformed row reading goes on
    at the next line, if the lines that it swallowed look like rows, and else behind them.

    Args:
        text: of the whole file.
        delimiter: between fields.
        quotes: whether a field may stand in quotes; else a quote is a character.
    """
    end = _line_end(text)
    place, number, width, suspect = 0, 1, 0, -1
    while place < len(text):
        stop = _find(text, end, place)
        line = text[place:stop].removesuffix("\r")
        if delimiter in line or (line if width == 1 else line.strip()):
            if quotes and '"' in line:
                row, failed = _quoted_row(text, delimiter, end, place, number)
            else:
                row, failed = Row(line.split(delimiter), number, place, stop), 0
            width = width or len(row.cells)
            if row.fault:
                between = text[stop + 1 : failed].split(end)[:-1]
                like_rows = sum(line.count(delimiter) == width - 1 for line in between)
                past, suspect = stop, failed
                if 2 * like_rows < len(between):
                    past = _find(text, end, failed)
                row.stop = past
            elif row.start <= suspect < row.stop and row.stray:
                row.fault = "malformed CSV: the end of a row that is malformed"
            row.lines += text.count(end, stop, row.stop)
            stop = row.stop
            yield row
        number += text.count(end, place, stop + 1)
        place = stop + 1


def _quoted_row(text: str, delimiter: str, end: str, start: int, line: int) -> tuple[Row, int]:
    """A row some of whose fields may be in quotes, from `start`; and the place where it fails."""
    cells: list[str] = []
    place, stop = start, _find(text, end, start)
    quoted = needless = stray = False
    while True:
        if text.startswith('"', place):
            match = _QUOTED.match(text, place)
            if match is None:
                fault = "malformed CSV: a quote is left open, or not doubled"
                return Row([], line, start, stop, fault=fault, quoted=True), len(text)
            cell, place = match[1].replace('""', '"'), match.end()
            quoted = True
            needless |= not _NEEDS_QUOTES.search(cell)
            stop = _find(text, end, place)
            if text.startswith("\r", place) and place + 1 == stop:
                place = stop
            if place != stop and not text.startswith(delimiter, place):
                fault = "malformed CSV: text after a closing quote; is a quote not doubled?"
                return Row([], line, start, stop, fault=fault, quoted=True), place
        else:
            past = text.find(delimiter, place, stop)
            cell = text[place : stop if past < 0 else past]
            if past < 0:
                cell = cell.removesuffix("\r")
            place = stop if past < 0 else past
            stray |= '"' in cell
        cells.append(cell)
        if place == stop:
            row = Row(cells, line, start, stop, quoted=quoted, needless=needless, stray=stray)
            return row, 0
        place += 1


def _is_header(row: Row, header: Row) -> bool:
    """Whether a row is the header again, of a file that was appended, mark and all."""
    return row.cells[1:] == header.cells[1:] and row.cells[0].lstrip("\ufeff") == header.cells[0]


def _faults(rows: Sequence[Row]) -> int:
    """How many rows speak against a reading, as faulty or as no program would write them."""
    return sum(
        bool(row.fault) or row.needless or row.stray or not fits(row, rows[0]) for row in rows
    )


def _merges(text: str, row: Row, header: Row, delimiter: str) -> bool:
    """Whether a row has taken several lines that would each be a row without quotes."""
    width = len(header.cells)
    return (
        row.lines > 1
        and width > 1
        and not row.fault
        and all(
            line.count(delimiter) == width - 1
            for line in re.split(r"\r\n|\r|\n", text[row.start : row.stop])
        )
    )


def _line_end(text: str) -> str:
    """What ends the first line that is not within quotes: CR, or else LF."""
    match = _FIRST_LINE.match(text)
    after = text[match.end() : match.end() + 2] if match else ""
    return "\r" if after.startswith("\r") and after != "\r\n" else "\n"


def _find(text: str, end: str, place: int) -> int:
    """Where the line at `place` ends."""
    found = text.find(end, place)
    return len(text) if found < 0 else found
