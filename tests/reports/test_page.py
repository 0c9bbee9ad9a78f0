"""The page, and the lines for a terminal, of a comparison that was made up."""

from __future__ import annotations

import math
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.episode import Score
from metaformer_cli.reports.comparison import (
    Contender,
    Difference,
    Reliability,
    Spread,
    Table,
    duration,
)
from metaformer_cli.reports.lines import lines, who
from metaformer_cli.reports.page import page
from metaformer_cli.reports.svg import Axis

LONG = "maml inner_lr=0.1 adapt=last_2 <b>&amp;</b>"


def contender(name: str, rank: int, mean: float, **changes: object) -> Contender:
    own = Contender(
        name=name,
        runs=[f"runs/{name}"],
        seeds=[0],
        rank=rank,
        score=Spread(mean, 0.01),
        seed_means=[mean],
        seed_sd=None,
        behind=Spread(mean - 0.9, 0.02),
        others={},
        parts={},
        per_step=[mean],
        inner_steps=None,
        reliability=None,
        adapt_ms=12.3,
        query_ms=0.4,
        parameters=22_565_379,
        outer_steps=100,
        training_seconds=3671.0,
        per_episode=[mean, mean],
    )
    return replace(own, **changes)  # type: ignore[arg-type]


def table(*contenders: Contender, lead: Score | None = None) -> Table:
    count = len(contenders)
    pairs = [(one, other) for one in range(count) for other in range(one + 1, count)]
    return Table(
        setting="task.shots=1",
        title="5-way 1-shot",
        split="test",
        data="my <data>",
        device="cpu",
        episodes=600,
        queries=(25, 25),
        episodes_sha256="0123456789abcdef",
        lead=lead or Score("accuracy", unit="%"),
        contenders=contenders,
        differences=[Difference(*pair, 0.05, 0.01, 1e-5, 1e-4, pair[1] > 1) for pair in pairs],
        notes=["1 class ('<x>') is left out for all"],
    )


BINS = Reliability(0.021, [3.0, 0.0, 1.0], [0.2, None, 0.9], [0.4, None, 1.0])
THREE = table(
    contender(LONG, 1, 0.9, behind=None, per_step=[0.5, 0.9, 0.91], inner_steps=1, seed_sd=0.003),
    contender("protonet", 1, 0.89, reliability=BINS, parts={"one": Spread(0.8, 0.1)}),
    contender("tfidf", 3, 0.2, parameters=0, outer_steps=None, training_seconds=None),
)


class Reader(HTMLParser):
    """Checks that all that is opened is closed, and collects what a browser would fetch."""

    VOID = ("meta", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.fetched += [name for name, _ in attrs if name in ("src", "href", "xlink:href")]
        if tag in ("script", "link", "iframe", "object", "img"):
            self.fetched.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_is_whole_and_fetches_nothing():
    text = page([THREE])
    assert read(text).fetched == []
    assert "url(" not in text
    assert "@import" not in text
    assert "nan" not in text.lower().replace("nanmin", "")


def test_what_users_name_is_text_and_never_markup():
    reader = read(page([THREE, replace(THREE, setting="data=<i>")]))
    assert LONG in reader.text
    assert "my <data>" in reader.text
    assert "('<x>')" in reader.text
    assert "data=<i>" in reader.text


def test_the_page_shows_what_is_known_and_leaves_out_what_is_not():
    text = read(page([THREE])).text
    for shown in ("90.0% ± 1.0%", "600 test episodes", "25 queries", "01234567", "22,565,379"):
        assert shown in text
    assert "calibration error 2.1%" in text
    assert "sd of seeds 0.3%" in text
    bare = replace(THREE, contenders=THREE.contenders[2:], differences=[])
    text = read(page([bare])).text
    for absent in ("Calibration", "inner steps after", "By setting"):
        assert absent not in text


def test_the_matrix_is_signed_from_the_rows_side_and_coloured_by_what_is_shown():
    text = page([THREE])
    assert text.count('class="better"') == text.count('class="worse"') == 2
    assert text.count('class="alike"') == 2
    assert text.count("+5.0 ± 1.0 points") == text.count("-5.0 ± 1.0 points") == 3
    lower = table(*THREE.contenders, lead=Score("bits", lower_is_better=True))
    first_row = page([lower]).split("<tr>")[2]
    assert 'class="worse"' in first_row, "more is worse, where less is better"


def test_lines_fit_80_columns_and_name_every_learner_and_number():
    found = lines(THREE)
    assert max(map(len, found)) <= 80
    text = "\n".join(found)
    assert "sha256 01234567" in text
    assert "600 test episodes" in text
    assert "50.0% [90.0%] 91.0%" in text, "the step that counts is marked"
    assert "1 h 1 min" in text
    assert "of one: 80.0% ± 10.0%" in text
    assert [line.split()[0] for line in found[3:6]] == ["1", "1", "3"]
    assert who(THREE)[0].startswith(LONG)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "–"), (0.4, "0 s"), (187, "3 min 7 s"), (7260, "2 h 1 min")]
)
def test_durations_are_read_by_people(seconds, shown):
    assert duration(seconds) == shown


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
def test_an_axis_holds_its_values_with_a_few_round_ticks(values):
    axis = Axis.around(values)
    slack = 1e-6 * (axis.high - axis.low)
    assert axis.low - slack <= min(values)
    assert max(values) <= axis.high + slack
    assert 2 <= len(axis.ticks) <= 7
    assert axis.low < axis.high
    step = axis.ticks[1] - axis.ticks[0]
    digits = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(digits - round_one) for round_one in (1, 2, 5)) < 1e-3
