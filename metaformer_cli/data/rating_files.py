"""Files of ratings, and of what is known of items and users, in the layouts that are handed around.

MovieLens (100K, 1M, latest), RecBole, and any table with a column each for user, item and rating.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metaformer_cli.bounds import HELD, regular
from metaformer_cli.data.encoding import decoded, read_bytes, read_text
from metaformer_cli.data.files import KINDS, Record, finite, read_records
from metaformer_cli.data.problems import Problems, counted

About = Mapping[str, Sequence[str]]  # what is known of an item or a user: field -> values

# Of MovieLens 100K, whose items have a 0 or 1 for each, in this order (its u.genre).
GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
RATING = ("user", "item", "rating", "timestamp")
_YEAR = re.compile(r"\((\d{4})\)\s*$")  # MovieLens's titles end in it
EXPECTED = (
    "ratings.dat, u.data or ratings.csv (MovieLens), one *.inter (RecBole), or a table with the "
    "columns data.user_field, data.item_field and data.rating_field (*.csv, *.tsv, *.jsonl)"
)


@dataclass(frozen=True, slots=True)
class Rated:
    """One rating, and where it stands ("file:line"), for messages."""

    user: str
    item: str
    rating: float
    time: float
    source: str


@dataclass(frozen=True)
class RatingFiles:
    """What the files say.

    Attributes:
        ratings: in file order.
        items: item -> what is known of it.
        users: user -> what is known of it.
    """

    ratings: list[Rated]
    items: dict[str, About] = field(default_factory=dict)
    users: dict[str, About] = field(default_factory=dict)


@dataclass(frozen=True)
class Columns:
    """The columns of a person's own table.

    Attributes:
        user: the field with the user's name; so are `item`, `rating` and `time`.
        item_about: fields that say something of the item.
        user_about: fields that say something of the user.
    """

    user: str
    item: str
    rating: str
    time: str | None
    item_about: Sequence[str]
    user_about: Sequence[str]


def read_ratings(
    path: Path, columns: Columns, found: Problems, encoding: str | None
) -> RatingFiles:
    """Reads ratings in the layout that the names of the files show.

    Args:
        path: a folder, or the file with the ratings; what is known of items and users stands in
            files beside that.
        columns: of a table that is in no known layout.
        found: takes rows that are malformed, and what must be said of the files.
        encoding: of a table of one's own; the others are UTF-8, or latin-1 as MovieLens is.

    Raises:
        ValueError: there is no such file, no ratings in it, or several that might be meant.
    """
    file = _file_of(path)
    if file.name == "ratings.dat":
        return _movielens_1m(file, found)
    if file.name == "u.data":
        return _movielens_100k(file, found)
    if file.suffix == ".inter":
        return _recbole(file, found)
    if file.name == "ratings.csv" and "movieId" in read_text(file).partition("\n")[0]:
        return _movielens_latest(file, found)
    return _own(file, columns, found, encoding)


def _file_of(path: Path) -> Path:
    """The file with the ratings."""
    if not path.exists():
        raise ValueError(f"data.path={path} does not exist: expected {EXPECTED}")
    if not path.is_dir():
        if path.name not in ("ratings.dat", "u.data") and path.suffix not in (".inter", *KINDS):
            raise ValueError(f"data.path={path}: expected {EXPECTED}, or a folder with such a file")
        return path
    for name in ("ratings.dat", "u.data", "ratings.csv"):
        if (path / name).is_file():
            return path / name
    files = sorted(path.glob("*.inter"))
    if len(files) == 1:
        return files[0]
    several = ", ".join(file.name for file in files)
    came = f"it has {several}: name one of them" if files else "it has none"
    raise ValueError(f"data.path={path}: expected in this folder {EXPECTED}; {came}")


def _movielens_1m(file: Path, found: Problems) -> RatingFiles:
    """`ratings.dat`, `movies.dat` and `users.dat`, with `::` between the fields."""
    movies, users = file.with_name("movies.dat"), file.with_name("users.dat")
    items = _beside(movies, ("item", "title", "genres"), "::", found)
    people = _beside(users, ("user", "gender", "age", "occupation", "zip"), "::", found)
    rows = _plain(file, RATING, "::", found)
    return RatingFiles(_rated(rows, RATING, found), _with_years(items), people)


def _movielens_100k(file: Path, found: Problems) -> RatingFiles:
    """`u.data`, with tabs; `u.item` and `u.user`, with `|`."""
    fields = ("item", "title", "released", "video", "url", *GENRES)
    items = _beside(file.with_name("u.item"), fields, "|", found)
    for name, about in items.items():
        genres = [genre for genre in GENRES if about.get(genre) == ("1",)]
        items[name] = {"title": about.get("title", ()), "genres": genres}
    users = _beside(
        file.with_name("u.user"), ("user", "age", "gender", "occupation", "zip"), "|", found
    )
    rows = _plain(file, RATING, "\t", found)
    return RatingFiles(_rated(rows, RATING, found), _with_years(items), users)


def _movielens_latest(file: Path, found: Problems) -> RatingFiles:
    """`ratings.csv` and `movies.csv`, whose headers name the fields."""
    fields = ("userId", "movieId", "rating", "timestamp")
    movies = file.with_name("movies.csv")
    items: dict[str, About] = {}
    if movies.is_file():
        for record in read_records(movies, found, required=("movieId", "title", "genres")):
            about = {name: _values(record.values[name]) for name in ("title", "genres")}
            items[str(record.values["movieId"])] = about
    rows = read_records(file, found, required=fields)
    return RatingFiles(_rated(rows, fields, found), _with_years(items))


def _recbole(file: Path, found: Problems) -> RatingFiles:
    """`NAME.inter`, `NAME.item` and `NAME.user`: tabs, and `name:type` in the header.

    A `token_seq` is words with blanks between them; names and titles are kept whole.
    """
    tables = []
    for suffix, key in ((".item", "item_id:token"), (".user", "user_id:token")):
        about: dict[str, About] = {}
        other = file.with_suffix(suffix)
        if other.is_file():
            for record in read_records(other, found, kind="csv", required=(key,)):
                values = {name: str(value).strip() for name, value in record.values.items()}
                about[values.pop(key)] = {
                    name.partition(":")[0]: value.split()
                    if name.endswith("_seq") and not re.search("title|name", name)
                    else [value]
                    for name, value in values.items()
                    if value
                }
        tables.append(about)
    fields = ("user_id:token", "item_id:token", "rating:float")
    header = read_text(file).partition("\n")[0]
    timed = (*fields, "timestamp:float") if "timestamp:float" in header else fields
    rows = read_records(file, found, kind="csv", required=timed)
    return RatingFiles(_rated(rows, timed, found), *tables)


def _own(file: Path, columns: Columns, found: Problems, encoding: str | None) -> RatingFiles:
    """A table of one's own; what it says of an item or a user last is what counts."""
    fields = (columns.user, columns.item, columns.rating, *([columns.time] if columns.time else []))
    required = (*fields, *columns.item_about, *columns.user_about)
    items: dict[str, About] = {}
    users: dict[str, About] = {}

    def seen() -> Iterator[Record]:
        for record in read_records(file, found, required=required, encoding=encoding):
            for about, key, names in (
                (items, columns.item, columns.item_about),
                (users, columns.user, columns.user_about),
            ):
                if names:
                    values = {name: _values(record.values[name]) for name in names}
                    about[_name(record.values[key])] = values
            yield record

    return RatingFiles(_rated(seen(), fields, found), items, users)


def _rated(rows: Iterator[Record], fields: Sequence[str], found: Problems) -> list[Rated]:
    """The ratings of records; those without a user, an item or a number are faults.

    Args:
        rows: the records.
        fields: with the user, the item, the rating, and optionally the time.
        found: takes the faults.
    """
    ratings = []
    for row in rows:
        user, item = _name(row.values[fields[0]]), _name(row.values[fields[1]])
        rating, *time = (finite(row.values[name]) for name in fields[2:])
        bad = [name for name, own in zip(fields, (user, item), strict=False) if not own]
        if bad:
            found.add("no user or item", row.source, details=f"{bad[0]!r} is empty")
        elif rating is None:
            came = row.values[fields[2]]
            details = f"{fields[2]}={came!r}: expected a finite number"
            found.add("rating that is no number", row.source, details=details)
        elif time == [None]:
            came = row.values[fields[3]]
            details = f"{fields[3]}={came!r}: expected a finite number, such as seconds"
            found.add("time that is no number", row.source, details=details)
        else:
            ratings.append(Rated(user, item, rating, (time or [0.0])[0] or 0.0, row.source))
    return ratings


def _plain(file: Path, fields: Sequence[str], delimiter: str, found: Problems) -> Iterator[Record]:
    """The rows of a file without a header; those with another number of fields are faults."""
    with regular(file, HELD).open("rb") as stream:
        data = read_bytes(stream, file)
    try:
        text = decoded(data, file)
    except ValueError:
        text = decoded(data, file, encoding="latin-1")
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        values = line.rstrip("\r").split(delimiter)
        if len(values) != len(fields):
            shown = {"\t": "a tab"}.get(delimiter, delimiter)
            details = f"expected {len(fields)} fields with {shown} between them, got {len(values)}"
            found.add("wrong number of fields", f"{file}:{number}", details=details)
            continue
        yield Record(dict(zip(fields, values, strict=True)), f"{file}:{number}")


def _beside(file: Path, fields: Sequence[str], delimiter: str, found: Problems) -> dict[str, About]:
    """What a file without a header says of each item or user; nothing where there is no file."""
    if not file.is_file():
        return {}
    return {
        record.values[fields[0]]: {
            name: _values(record.values[name]) for name in fields[1:] if record.values[name].strip()
        }
        for record in _plain(file, fields, delimiter, found)
    }


def _with_years(items: dict[str, About]) -> dict[str, About]:
    """With the year that a title ends in, where one does."""
    years = {name: _YEAR.search("".join(about.get("title", ()))) for name, about in items.items()}
    return {
        name: {**about, **({"year": [year[1]]} if (year := years[name]) else {})}
        for name, about in items.items()
    }


def _values(value: Any) -> tuple[str, ...]:
    """The values of a field: those of a list, or of a text with | between them."""
    own = value if isinstance(value, list) else str("" if value is None else value).split("|")
    return tuple(text for one in own if (text := _name(one)))


def _name(value: Any) -> str:
    """A name as text; of what is missing, none."""
    if value is None:
        return ""
    return (value if isinstance(value, str) else json.dumps(value)).strip()


def latest(ratings: Sequence[Rated]) -> tuple[dict[str, dict[str, Rated]], int]:
    """User -> item -> rating, the latest of each pair; and how many earlier ones there are.

    Of two at one time, or without times, the later row counts.
    """
    users: dict[str, dict[str, Rated]] = {}
    earlier = 0
    for own in ratings:
        rated = users.setdefault(own.user, {})
        before = rated.get(own.item)
        earlier += before is not None
        if before is None or own.time >= before.time:
            rated[own.item] = own
    return users, earlier


def note_unknown(files: RatingFiles, found: Problems) -> None:
    """Says of how many items and users nothing is known, where something is of others."""
    sides: tuple[tuple[str, Mapping[str, About], Callable[[Rated], str]], ...] = (
        ("item", files.items, lambda own: own.item),
        ("user", files.users, lambda own: own.user),
    )
    for word, about, of in sides:
        missing = {of(own) for own in files.ratings} - about.keys() if about else ()
        if missing:
            found.note(f"nothing but ratings is known of {counted(len(missing), word)}")
