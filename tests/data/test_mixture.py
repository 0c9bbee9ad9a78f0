"""Several data sets of texts as one."""

from __future__ import annotations

import csv

import pytest

from metaformer_cli.data.builtin import builtin
from metaformer_cli.data.mixture import mixture, parts_of


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ("builtin", [("builtin", "builtin", "")]),
        (
            "clinc150 mine=csv:a/b.csv",
            [("clinc150", "clinc150", ""), ("mine", "csv", "a/b.csv")],
        ),
        ("'csv:my file=1.csv'", [("csv", "csv", "my file=1.csv")]),
        ("words=folder:~/books", [("words", "folder", "~/books")]),
    ],
)
def test_parts_are_named_or_called_as_their_source(of, expected):
    assert parts_of(of) == expected


@pytest.mark.parametrize(
    ("of", "message"),
    [
        ("", r"^data\.of is empty: expected data sets with blanks between"),
        ("clink150", r"there is no source 'clink150' .*; did you mean 'clinc150'\?$"),
        ("csv", r"csv needs a path: give csv:PATH$"),
        ("builtin:x", r"builtin is read from no path; leave it out$"),
        ("builtin builtin", r"two parts are called 'builtin'; give one NAME=builtin$"),
        ("a=", r"^data\.of: 'a=': expected data sets"),
        ("'a", r"^data\.of='a: No closing quotation; expected"),
        ("csv:missing.csv", r"^data\.of=csv: .*missing\.csv"),
    ],
)
def test_what_is_no_part_is_named_in_one_line(of, message):
    with pytest.raises(ValueError, match=message) as error:
        mixture("mixture", 1, of=of)
    assert "\n" not in str(error.value)


def test_groups_keep_their_rows_and_their_split_under_the_name_of_their_part():
    whole, own = mixture("mixture", 1, of="builtin other=builtin"), builtin("builtin", 1)
    assert whole.name == "builtin + other"
    for split, names in own.splits.items():
        expected = {f"{part}/{name}" for part in ("builtin", "other") for name in names}
        assert set(whole.splits[split]) == expected
    assert {name: whole.groups[f"other/{name}"] for name in own.groups} == dict(own.groups)
    assert whole.dropped == {}


def test_a_text_that_one_part_holds_out_is_left_out_of_the_others(tmp_path):
    for file, labels in (("a", "pqr"), ("b", "qrp")):  # the same texts, labelled otherwise
        with (tmp_path / f"{file}.csv").open("w", newline="") as stream:
            write = csv.writer(stream).writerow
            write(["text", "label"])
            for own, label in zip("pqr", labels, strict=True):
                for number in range(3):
                    write([f"{own} {number if number else file}", label])
    found = mixture("mixture", 1, of=f"a=csv:{tmp_path}/a.csv b=csv:{tmp_path}/b.csv")
    held = [
        (str(text), split)
        for split, names in found.splits.items()
        for name in names
        for (text,) in found.groups[name]
    ]
    assert len({text for text, _ in held}) == len(set(held)) == 12
    assert found.dropped == {"held out by another part, too": 6}


def test_a_group_that_loses_too_many_is_left_out_and_counted(tmp_path):
    for file, labels in (("a", "pqr"), ("b", "qrp")):
        rows = [
            f"{own} {n},{label}" for own, label in zip("pqr", labels, strict=True) for n in "12"
        ]
        (tmp_path / f"{file}.csv").write_text("\n".join(["text,label", *rows]))
    found = mixture("mixture", 1, of=f"a=csv:{tmp_path}/a.csv b=csv:{tmp_path}/b.csv")
    assert found.splits["train"] == ()
    assert [*map(len, found.groups.values())] == [2, 2, 2]
