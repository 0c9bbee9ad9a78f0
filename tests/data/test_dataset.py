"""The checks that every data set goes through, and the class splits."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.data.dataset import Dataset, LabelledText, build_dataset
from metaformer_cli.data.problems import Problems
from metaformer_cli.data.splits import draw_splits, read_splits

SOUND = [("hi", "greet"), ("hello", "greet"), ("bye", "part"), ("ciao", "part")]


def numbered(*pairs: tuple[str, str]) -> list[LabelledText]:
    return [
        LabelledText(text, label, f"a.csv:{line}")
        for line, (text, label) in enumerate(pairs, start=2)
    ]


def build(*pairs: tuple[str, str], **options) -> Dataset:
    """A data set whose classes are all in "train"."""
    options = {"split": lambda labels: {"train": tuple(labels)}} | options
    return build_dataset("a.csv", numbered(*pairs), **options)


def refusal(*pairs: tuple[str, str], **options) -> str:
    with pytest.raises(ValueError, match=r"data\.problems=drop") as error:
        build(*pairs, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_sound_rows_are_grouped_by_label_in_file_order():
    dataset = build(*SOUND)
    assert dataset.groups == {"greet": (("hi",), ("hello",)), "part": (("bye",), ("ciao",))}
    assert dataset.splits == {"train": ("greet", "part")}
    assert dataset.dropped == {}
    assert dataset.problems == ()


FAULTS = {
    "an empty text": ([(" \t", "part")], "a.csv:6: empty text", {"empty text": 1}),
    "an empty label": ([("so", "")], "a.csv:6: empty label", {"empty label": 1}),
    "a repeated row": (
        [("hi", "greet"), ("hi", "greet")],
        "a.csv:6: same text and label as line 2; a.csv:7: same text and label as line 2",
        {"duplicate": 2},
    ),
    "a text with two labels": (
        [("hi", "part"), ("hi", "greet"), ("hi", "part")],
        "a.csv:6: labelled 'part', but 'greet' at line 2",
        {"conflicting labels": 4},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_refused_with_its_line_or_dropped_with_a_count(name):
    pairs, message, dropped = FAULTS[name]
    assert message in refusal(*SOUND, *pairs)
    dataset = build(*SOUND, *pairs, problems="drop")
    assert dataset.dropped == dropped
    assert any(problem in message for problem in dataset.problems)
    left = sum(len(rows) for rows in dataset.groups.values())
    assert left == len(SOUND) + len(pairs) - sum(dropped.values())


def test_of_a_repeated_row_the_first_stays_and_of_a_conflict_none():
    dataset = build(*SOUND, ("hi", "greet"), ("bye", "greet"), problems="drop")
    assert dataset.groups == {"greet": (("hi",), ("hello",)), "part": (("ciao",),)}


def test_texts_that_differ_in_case_or_blanks_are_different_texts():
    assert build(*SOUND, ("Hi", "part"), ("hi ", "part")).groups["part"][2:] == (("Hi",), ("hi ",))


def test_texts_that_look_the_same_are_repeated():
    twins = [("e\u0301t\xe9", "part"), ("\xe9t\xe9", "part"), ("h\u200bi", "greet")]
    message = refusal(*SOUND, *twins)
    assert "a.csv:7: text that looks the same and label as line 6" in message
    dataset = build(*SOUND, *twins, problems="drop")
    assert dataset.groups["part"][2:] == (("e\u0301t\xe9",),)
    assert dataset.dropped == {"duplicate": 2}
    assert build(*SOUND, ("\u200b", "part"), problems="drop").dropped == {"empty text": 1}


def test_classes_that_look_alike_are_refused_or_made_one_with_a_word():
    pairs = [*SOUND, ("so", "Part"), ("ta", "part\u200b"), ("hi", "Greet")]
    message = refusal(*pairs)
    assert "a.csv:6: label 'Part' (1 row) looks like 'part' (2 rows): write them alike" in message
    assert message.startswith("a.csv: 4 problems: ")
    dataset = build(*pairs, problems="drop")
    assert dataset.groups == {
        "greet": (("hi",), ("hello",)),
        "part": (("bye",), ("ciao",), ("so",), ("ta",)),
    }
    assert dataset.dropped == {"duplicate": 1}
    (note,) = dataset.notes
    assert "'part\\u200b' (1 row) as 'part' (2 rows)" in note
    assert dataset.remarks == [note, "left out 1 row: duplicate"]


def test_names_of_groups_that_are_no_classes_may_look_alike():
    assert build(*SOUND, ("so", "Part"), group="group").groups.keys() == {"greet", "part", "Part"}


def test_what_reads_like_a_missing_value_is_kept_and_said():
    dataset = build(*SOUND, ("nan", "part"), ("so", "None"), ("ta", "None"))
    assert dataset.groups["None"] == (("so",), ("ta",))
    assert [note.partition(",")[0] for note in dataset.notes] == [
        "2 rows with the label 'None'",
        "1 row with the text 'nan'",
    ]


def test_rows_that_could_not_be_read_are_faults_of_the_data_set():
    found = Problems()
    found.add("malformed row", "a.csv:9", rows=3)
    found.note("read as cp1252")
    dataset = build(*SOUND, found=found, problems="drop")
    assert (dataset.dropped, dataset.notes) == ({"malformed row": 3}, ("read as cp1252",))
    with pytest.raises(ValueError, match=r"1 problem: a\.csv:9: malformed row; correct them"):
        build(*SOUND, found=found)
    with pytest.raises(ValueError, match=r"two classes, found none; 1 problem: a\.csv:9: malf"):
        build(found=found)


def test_a_class_that_is_too_small_is_refused_with_its_first_line_or_dropped():
    pairs = [*SOUND, ("one", "small")]
    message = refusal(*pairs, min_rows=2)
    assert "a.csv:6: class 'small' has 1 sound rows, and shots + queries take 2" in message
    assert "lower task.shots or task.queries" in message
    dataset = build(*pairs, min_rows=2, problems="drop")
    assert dataset.splits == {"train": ("greet", "part")}
    assert dataset.groups.keys() == {"greet", "part"}
    assert dataset.dropped == {"class too small": 1}


def test_a_class_that_lost_all_its_rows_is_dropped_too():
    dataset = build(*SOUND, (" ", "small"), problems="drop")
    assert dataset.splits == {"train": ("greet", "part")}
    assert any("class 'small' has 0 sound rows" in problem for problem in dataset.problems)


def test_a_small_class_in_no_split_is_no_problem():
    split = {"train": ("greet", "part")}
    dataset = build(*SOUND, ("one", "small"), min_rows=2, split=lambda _: split)
    assert dataset.dropped == {"class in no split": 1}
    assert "small" not in dataset.groups


def test_the_class_split_is_the_same_whatever_the_shots_are():
    pairs = [(f"{label} {row}", f"{label}") for label in range(20) for row in range(label + 1)]
    parts = [
        build(
            *pairs, min_rows=rows, problems="drop", split=lambda labels: draw_splits(labels, seed=1)
        )
        for rows in (1, 10)
    ]
    for split, labels in parts[1].splits.items():
        assert set(labels) == {label for label in parts[0].splits[split] if int(label) + 1 >= 10}


def test_many_faults_are_counted_and_a_few_of_each_kind_are_named():
    message = refusal(*SOUND, *[("hi", "greet")] * 1500, (" ", "part"), ("bye", "greet"))
    assert message.startswith("a.csv: 1,502 problems: a.csv:6: same")
    assert "a.csv:1506: empty text; a.csv:1507: labelled 'greet'" in message
    assert "; and 1,499 more; correct them" in message


def test_a_fault_in_another_file_is_named_by_that_file():
    rows = [*numbered(*SOUND), LabelledText("hi", "greet", "b.csv:9")]
    with pytest.raises(ValueError, match=r"b\.csv:9: same text and label as a\.csv:2;"):
        build_dataset("two", rows, split=lambda labels: {"train": tuple(labels)})


def test_one_class_alone_is_refused():
    with pytest.raises(
        ValueError, match=r"at least two classes, found only 'greet'; is data\.label"
    ):
        build(*SOUND[:2])


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", " "]), st.sampled_from(["x", "y", ""]))))
def test_what_stays_is_sound_and_every_other_row_is_counted(pairs):
    pairs = [*SOUND, *pairs]
    dataset = build(*pairs, problems="drop")
    kept = [(text, label) for label, rows in dataset.groups.items() for (text,) in rows]
    labels_of = {
        text: {label for word, label in pairs if word == text and label} for text, _ in pairs
    }
    assert set(kept) == {
        (text, label)
        for text, label in pairs
        if text.strip() and label and labels_of[text] == {label} and label in dataset.groups
    }
    assert max(Counter(text for text, _ in kept).values()) == 1
    assert len(kept) + sum(dataset.dropped.values()) == len(pairs)


def test_a_split_gives_its_groups_and_says_when_it_cannot():
    dataset = build(*SOUND)
    assert dataset.split("train", least=2) == dataset.groups
    with pytest.raises(ValueError, match=r"a\.csv has no split 'trian': .* did you mean 'train'"):
        dataset.split("trian")
    with pytest.raises(ValueError, match=r"an episode draws 3 classes, and the train split has 2"):
        dataset.split("train", least=3)


def listed(folder, **splits: str | bytes):
    for name, content in splits.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / f"{name}.txt").write_bytes(data)
    return folder


def test_splits_are_read_in_order_with_marks_blanks_and_any_line_ends(tmp_path):
    folder = listed(tmp_path, train=b"\xef\xbb\xbfb\r\na\r\n\r\n", valid=" c \n", test="d e")
    splits = read_splits(folder, ["a", "b", "c", "d e", "f"])
    assert splits == {"train": ("b", "a"), "valid": ("c",), "test": ("d e",)}


def test_of_many_unknown_classes_few_are_looked_for_among_the_others(tmp_path, monkeypatch):
    looked_for = []

    def look_for(word, _):
        looked_for.append(word)
        return ""

    monkeypatch.setattr("metaformer_cli.data.splits.did_you_mean", look_for)
    unknown = "".join(f"x{number}\n" for number in range(20))
    folder = listed(tmp_path, train=unknown, valid="c", test="d")
    with pytest.raises(ValueError, match="and 17 more"):
        read_splits(folder, ["a", "b", "c", "d"])
    assert looked_for == ["x0", "x1", "x2"]


BAD_SPLITS: dict[str, tuple[dict[str, str | bytes], str]] = {
    "overlap": ({"test": "d\na\n"}, r"test\.txt:2: class 'a' is already at .*train\.txt:1"),
    "twice": ({"valid": "c\n\nc"}, r"valid\.txt:3: class 'c' is already at .*valid\.txt:1"),
    "unknown": ({"train": "a\nbb"}, r"train\.txt:2: no row has class 'bb'; did you mean 'b'"),
    "empty": ({"valid": "\n"}, r"valid\.txt lists no class"),
    "binary": ({"valid": b"c\0"}, r"valid\.txt:1: character 1 is NUL"),
    "many": ({"train": "p\nq\nr\ns\nt"}, r"train\.txt:3: .*; and 2 more; each class"),
}


@pytest.mark.parametrize("name", BAD_SPLITS)
def test_bad_splits_are_refused_with_file_and_line(tmp_path, name):
    changed, message = BAD_SPLITS[name]
    folder = listed(tmp_path, **({"train": "a\nb", "valid": "c", "test": "d"} | changed))
    with pytest.raises(ValueError, match=message) as error:
        read_splits(folder, ["a", "b", "c", "d"])
    assert "\n" not in str(error.value)


def test_a_missing_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"valid\.txt: no such file"):
        read_splits(listed(tmp_path, train="a", test="b"), ["a", "b"])
    with pytest.raises(ValueError, match=r"nowhere does not exist: data\.splits= names a folder"):
        read_splits(tmp_path / "nowhere", ["a"])
    with pytest.raises(ValueError, match=r"train\.txt is a file: data\.splits= names a folder"):
        read_splits(tmp_path / "train.txt", ["a"])


@given(labels=st.sets(st.text(), min_size=3, max_size=60), seed=st.integers(0, 9), data=st.data())
def test_drawn_splits_share_out_all_classes_whatever_their_order(labels, seed, data):
    splits = draw_splits(labels, seed=seed)
    assert splits == draw_splits(data.draw(st.permutations(sorted(labels))), seed=seed)
    assert sorted(label for part in splits.values() for label in part) == sorted(labels)
    assert all(splits[part] for part in ("train", "valid", "test"))
    for part in ("valid", "test"):
        assert len(splits[part]) == max(1, round(len(labels) / 5))


def test_drawn_splits_depend_on_the_seed_and_stay_as_they_are():
    labels = [str(number) for number in range(10)]
    assert draw_splits(labels, seed=0) == {
        "train": ("0", "3", "4", "5", "7", "9"),
        "valid": ("1", "2"),
        "test": ("6", "8"),
    }
    assert len({draw_splits(labels, seed=seed)["test"] for seed in range(20)}) > 5


def test_two_classes_cannot_be_split_in_three():
    with pytest.raises(ValueError, match="need at least 3 classes, and there are 2: a, b"):
        draw_splits(["b", "a"], seed=0)
