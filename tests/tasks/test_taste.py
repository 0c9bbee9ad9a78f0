"""What is learned of training users' ratings, against scikit-learn."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from metaformer_cli.data.invented_ratings import invented_ratings
from metaformer_cli.tasks.taste import ITEM_SHRINKAGE, USER_SHRINKAGE, Attributes, Taste

DATASET = invented_ratings("invented_ratings", 13)


@pytest.fixture(scope="module")
def taste() -> Taste:
    return Taste.learn(DATASET.split("train"))


def test_biases_are_those_of_ridge_regression():
    rng = random.Random(0)
    items = [f"i{number}" for number in range(8)]
    groups = {
        f"u{user}": tuple(
            (item, float(rng.randint(1, 5)), "{}", "{}") for item in rng.sample(items, 5)
        )
        for user in range(12)
    }
    taste = Taste.learn(groups)
    rows = [(user, *row[:2]) for user in sorted(groups) for row in groups[user]]
    ratings = np.array([float(rating) for *_, rating in rows])
    users = np.array([[user == name for name in sorted(groups)] for user, *_ in rows], float)
    of_items = np.array([[item == name for name in items] for _, item, _ in rows], float)
    # a column times 1/√λ is as a coefficient times √λ: one penalty of 1 for all
    columns = np.hstack([users / USER_SHRINKAGE**0.5, of_items / ITEM_SHRINKAGE**0.5])
    ridge = Ridge(alpha=1.0, fit_intercept=False).fit(columns, ratings - ratings.mean())
    theirs = ridge.coef_[12:] / ITEM_SHRINKAGE**0.5
    assert taste.mean == pytest.approx(ratings.mean())
    assert [taste.items[item].bias for item in items] == pytest.approx(theirs, abs=1e-6)
    left = ratings - ratings.mean() - ridge.predict(columns)
    assert taste.scale == pytest.approx(left.std(), abs=1e-6)
    assert [taste.items[item].mean for item in items] == pytest.approx(
        [ratings[of_items[:, place] == 1].mean() for place in range(8)]
    )


def test_items_that_are_rarely_rated_share_the_first_embedding():
    groups = {f"u{user}": (("often", 3.0, "{}", "{}"),) for user in range(5)}
    groups["u9"] = (("seldom", 4.0, "{}", "{}"),)
    taste = Taste.learn(groups)
    assert (taste.items["often"].row, taste.items["seldom"].row, taste.rows) == (1, 0, 2)


def test_values_of_too_few_items_are_unknown_and_many_numbers_are_cut_into_even_bins():
    about = [{"kind": ["a" if n < 4 else "b"], "year": [str(1900 + n)]} for n in range(50)]
    known = Attributes.learn(about)
    assert "kind=a" not in known.numbers
    assert known.of({"kind": ["a", "c"], "other": ["b"]}) == []
    bins = [name for name in known.numbers if name.startswith("year=bin")]
    assert len(bins) == 5
    counts = {name: sum(known.numbers[name] in known.of(own) for own in about) for name in bins}
    assert set(counts.values()) == {10}
    assert known.of({"year": ["1850"]}) == known.of(about[0])
    assert known.of({"year": ["long ago"]}) == []


def test_few_numbers_are_values_like_any_others():
    known = Attributes.learn({"stars": [str(n % 3)]} for n in range(30))
    assert set(known.numbers) == {"stars=0", "stars=1", "stars=2"}
    assert known.edges == {}


def test_a_training_user_has_factors_that_were_found_without_it(taste):
    item = taste.items["film 1"]
    user = DATASET.splits["train"][0]
    assert taste.factors(item, user) == item.factors[1 + taste.folds[user]]
    assert taste.factors(item, DATASET.splits["test"][0]) == item.factors[0]
    assert set(taste.folds) == set(DATASET.splits["train"])


def test_it_is_restored_from_text(taste):
    assert Taste.from_json(taste.to_json()) == taste


@pytest.mark.parametrize(
    "damage",
    [
        lambda own: own.pop("mean"),
        lambda own: own.update(mean="3"),
        lambda own: own.update(scale=0.0),
        lambda own: own.update(highest=float("nan")),
        lambda own: own.update(items=[]),
        lambda own: own["items"]["film 1"].update(row=-1),
        lambda own: own["items"]["film 1"].update(row=10**9),
        lambda own: own["items"]["film 1"].update(row=1.5),
        lambda own: own["items"]["film 1"].update(attributes=[10**6]),
        lambda own: own["items"]["film 1"].update(bias=True),
        lambda own: own["items"]["film 1"].pop("mean"),
        lambda own: own["items"]["film 1"].update(factors=[[0.0]]),
        lambda own: own["items"]["film 1"].update(factors=[0.0]),
        lambda own: own.update(folds={"user 1": "none"}),
        lambda own: own["of_items"]["numbers"].update(more=7),
        lambda own: own.update(of_users=None),
    ],
)
def test_what_is_damaged_is_refused(taste, damage):
    values = json.loads(taste.to_json())
    damage(values)
    with pytest.raises(ValueError, match=r"^expected what task=fewshot_recsys learned"):
        Taste.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 10_000])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match=r"^expected what task=fewshot_recsys learned"):
        Taste.from_json(text)
