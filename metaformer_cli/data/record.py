"""What a run was trained on: recorded, and recognised again in the data of another day.

A record names the groups of each split, and keeps of each group's rows a hash and a *sketch*: the
`SKETCH` smallest of the rows' own hashes, which are a uniform sample of the rows (bottom-k
sketches; Broder 1997, "On the resemblance and containment of documents"). So a group is recognised
though it was renamed, and some of its rows came or went, and a record stays small.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from metaformer_cli.data.dataset import Dataset
from metaformer_cli.episode import SPLITS, Row

SKETCH = 8  # row hashes a group: half of them tell it from others, in about 100 bytes
HASH = 6  # bytes of a row's hash: a million rows share one once in 500 times
SEEN = ("train", "valid")  # splits that a run fits its weights on, or chooses them
NAMED = 3  # groups that a line names
NAME = 40  # characters of a name that a line shows
OTHER_SPLIT = "split as the run recorded it, not as the data are split today"


@dataclass(frozen=True)
class Fingerprint:
    """What a group's rows are known by, in any order.

    Attributes:
        rows: how many there are.
        sha256: of their hashes, sorted; 16 hex digits.
        sketch: the smallest of their hashes, sorted.
    """

    rows: int
    sha256: str
    sketch: tuple[int, ...]

    @classmethod
    def of(cls, hashes: Sequence[int]) -> Fingerprint:
        """Of rows with these hashes, sorted."""
        joined = b"".join(own.to_bytes(HASH) for own in hashes)
        return cls(len(hashes), _sha256(joined), tuple(hashes[:SKETCH]))

    def with_earlier(self, earlier: Fingerprint) -> Fingerprint:
        """Of the same rows, with a sketch of these and the `earlier` ones together."""
        both = sorted({*self.sketch, *earlier.sketch})
        return Fingerprint(self.rows, self.sha256, tuple(both[:SKETCH]))


@dataclass(frozen=True)
class DataRecord:
    """What a run was trained on, and what it was not.

    Attributes:
        name: of the data set.
        data_sha256: of all its groups, in any order; 16 hex digits.
        splits: "train", "valid" and "test" -> the names of that split's groups.
        groups: name -> fingerprint, of each group in `splits`.
        others: the names of groups that were there and in no split.
    """

    name: str
    data_sha256: str
    splits: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, Fingerprint]
    others: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values, for a checkpoint's header."""
        groups = {
            name: [own.rows, own.sha256, b"".join(h.to_bytes(HASH) for h in own.sketch).hex()]
            for name, own in self.groups.items()
        }
        splits = {split: list(names) for split, names in self.splits.items()}
        return {
            "name": self.name,
            "data_sha256": self.data_sha256,
            "splits": splits,
            "groups": groups,
            "others": list(self.others),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], file: object) -> DataRecord:
        """From a checkpoint's header, which is data from elsewhere.

        Args:
            values: of the header.
            file: which it stands in, for messages.

        Raises:
            ValueError: it is no record.
        """
        try:
            groups = {
                str(name): Fingerprint(int(rows), str(sha256), _sketch(bytes.fromhex(sketch)))
                for name, (rows, sha256, sketch) in values["groups"].items()
            }
            splits = {split: tuple(map(str, values["splits"][split])) for split in SPLITS}
            others = tuple(map(str, values["others"]))
            if {name for names in splits.values() for name in names} == groups.keys():
                return cls(str(values["name"]), str(values["data_sha256"]), splits, groups, others)
        except (KeyError, TypeError, ValueError, AttributeError):
            pass
        raise ValueError(
            f"{file} does not say what it was trained on: it is damaged; give another checkpoint"
        )

    @property
    def sha256(self) -> str:
        """What the record itself is known by; 16 hex digits."""
        return _sha256(json.dumps(self.to_json(), sort_keys=True).encode())


def row_hash(row: Row) -> int:
    """What a row is known by: its first `HASH` bytes of SHA-256."""
    return int.from_bytes(hashlib.sha256(json.dumps(row).encode()).digest()[:HASH])


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _sketch(content: bytes) -> tuple[int, ...]:
    starts = range(0, len(content), HASH)
    return tuple(int.from_bytes(content[start : start + HASH]) for start in starts)


class Today:
    """A data set as it is now, each row of it hashed once.

    Args:
        dataset: with its groups, also those in no split.

    Attributes:
        groups: name -> rows, of all groups.
        hashes: name -> the hashes of its rows, sorted.
        prints: name -> fingerprint.
        data_sha256: of all groups, in any order.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.groups: dict[str, Sequence[Row]] = {**dataset.groups, **dataset.others}
        self.hashes = {name: sorted(map(row_hash, rows)) for name, rows in self.groups.items()}
        self.prints = {name: Fingerprint.of(hashes) for name, hashes in self.hashes.items()}
        named = sorted((name, own.sha256) for name, own in self.prints.items())
        self.data_sha256 = _sha256(json.dumps(named).encode())

    def record(self) -> DataRecord:
        """Of this data set, split as it splits itself."""
        splits = {split: tuple(sorted(self.dataset.splits[split])) for split in SPLITS}
        names = sorted(name for own in splits.values() for name in own)
        groups = {name: self.prints[name] for name in names}
        others = tuple(sorted(self.groups.keys() - groups.keys()))
        return DataRecord(self.dataset.name, self.data_sha256, splits, groups, others)


Known = dict[str, set[str]]  # a group's name -> recorded groups


def recognise(record: DataRecord, hashes: Mapping[str, Sequence[int]]) -> tuple[Known, Known]:
    """Which recorded groups each group is by its rows, most often one; and which share any with it.

    It is one if at least half of the recorded sketch is among its rows; or if at least half of
    those of its rows that would be in the sketch are: then it is a part of that group.

    Args:
        record: of a run.
        hashes: name -> the hashes of a group's rows, sorted.
    """
    holders: dict[int, list[str]] = {}
    for name, own in record.groups.items():
        for row in own.sketch:
            holders.setdefault(row, []).append(name)
    found, sharing = {}, {}
    for name, rows in hashes.items():
        shared = Counter(holder for row in rows if row in holders for holder in holders[row])
        sharing[name] = set(shared)
        found[name] = {
            holder
            for holder, count in shared.items()
            if 2 * count >= _enough(record.groups[holder].sketch, rows)
        }
    return found, sharing


def _enough(sketch: Sequence[int], rows: Sequence[int]) -> int:
    """Of how many hashes half must be shared: those of the sketch, or of the rows within it."""
    within = len(rows) if len(sketch) < SKETCH else bisect_right(rows, sketch[-1])
    return min(len(sketch), within)


@dataclass(frozen=True)
class Recognition:
    """A data set beside a run's record.

    Attributes:
        record: of the run.
        today: the data set.
        same: whether it is the recorded one, as it is now.
        matches: today's group -> the recorded groups that it is; none: it was in no split.
        shares: today's group -> the recorded groups whose sketch has a row of it.
        words: what a group is called, and several.
    """

    record: DataRecord
    today: Today
    same: bool
    matches: Known
    shares: Known
    words: tuple[str, str]

    @classmethod
    def of(cls, record: DataRecord, today: Today, words: tuple[str, str]) -> Recognition:
        """Recognise the groups.

        The data set is the recorded one if it has its name, or half of its groups by their rows.
        On any data, a group of a recorded name counts as that one too, whatever its rows are now:
        other examples of a class are still that class. This can only keep a group from being taken
        for one that was not seen.
        """
        matches, shares = recognise(record, today.hashes)
        found = {match for own in matches.values() for match in own}
        same = today.dataset.name == record.name or 2 * len(found) >= len(record.groups) > 0
        matches = {name: own | ({name} & record.groups.keys()) for name, own in matches.items()}
        return cls(record, today, same, matches, shares, words)

    @cached_property
    def split_of(self) -> Mapping[str, str]:
        """The recorded split of each group of today; of several, the one that is seen most."""
        holds = {name: split for split, names in self.record.splits.items() for name in names}
        return {
            name: min((holds[match] for match in own), key=SPLITS.index)
            for name, own in self.matches.items()
            if own
        }

    @property
    def unchanged(self) -> bool:
        """Whether the groups are those of the record, with the same names and rows.

        What becomes of groups that were in no split is of no account.
        """
        return self.today.data_sha256 == self.record.data_sha256 or not self.changes()

    @property
    def unseen(self) -> list[str]:
        """Today's groups that were in no split: new ones, and those that were there already."""
        return [name for name, own in self.matches.items() if not own]

    @property
    def new(self) -> list[str]:
        """Today's groups that were not there."""
        return [name for name in self.unseen if name not in self.record.others]

    def judged(self, split: str, min_rows: int) -> tuple[dict[str, Sequence[Row]], list[str]]:
        """The groups to judge a run on, and lines that say what is not as one might think.

        On the recorded data, the groups of the recorded split; on other data, those of its own
        split, without groups that the run has seen; `new`: those that were in no split.

        Args:
            split: "train", "valid", "test" or "new".
            min_rows: rows that a group needs; smaller ones are left out.
        """
        names, seen = self._of_split(split)
        large = [name for name in names if len(self.today.groups[name]) >= min_rows]
        lines = []
        if not self.same:
            told = ""
            if seen:
                told = f", without {self._count(seen)} that the run has seen, by name or by rows"
            which = "groups that match nothing recorded" if split == "new" else f"own {split} split"
            lines += [f"not the run's data ({self.record.name}): its {which}{told}"]
        elif not self.unchanged:
            remedy = "; judge those new with eval.split=new" if self.new and split != "new" else ""
            lines += [f"changed since the run: {self.changes()}{remedy}"]
        if split == "new" and (there := [n for n in large if n in self.record.others]):
            lines += [f"{self._count(there)} not new, but in no split of the run"]
        if self.same and split != "new" and self.splits_differ(min_rows):
            lines += [OTHER_SPLIT]
        if len(large) < len(names):
            small = set(names) - set(large)
            lines += [f"{self._count(small)} left out: an episode takes {min_rows} rows of each"]
        trained = {name for part in SEEN for name in self.record.splits[part]}
        if split not in SEEN and (mixed := [n for n in large if self.shares[n] & trained]):
            lines += [f"{self._count(mixed)} with some rows of others that the run has seen"]
        return {name: self.today.groups[name] for name in large}, lines

    def _of_split(self, split: str) -> tuple[Sequence[str], Sequence[str]]:
        """The groups of a split, and those left out of them because the run has seen them."""
        if split == "new":
            return self.unseen, ()
        if self.same:
            return [name for name, held in self.split_of.items() if held == split], ()
        own = self.today.dataset.splits[split]
        seen = [name for name in own if self.split_of.get(name) in SEEN]
        return [name for name in own if self.split_of.get(name) not in SEEN], seen

    def splits_differ(self, min_rows: int) -> bool:
        """Whether the data's own split has a group elsewhere than the record; new ones aside.

        Args:
            min_rows: rows that a group needs; smaller ones are in no split.
        """
        own = {name: part for part, names in self.today.dataset.splits.items() for name in names}
        return any(
            own.get(name) != self.split_of.get(name)
            for name in self.today.groups.keys() - set(self.new)
            if len(self.today.groups[name]) >= min_rows
        )

    def resumed(self, min_rows: int) -> Dataset:
        """Today's data in the recorded split, without new groups and those of too few rows."""
        groups = {
            name: self.today.groups[name]
            for name in self.split_of
            if len(self.today.groups[name]) >= min_rows
        }
        splits = {
            split: tuple(name for name in groups if self.split_of[name] == split)
            for split in SPLITS
        }
        return replace(self.today.dataset, groups=groups, splits=splits)

    def continued(self) -> DataRecord:
        """The record of a run that goes on with these data: of what it was and will be trained on.

        Groups that are gone stay in it; one that has other rows is known by both.
        """
        if self.unchanged:
            return self.record
        before = {name: split for split, names in self.record.splits.items() for name in names}
        split_of = {**before, **self.split_of}
        groups = dict(self.record.groups)
        for name in self.split_of:
            now = self.today.prints[name]
            groups[name] = now.with_earlier(groups[name]) if name in groups else now
        splits = {
            split: tuple(sorted(name for name, held in split_of.items() if held == split))
            for split in SPLITS
        }
        there = {*self.record.others, *self.today.groups}
        others = tuple(sorted(there - groups.keys()))
        return DataRecord(self.record.name, self.today.data_sha256, splits, groups, others)

    def changes(self) -> str:
        """What is not as it was recorded, in words and counts; of nothing, none."""
        recorded, prints = self.record.groups, self.today.prints
        known = {name: own for name, own in self.matches.items() if own}
        other = [
            name
            for name, own in known.items()
            if all(prints[name].sha256 != recorded[match].sha256 for match in own)
        ]
        found = {match for own in known.values() for match in own}
        kinds = {
            "new": self.new,
            "with other rows": other,
            "under another name": [name for name in known if name not in recorded],
            "gone": [name for name in recorded if name not in found],
        }
        told = [f"{self._count(names)} {kind}" for kind, names in kinds.items() if names]
        return ", ".join(told)

    def _count(self, names: Collection[str]) -> str:
        return listed(names, self.words)


def listed(names: Collection[str], words: tuple[str, str]) -> str:
    """How many groups, and the names of some.

    Args:
        names: of the groups.
        words: what a group is called, and several.
    """
    cut = [name if len(name) <= NAME else f"{name[:NAME]}…" for name in sorted(names)[:NAMED]]
    more = f", and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{len(names):,} {words[len(names) != 1]} ({', '.join(map(repr, cut))}{more})"
