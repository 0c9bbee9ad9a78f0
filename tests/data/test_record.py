"""The record of what was trained on: whatever becomes of a file, what was seen is not judged."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.data.dataset import Dataset, LabelledText, build_dataset
from metaformer_cli.data.record import DataRecord, Fingerprint, Recognition, Today, row_hash
from metaformer_cli.data.splits import draw_splits

WORDS = ("class", "classes")
Classes = Mapping[str, Sequence[str]]  # label -> texts


def made(classes: Classes, *, name: str = "a.csv", seed: int = 0, min_rows: int = 1) -> Dataset:
    rows = [LabelledText(text, label, "a.csv:1") for label, own in classes.items() for text in own]
    return build_dataset(
        name,
        rows,
        split=lambda labels: draw_splits(labels, seed=seed),
        problems="drop",
        min_rows=min_rows,
    )


def plain(classes: int = 10, rows: int = 12) -> dict[str, list[str]]:
    """Classes whose texts say which class they were of at first."""
    return {f"c{c}": [f"c{c} row {r}" for r in range(rows)] for c in range(classes)}


def compared(before: Dataset | DataRecord, now: Dataset) -> Recognition:
    record = before if isinstance(before, DataRecord) else Today(before).record()
    record = DataRecord.from_json(json.loads(json.dumps(record.to_json())), "x")
    return Recognition.of(record, Today(now), WORDS)


def first_classes(groups: Mapping[str, Sequence[Any]]) -> set[str]:
    """Which classes the rows were of at first; added ones have other texts."""
    return {text.split()[0] for rows in groups.values() for (text,) in rows}


@st.composite
def edited(draw: st.DrawFn, classes: Classes) -> dict[str, list[str]]:
    """The classes after what people do to a file: renamed, added to, cut, moved about, merged."""
    rng = random.Random(draw(st.integers()))
    labels = [*classes, *(f"other {n}" for n in range(draw(st.integers(0, 12))))]
    names = [*classes]
    if draw(st.booleans()):  # to new names, and to each other's
        names = rng.sample([*labels, *(f"new {n}" for n in range(5))], len(names))
    found: dict[str, list[str]] = {}
    for label, name in zip(classes, names, strict=True):
        texts = list(classes[label])
        for _ in range(draw(st.integers(0, min(len(texts), 8) // 2))):
            texts.pop(rng.randrange(len(texts)))
        texts += [f"more of {label} {n}" for n in range(draw(st.integers(0, 20)))]
        found.setdefault(name, []).extend(rng.sample(texts, len(texts)))
    for label in labels:
        if label not in found and draw(st.booleans()):
            found[label] = [f"{label.replace(' ', '')} fresh {n}" for n in range(9)]
    return {label: found[label] for label in rng.sample([*found], len(found))}


@given(data=st.data(), rows=st.integers(1, 30), seed=st.integers(0, 9), name=st.booleans())
def test_whatever_becomes_of_a_file_no_class_that_was_seen_is_judged(data, rows, seed, name):
    before = made(plain(rows=rows))
    now = made(data.draw(edited(plain(rows=rows))), name="a.csv" if name else "b.csv", seed=seed)
    seen = {*before.splits["train"], *before.splits["valid"]}
    found = compared(before, now)
    for split in ("test", "new"):
        groups, _ = found.judged(split, 1)
        texts = {text for rows in groups.values() for (text,) in rows}
        assert not texts & {text for label in seen for text in plain(rows=rows)[label]}
        assert not groups.keys() & seen
    # a run that goes on with these data is judged on nothing that it sees from then on
    resumed = found.resumed(1)
    trained = {row for split in ("train", "valid") for row in resumed.split(split, least=0)}
    for dataset in (now, before):
        groups, _ = compared(found.continued(), dataset).judged("test", 1)
        assert not first_classes(groups) & seen
        assert dataset is before or not groups.keys() & trained


@given(order=st.randoms(), seed=st.integers(0, 9), added=st.integers(0, 9))
def test_order_and_seeds_and_new_classes_leave_the_judged_classes_as_they_were(order, seed, added):
    before = plain()
    now = before | {f"new {n}": [f"new {n} row {r}" for r in range(12)] for n in range(added)}
    now = {label: order.sample(now[label], 12) for label in order.sample([*now], len(now))}
    recorded, today = made(before), made(now, seed=seed)
    found = compared(recorded, today)
    for split, labels in recorded.splits.items():
        assert found.judged(split, 1)[0].keys() == set(labels)
    assert found.judged("new", 1)[0].keys() == now.keys() - before.keys()
    assert found.unchanged is (added == 0)
    assert sum(map(len, found.resumed(1).groups.values())) == 120


def test_what_differs_is_said_with_counts_and_names():
    before = plain()
    now = {**before, "gift": ["a", "b"], "c1": [*before["c1"], "more"]}
    now["bye"] = now.pop("c7")
    del now["c9"]
    found = compared(made(before), made(now))
    assert not found.unchanged
    assert found.changes() == (
        "1 class ('gift') new, 1 class ('c1') with other rows, 1 class ('bye') under another name, "
        "1 class ('c9') gone"
    )
    _, (line, _) = found.judged("test", 1)
    assert line == f"changed since the run: {found.changes()}; judge those new with eval.split=new"
    many = before | {f"{'x' * 50}{n}": [f"{n}"] for n in range(1234)}
    assert compared(made(before), made(many)).changes() == (
        f"1,234 classes ({', '.join([repr('x' * 40 + '…')] * 3)}, and 1,231 more) new"
    )


def test_unchanged_data_are_judged_without_a_word():
    dataset = made(plain())
    assert [compared(dataset, dataset).judged(s, 1)[1] for s in (*dataset.splits, "new")] == [
        []
    ] * 4


def test_another_split_of_the_same_data_is_said_to_be_of_no_account():
    _, lines = compared(made(plain()), made(plain(), seed=1)).judged("test", 1)
    assert lines == ["split as the run recorded it, not as the data are split today"]


def test_classes_that_are_too_small_today_are_left_out_and_said():
    before = plain()
    labels = made(before).splits["test"]
    now = made(before | {labels[0]: before[labels[0]][:3]}, min_rows=4)
    groups, (_, line) = compared(made(before), now).judged("test", 4)
    assert groups.keys() == {*labels[1:]}
    assert line == f"1 class ({labels[0]!r}) left out: an episode takes 4 rows of each"


def test_other_data_are_judged_in_their_own_split_without_what_was_seen():
    before = made(plain(rows=40))
    seen, unseen = before.splits["train"][0], before.splits["test"][0]
    other = {f"o{n}": [f"o{n} row {r}" for r in range(30)] for n in range(20)}
    now = other | {"taken": plain(rows=40)[seen], "fresh": plain(rows=40)[unseen]}
    for seed in range(12):
        dataset = made(now, name="b.csv", seed=seed)
        found = compared(before, dataset)
        assert not found.same
        groups, lines = found.judged("test", 1)
        assert groups.keys() == {*dataset.splits["test"]} - {"taken"}
        left = ", without 1 class ('taken') that the run has seen, by name or by rows"
        told = left if "taken" in dataset.splits["test"] else ""
        assert lines == [f"not the run's data (a.csv): its own test split{told}"]
        assert found.judged("new", 1)[0].keys() == now.keys() - {"taken", "fresh"}


def test_in_another_file_of_the_same_names_no_seen_class_is_judged_though_no_row_is_shared():
    before = made(plain())
    seen = {*before.splits["train"], *before.splits["valid"]}
    for seed in range(9):
        now = made({name: [f"held out {name}"] for name in plain()}, name="b.csv", seed=seed)
        found = compared(before, now)
        assert not found.same
        groups, (line,) = found.judged("test", 1)
        assert groups.keys() == {*now.splits["test"]} - seen
        assert ("by name or by rows" in line) is bool(seen & {*now.splits["test"]})
        assert found.judged("new", 1)[0] == {}


def test_data_under_another_name_are_recognised_by_half_of_their_groups():
    before = plain()
    for kept, same in ((5, True), (4, False)):
        half = dict(list(before.items())[:kept]) | {"z": ["z"], "y": ["y"]}
        assert compared(made(before), made(half, name="moved.csv")).same is same


def test_the_parts_of_a_class_that_was_split_up_are_parts_of_it():
    before = plain(rows=100)
    label = made(before).splits["train"][0]
    now = {name: rows for name, rows in before.items() if name != label}
    now |= {f"{label} {part}": before[label][part::3] for part in range(3)}
    found = compared(made(before), made(now))
    assert all(found.matches[f"{label} {part}"] == {label} for part in range(3))


def test_a_text_that_two_data_sets_share_makes_no_class_known():
    rows = {f"c{c}": [f"c{c} row {r}" for r in range(50)] for c in range(9)}
    own = {f"o{c}": [f"o{c} row {r}" for r in range(50)] for c in range(9)}
    shared = min(rows["c0"], key=lambda text: row_hash((text,)))  # sure to be in its sketch
    found = compared(made(rows), made(own | {"o3": [*own["o3"], shared]}, name="b.csv"))
    assert sorted(found.new) == [*own]


def test_a_few_seen_rows_in_a_judged_class_are_said():
    now = plain(rows=50)
    splits = made(now).splits
    moved = min(now[splits["train"][0]], key=lambda text: row_hash((text,)))
    now[splits["train"][0]].remove(moved)
    now[splits["test"][0]].append(moved)
    groups, (_, line) = compared(made(plain(rows=50)), made(now)).judged("test", 1)
    assert groups.keys() == {*splits["test"]}
    assert line == f"1 class ({splits['test'][0]!r}) with some rows of others that the run has seen"


def test_a_run_that_went_on_knows_what_it_was_trained_on_before_and_after():
    before = made(plain(rows=8))
    first, gone, *_ = before.splits["train"]
    now = plain(rows=8) | {first: [f"other {n}" for n in range(8)]}
    del now[gone]
    record = compared(before, made(now)).continued()
    assert compared(record, made(now)).unchanged
    renamed = {"old": plain(rows=8)[first], "new": now[first], "gone": plain(rows=8)[gone]}
    found = compared(record, made(renamed | {"z": ["z"]}, name="b.csv"))
    assert found.matches == {"old": {first}, "new": {first}, "gone": {gone}, "z": set()}


def listed(classes: Classes, train: tuple[str, ...] = ("c0", "c1")) -> Dataset:
    """With a split that leaves classes out; and one class is too small for any."""
    rows = [LabelledText(text, label, "a:1") for label, own in classes.items() for text in own]
    rows.append(LabelledText("little", "small", "a:1"))
    splits = {"train": train, "valid": ("c2",), "test": ("c3",)}
    return build_dataset("a.csv", rows, split=lambda _: splits, problems="drop", min_rows=2)


def test_classes_in_no_split_may_be_judged_and_are_not_called_new():
    found = compared(listed(plain()), listed(plain() | {"gift": ["a", "b"]}))
    assert found.changes() == "1 class ('gift') new"
    groups, lines = found.judged("new", 2)
    assert groups.keys() == {*(f"c{n}" for n in range(4, 10)), "gift"}
    assert lines == [
        "changed since the run: 1 class ('gift') new",
        "6 classes ('c4', 'c5', 'c6', and 3 more) not new, but in no split of the run",
        "1 class ('small') left out: an episode takes 2 rows of each",
    ]
    went_on = found.continued()  # without what is new, which is then in no split either
    assert compared(went_on, listed(plain() | {"gift": ["a", "c"]})).unchanged


def test_what_becomes_of_classes_in_no_split_is_no_change():
    now = plain() | {"c8": ["other", "rows"]}
    del now["c9"]
    for dataset in (listed(plain()), listed(now)):
        found = compared(listed(plain()), dataset)
        assert found.unchanged
        assert not found.splits_differ(2)
        assert found.judged("test", 2)[1] == []


@pytest.mark.parametrize("train", [("c0",), ("c0", "c1", "c4"), ("c0", "c4")])
def test_a_class_that_is_listed_anew_or_no_more_is_another_split(train):
    found = compared(listed(plain()), listed(plain(), train))
    assert found.unchanged
    assert found.splits_differ(2)


def test_tasks_that_make_their_own_data_have_an_empty_record():
    dataset = Dataset("generated", {}, {"train": (), "valid": (), "test": ()}, {})
    found = compared(dataset, dataset)
    assert (found.same, found.unchanged, found.judged("test", 0)) == (True, True, ({}, []))


@given(rows=st.lists(st.integers(0, 2**48 - 1), unique=True).map(sorted))
def test_a_fingerprint_is_of_all_rows_and_keeps_the_smallest(rows):
    own = Fingerprint.of(rows)
    assert (own.rows, own.sketch) == (len(rows), tuple(rows[:8]))
    assert own.with_earlier(Fingerprint.of(rows[:3])) == own


def test_rows_of_any_kind_have_hashes_of_their_own():
    rows = [("a",), ("a", 1), ("a", 1.5), (1,), ("1",), ("\ud800",), ("a\n",), ("ä",), ("a\u0308",)]
    assert len({row_hash(row) for row in rows}) == len(rows)


SOUND = Today(made(plain())).record().to_json()


@pytest.mark.parametrize(
    "changes",
    [
        {"groups": None},
        {"groups": {"c0": [1, "", "zz"]}},
        {"groups": {"c0": [1, ""]}},
        {"splits": {"train": []}},
        {"others": None},
        {"splits": {"train": ["c0"], "valid": ["c1"], "test": ["nothing"]}},
    ],
)
def test_what_is_no_record_gets_one_line(changes):
    damaged: list[dict[str, Any]] = [SOUND | changes, {}]
    for values in damaged:
        with pytest.raises(
            ValueError, match=r"^run/x does not say .* damaged; give another[^\n]*$"
        ):
            DataRecord.from_json(values, "run/x")
