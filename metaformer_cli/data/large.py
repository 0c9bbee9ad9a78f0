"""Passages of a large folder: built once into arrays on disk, and read as they are drawn.

    text.npy    uint8 [B]: the UTF-8 of all passages, which are the tokens of `task.tokens=bytes`
    rows.npy    int64 [R, 2]: where the sound passages start and end in it, group by group
    books.npy   int64 [R]: which book each is of, where books are kept apart
    facts.json  the groups and their numbers of rows, what was left out, the files and their hashes
    metaformer.sha256  the hashes of these

They are mapped into memory: what is drawn is read, and the system forgets it when memory is short.
A store is known by a hash of the files and of how they are read, so other texts make another one;
it takes its name when it is whole, so one that was cut off is never used; and one that is not what
was written any more is built anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from metaformer_cli.atomic import replacing_folder
from metaformer_cli.bounds import HELD, regular
from metaformer_cli.data.dataset import LabelledText
from metaformer_cli.data.passages import Reading, evenly_spaced
from metaformer_cli.data.problems import Problems
from metaformer_cli.data.spelling import visible
from metaformer_cli.episode import Row
from metaformer_cli.locks import locked
from metaformer_cli.seal import check_folder, file_sha256, seal_folder

FORMAT: Final = 2  # of the store: another is built anew
Numbers = Sequence[int]


@dataclass(frozen=True)
class Passages(Sequence[Row]):
    """The rows of a group, each read from the store when it is asked for.

    Attributes:
        folder: of the store.
        numbers: which rows of it.
    """

    folder: Path
    numbers: Numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Row]:
        """All rows, by reading the file: what is mapped and was touched would stay in memory."""
        _, rows = _mapped(self.folder)
        with (self.folder / "text.npy").open("rb") as stream:
            np.lib.format.read_magic(stream)
            np.lib.format.read_array_header_1_0(stream)
            first = stream.tell()
            for number in self.numbers:
                start, end = rows[number].tolist()
                stream.seek(first + start)
                yield (stream.read(end - start).decode(),)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> Passages: ...
    def __getitem__(self, place: int | slice) -> Row | Passages:
        if isinstance(place, slice):
            return Passages(self.folder, self.numbers[place])
        text, rows = _mapped(self.folder)
        start, end = rows[self.numbers[place]].tolist()
        return (bytes(text[start:end]).decode(),)


@lru_cache(maxsize=8)
def _mapped(folder: Path) -> tuple[memoryview, NDArray[np.int64]]:
    """A store's text and rows; once a process, since to map them takes longer than to read one."""
    text, rows = (np.load(folder / name, mmap_mode="r") for name in ("text.npy", "rows.npy"))
    return text.data, rows.view(np.ndarray)  # both are faster than numpy's own memmap


@dataclass(frozen=True)
class Store:
    """A folder's sound passages, on disk.

    Attributes:
        folder: where the arrays are.
        groups: name -> the numbers of its rows.
        sources: name -> where its first row stands.
        books: their names, where they were asked for.
    """

    folder: Path
    groups: Mapping[str, range]
    sources: Mapping[str, str]
    books: Sequence[str]

    @cached_property
    def _book_of(self) -> NDArray[np.int64]:
        found: NDArray[np.int64] = np.load(self.folder / "books.npy")
        return found

    def rows(self, numbers: Numbers) -> Passages:
        """Some rows of a group."""
        return Passages(self.folder, numbers)

    def book(self, number: int) -> str:
        """The book of a row."""
        return self.books[int(self._book_of[number])]


def stored(files: Mapping[Path, str], reading: Reading, cache: Path, found: Problems) -> Store:
    """The store of these files, built if it is not there.

    Args:
        files: each with the group that it belongs to, in order.
        reading: how they are read.
        cache: the folder where stores are kept.
        found: is told of faults in rows, which are left out, and what was found of encodings.

    Raises:
        ValueError: a file cannot be read.
        OSError: the cache cannot be written.
    """
    hashes = [[str(file), label, file_sha256(regular(file, HELD))] for file, label in files.items()]
    known_by = json.dumps([FORMAT, asdict(reading), hashes]).encode()
    folder = cache / hashlib.sha256(known_by).hexdigest()[:16]
    if not _is_whole(folder, Problems()):
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache / f".{folder.name}.lock", f"passages in {cache}", waits=True):
            if not _is_whole(folder, found):  # nobody else has built it meanwhile
                _make(folder, files, reading, hashes)
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    found.take(facts["problems"])
    size = sum(file.stat().st_size for file in files)
    found.note(f"{size / 1e6:,.0f} MB of text: passages are read from {folder} as they are drawn")
    ends = [0, *accumulate(facts["rows"].values())]
    groups = {name: range(*own) for name, own in zip(facts["rows"], pairwise(ends), strict=True)}
    return Store(folder, groups, facts["sources"], facts["books"])


def _is_whole(folder: Path, found: Problems) -> bool:
    """Whether a store is there, as it was written; `found` takes what is wrong with it."""
    if not folder.is_dir():
        return False
    try:
        check_folder(folder)
    except (ValueError, OSError) as error:
        found.note(f"{error}; built anew")
        return False
    return True


def _make(
    folder: Path, files: Mapping[Path, str], reading: Reading, hashes: Sequence[Sequence[str]]
) -> None:
    """Build a store aside, and give it its name once it is whole."""
    _mapped.cache_clear()
    for left_by_a_kill in folder.parent.glob(f".{folder.name}.*.tmp"):
        shutil.rmtree(left_by_a_kill)
    with replacing_folder(folder) as aside:
        _build(aside, files, reading, hashes)
        seal_folder(aside)


def _build(
    folder: Path, files: Mapping[Path, str], reading: Reading, hashes: Sequence[Sequence[str]]
) -> None:
    """Write a store."""
    found = Problems()
    seen = _Seen(list(dict.fromkeys(files.values())))
    size = sum(file.stat().st_size for file in files)
    bar = tqdm(total=size, unit="B", unit_scale=True, desc="read passages", disable=None)
    with bar, (folder / "text.npy").open("wb") as stream:
        start = _write_header(stream, 0)
        for file, label in files.items():
            for row in reading.passages(file, label, found):
                text = row.text.encode()
                stream.write(text)
                seen.add(row, len(text))
            bar.update(file.stat().st_size)
        stream.seek(0)
        assert _write_header(stream, seen.ends[-1]) == start, "a longer header overwrites text"
    kept = seen.sound(reading.most, found)
    ends = np.array(seen.ends)
    np.save(folder / "rows.npy", np.stack([ends[:-1][kept], ends[1:][kept]], axis=1))
    if reading.books:
        np.save(folder / "books.npy", np.array(seen.books)[kept])
    counts = np.bincount(np.array(seen.groups)[kept], minlength=len(seen.labels)).tolist()
    facts = {
        "files": hashes,
        "rows": {
            label: count
            for label, count in zip(seen.labels, counts, strict=True)
            if label in seen.named and label in seen.sources
        },
        "sources": seen.sources,
        "books": list(seen.book_numbers),
        "problems": found.to_json(),
    }
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _write_header(stream: Any, length: int) -> int:
    """The header of a .npy file of bytes, which has room for any length; returns where it ends."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(stream, header)
    return int(stream.tell())


class _Seen:
    """What is remembered of each passage while a store is built: numbers, and no text.

    Args:
        labels: the groups.

    Attributes:
        named: those whose names can be seen.
        ends: where each passage ends in the text, behind a 0.
        groups: the number of its group.
        looks: 8 bytes of a hash of what can be seen of it; 0: nothing, or no name of its group.
        books: the number of its book.
        sources: group -> where its first passage stands.
        book_numbers: book -> its number.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels, self.named = labels, {own for own in labels if visible(own).strip()}
        self.numbers = {label: number for number, label in enumerate(labels)}
        self.ends, self.groups = array("q", [0]), array("q")
        self.looks, self.books, self.lines = array("Q"), array("q"), array("q")
        self.files: list[tuple[int, str]] = []  # first passage, file
        self.sources: dict[str, str] = {}
        self.book_numbers: dict[str, int] = {}

    def add(self, row: LabelledText, size: int) -> None:
        """Remember a passage of so many bytes."""
        file, _, line = row.source.rpartition(":")
        if not self.files or self.files[-1][1] != file:
            self.files.append((len(self.groups), file))
        self.sources.setdefault(row.label, row.source)
        shown = visible(row.text)
        counts = shown.strip() and row.label in self.named
        digest = hashlib.blake2b(shown.encode(), digest_size=8).digest() if counts else b""
        self.ends.append(self.ends[-1] + size)
        self.groups.append(self.numbers[row.label])
        self.looks.append(int.from_bytes(digest))
        self.books.append(self.book_numbers.setdefault(row.book, len(self.book_numbers)))
        self.lines.append(int(line))

    def source(self, number: int) -> str:
        """Where a passage stands."""
        _, file = self.files[bisect_right(self.files, number, key=lambda own: own[0]) - 1]
        return f"{file}:{self.lines[number]}"

    def sound(self, most: int | None, found: Problems) -> NDArray[np.int64]:
        """The numbers of the passages to keep, group by group; the faults of others go to `found`.

        The rules are those of `dataset.sound_rows`.
        """
        groups, looks = np.array(self.groups), np.array(self.looks)
        order: NDArray[np.int64] = np.argsort(groups, kind="stable")
        if most is not None:
            own = np.split(order, np.cumsum(np.bincount(groups))[:-1])
            chosen = [evenly_spaced(numbers.tolist(), most) for numbers in own]
            order = np.concatenate([np.array(numbers, dtype=np.int64) for numbers in chosen])
        for number in order[looks[order] == 0]:
            named = self.labels[groups[number]] in self.named
            found.add("empty text" if named else "empty label", self.source(number))
        order = order[looks[order] != 0]
        _, firsts, which = np.unique(looks[order], return_index=True, return_inverse=True)
        first = order[firsts[which]]  # of each, the first passage that looks the same
        elsewhere = groups[order] != groups[first]
        conflicting = np.zeros(len(firsts), dtype=bool)
        conflicting[which[elsewhere]] = True
        lost: set[int] = set()
        for place in np.flatnonzero(order != first):
            number, earlier = int(order[place]), int(first[place])
            there = self.source(earlier)
            if not elsewhere[place]:
                details = f"same text and group as {there}"
                found.add("duplicate", self.source(number), details=details)
                continue
            label, other = self.labels[groups[number]], self.labels[groups[earlier]]
            details = f"in group {label!r}, but {other!r} at {there}"
            rows = 1 if earlier in lost else 2  # the earlier row goes too
            lost.add(earlier)
            found.add("same text in two groups", self.source(number), rows=rows, details=details)
        sound: NDArray[np.int64] = order[(order == first) & ~conflicting[which]]
        return sound
