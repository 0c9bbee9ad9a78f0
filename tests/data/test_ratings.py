"""Files of ratings in every layout that is read, and what is refused or said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.invented_ratings import invented_ratings
from metaformer_cli.data.rating_files import GENRES
from metaformer_cli.data.ratings import ratings
from metaformer_cli.episode import SPLITS

USERS, ITEMS = 10, 6


def all_ratings() -> list[tuple[int, int, int, int]]:
    """Every user rates every item but one, at a time of its own."""
    return [
        (user, item, 1 + (user + item) % 5, 1000 + 10 * user + item)
        for user in range(1, USERS + 1)
        for item in range(1, ITEMS + 1)
        if item != 1 + user % ITEMS
    ]


def write(path: Path, lines: list[str], *, encoding: str = "utf-8") -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding=encoding)


def movielens_1m(folder: Path) -> None:
    write(folder / "ratings.dat", ["::".join(map(str, row)) for row in all_ratings()])
    movies = [f"{item}::Café {item} (199{item})::Comedy|Drama" for item in range(1, ITEMS + 1)]
    write(folder / "movies.dat", movies, encoding="latin-1")
    users = [f"{user}::F::{20 + user}::7::12345" for user in range(1, USERS + 1)]
    write(folder / "users.dat", users)


def movielens_100k(folder: Path) -> None:
    write(folder / "u.data", ["\t".join(map(str, row)) for row in all_ratings()])
    flags = ["1" if genre in ("Comedy", "Drama") else "0" for genre in GENRES]
    items = [
        "|".join([str(item), f"Café {item} (199{item})", "01-Jan-1995", "", "http://x", *flags])
        for item in range(1, ITEMS + 1)
    ]
    write(folder / "u.item", items, encoding="latin-1")
    write(folder / "u.user", [f"{user}|{20 + user}|F|7|12345" for user in range(1, USERS + 1)])


def movielens_latest(folder: Path) -> None:
    rows = [",".join(map(str, row)) for row in all_ratings()]
    write(folder / "ratings.csv", ["userId,movieId,rating,timestamp", *rows])
    movies = [f'{item},"Café {item} (199{item})",Comedy|Drama' for item in range(1, ITEMS + 1)]
    write(folder / "movies.csv", ["movieId,title,genres", *movies])


def recbole(folder: Path) -> None:
    rows = ["\t".join(map(str, row)) for row in all_ratings()]
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    write(folder / "ml.inter", [header, *rows])
    items = [f"{item}\tCafé {item}\t199{item}\tComedy Drama" for item in range(1, ITEMS + 1)]
    header = "item_id:token\tmovie_title:token_seq\tyear:token\tgenres:token_seq"
    write(folder / "ml.item", [header, *items])
    users = [f"{user}\t{20 + user}\tF" for user in range(1, USERS + 1)]
    write(folder / "ml.user", ["user_id:token\tage:token\tgender:token", *users])


def own_csv(folder: Path) -> None:
    rows = [
        f"{user},{item},{rating},{time},Comedy|Drama,199{item},{20 + user}"
        for user, item, rating, time in all_ratings()
    ]
    write(folder / "mine.csv", ["who,what,stars,time,genres,year,age", *rows])


def own_jsonl(folder: Path) -> None:
    rows = [
        json.dumps(
            {
                "who": user,
                "what": item,
                "stars": rating,
                "time": time,
                "genres": ["Comedy", "Drama"],
                "year": f"199{item}",
                "age": 20 + user,
            }
        )
        for user, item, rating, time in all_ratings()
    ]
    write(folder / "mine.jsonl", rows)


OWN = {
    "user_field": "who",
    "item_field": "what",
    "rating_field": "stars",
    "time_field": "time",
    "item_about": "genres year",
    "user_about": "age",
}
LAYOUTS: dict[str, Any] = {
    "ratings.dat": (movielens_1m, {}),
    "u.data": (movielens_100k, {}),
    "ratings.csv": (movielens_latest, {}),
    "ml.inter": (recbole, {}),
    "mine.csv": (own_csv, OWN),
    "mine.jsonl": (own_jsonl, OWN),
}


def load(path: Path, *, min_rows: int = 1, **options: Any) -> Dataset:
    return ratings("ratings", min_rows, path=str(path), **options)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_ratings_with_what_is_known(name, tmp_path):
    writes, options = LAYOUTS[name]
    writes(tmp_path)
    dataset = load(tmp_path / name, **options)
    expected = {(str(user), str(item), float(rating)) for user, item, rating, _ in all_ratings()}
    found = {(user, *row[:2]) for user, rows in dataset.groups.items() for row in rows}
    assert found == expected
    assert dataset.dropped == {}
    assert {part: len(own) for part, own in dataset.splits.items()} == {
        "train": 6,
        "valid": 2,
        "test": 2,
    }
    for user, rows in dataset.groups.items():
        for item, _, of_item, of_user in rows:
            known = json.loads(str(of_item))
            assert known["genres"] == ["Comedy", "Drama"]
            assert known["year"] == [f"199{item}"]
            assert {"title": known.get("title"), "movie_title": known.get("movie_title")} in (
                {"title": None, "movie_title": None},
                {"title": [f"Café {item} (199{item})"], "movie_title": None},
                {"title": None, "movie_title": [f"Café {item}"]},
            )
            if name != "ratings.csv":
                assert json.loads(str(of_user))["age"] == [str(20 + int(user))]


@pytest.mark.parametrize("name", ["ratings.dat", "u.data", "ratings.csv", "ml.inter"])
def test_a_folder_is_as_good_as_the_file_in_it(name, tmp_path):
    LAYOUTS[name][0](tmp_path)
    assert load(tmp_path).groups == load(tmp_path / name).groups


def test_ratings_alone_are_enough(tmp_path):
    movielens_1m(tmp_path)
    (tmp_path / "movies.dat").unlink()
    (tmp_path / "users.dat").unlink()
    rows = [row for own in load(tmp_path).groups.values() for row in own]
    assert {row[2:] for row in rows} == {("{}", "{}")}


def test_what_is_unknown_of_some_items_is_counted(tmp_path):
    movielens_1m(tmp_path)
    movies = (tmp_path / "movies.dat").read_text(encoding="latin-1").splitlines()
    write(tmp_path / "movies.dat", movies[2:])
    assert load(tmp_path).notes == ("nothing but ratings is known of 2 items",)


def test_of_an_item_rated_twice_by_a_user_the_latest_rating_counts_and_is_counted(tmp_path):
    movielens_1m(tmp_path)
    with (tmp_path / "ratings.dat").open("a") as stream:
        stream.write("3::1::5::9999\n3::2::4::1\n")  # a later one, and an earlier one
    before = {row[0]: row[1] for row in load_plain(tmp_path / "plain").groups["3"]}
    dataset = load(tmp_path)
    rated = {row[0]: row[1] for row in dataset.groups["3"]}
    assert rated == {**before, "1": 5.0}
    assert dataset.dropped == {"earlier rating of the same item by the same user": 2}


def load_plain(folder: Path) -> Dataset:
    folder.mkdir()
    movielens_1m(folder)
    return load(folder)


def test_users_are_split_by_seed_and_never_rows(tmp_path):
    movielens_1m(tmp_path)
    one, same, other = (load(tmp_path, split_seed=seed) for seed in (1, 1, 2))
    assert one.splits == same.splits != other.splits
    names = [user for part in SPLITS for user in one.splits[part]]
    assert sorted(names) == sorted(set(names)) == sorted(map(str, range(1, USERS + 1)))


def test_given_users_are_split_as_listed(tmp_path):
    movielens_1m(tmp_path)
    for part, users in (("train", "1\n2"), ("valid", "3"), ("test", "4")):
        (tmp_path / f"{part}.txt").write_text(users)
    dataset = load(tmp_path, splits=str(tmp_path))
    assert dataset.splits == {"train": ("1", "2"), "valid": ("3",), "test": ("4",)}
    assert dataset.dropped == {"user in no split": 30}
    assert len(dataset.others) == 6


def test_users_of_many_ratings_are_trained_on_and_not_judged_on(tmp_path):
    movielens_1m(tmp_path)
    dataset = load(tmp_path)
    judged = {*dataset.splits["test"], *dataset.splits["valid"][:1]}
    rows = (tmp_path / "ratings.dat").read_text().splitlines()
    few = [row for row in rows if row.split("::")[0] not in judged or row.split("::")[1] in "123"]
    write(tmp_path / "ratings.dat", few)
    fewer = load(tmp_path, max_ratings=4)
    assert fewer.splits == {**dataset.splits, "valid": dataset.splits["valid"][:1]}
    assert fewer.dropped == {"user to judge on of more than data.max_ratings=4 ratings": 5}


def test_users_to_judge_on_of_too_many_ratings_are_left_out_and_counted(tmp_path):
    movielens_1m(tmp_path)
    with pytest.raises(ValueError, match=r"there remain train 6, valid 0, test 0; lower task"):
        load(tmp_path, max_ratings=4)


def test_users_of_too_few_ratings_are_left_out_and_counted(tmp_path):
    movielens_1m(tmp_path)
    path = tmp_path / "ratings.dat"
    path.write_text(path.read_text() + "99::1::5::1\n99::2::5::1\n")
    dataset = load(tmp_path, min_rows=3)
    assert "99" not in dataset.groups
    assert dataset.dropped == {"user of fewer than 3 ratings, which an episode takes": 2}
    assert len(dataset.others["99"]) == 2


def test_items_kept_apart_are_rated_by_no_training_user_and_counted(tmp_path):
    movielens_1m(tmp_path)
    whole, apart = load(tmp_path), load(tmp_path, items_apart=0.34)
    assert whole.splits == apart.splits

    def items(dataset: Dataset, part: str) -> set[Any]:
        return {row[0] for user in dataset.splits[part] for row in dataset.groups[user]}

    lost = items(whole, "train") - items(apart, "train")
    assert len(lost) == 2
    assert items(apart, "test") == items(whole, "test")
    assert "2 items of 6 kept apart from training" in apart.notes
    count = sum(row[0] in lost for u in whole.splits["train"] for row in whole.groups[u])
    assert apart.dropped == {"rating by a training user of an item kept apart": count}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("5::1::good::3", r"ratings\.dat:51: rating='good': expected a finite number"),
        ("5::1::nan::3", r"ratings\.dat:51: rating='nan': expected a finite number"),
        ("5::1::3", r"ratings\.dat:51: expected 4 fields with :: between them, got 3"),
        ("5::1::3::", r"ratings\.dat:51: timestamp='': expected a finite number, such as seconds"),
        ("::1::3::5", r"ratings\.dat:51: 'user' is empty"),
        ("5:: ::3::5", r"ratings\.dat:51: 'item' is empty"),
    ],
)
def test_what_is_wrong_with_a_row_is_named_with_its_line(line, expected, tmp_path):
    movielens_1m(tmp_path)
    with (tmp_path / "ratings.dat").open("a") as stream:
        stream.write(f"{line}\n")
    with pytest.raises(ValueError, match=rf"1 problem: .*{expected}; correct them"):
        load(tmp_path)
    dropped = load(tmp_path, problems="drop")
    assert sum(dropped.dropped.values()) == 1
    assert len(dropped.problems) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", r"nothing does not exist: expected ratings\.dat, u\.data"),
        ("empty", r"expected in this folder .*; it has none$"),
        ("two", r"it has a\.inter, b\.inter: name one of them$"),
        ("text.txt", r"text\.txt: expected ratings\.dat"),
        ("mine.csv", r"mine\.csv:1: no field 'user'; the fields are 'who', 'what'"),
    ],
)
def test_a_path_without_ratings_is_refused_with_what_was_expected(name, message, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "two").mkdir()
    for file in ("two/a.inter", "two/b.inter", "text.txt"):
        (tmp_path / file).write_text("x")
    own_csv(tmp_path)
    with pytest.raises(ValueError, match=message):
        load(tmp_path / name)


def test_fewer_than_three_users_are_refused(tmp_path):
    write(tmp_path / "ratings.dat", ["1::1::5::1", "2::1::5::1"])
    with pytest.raises(ValueError, match=r"at least 3"):
        load(tmp_path)


def test_invented_ratings_are_the_same_each_time_and_other_with_another_seed():
    one, same, other = (invented_ratings("invented_ratings", 13, seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one.groups != other.groups
    rows = [row for own in one.groups.values() for row in own]
    assert {row[1] for row in rows} == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert all(20 <= len(own) == len({row[0] for row in own}) for own in one.groups.values())
    with pytest.raises(ValueError, match=r"an episode takes 21 ratings of a user"):
        invented_ratings("invented_ratings", 21)
