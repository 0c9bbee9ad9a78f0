"""Marks, and the words that describe options."""

from __future__ import annotations

import pytest

from metaformer_cli.choices import at_most, divisible, learner, model, source, task


def test_a_mark_leaves_what_it_marks_as_it_is():
    class Thing:
        pass

    def function() -> None:
        pass

    assert task("a", inputs="text", outputs="classes")(Thing) is Thing
    assert model("a", name_is="path")(Thing) is Thing
    assert learner("a", trains=False)(Thing) is Thing
    assert source("a", "b", inputs=("text",))(function) is function


@pytest.mark.parametrize(
    ("rule", "sound", "wrong", "said"),
    [
        (
            at_most("low", "high"),
            (2, 2),
            (3, 2),
            "t.a=3 is above t.b=2: expected t.a <= t.b; l",
        ),
        (divisible("all", "part"), (8, 4), (10, 4), "expected a multiple, e.g. t.a=12"),
    ],
)
def test_a_rule_says_what_is_wrong_and_what_would_do(rule, sound, wrong, said):
    assert rule.refusal("t.a", sound[0], "t.b", sound[1]) is None
    assert said in rule.refusal("t.a", wrong[0], "t.b", wrong[1])
