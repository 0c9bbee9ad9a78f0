"""Episodes of several parts, each of one of them."""

from __future__ import annotations

import json
import random
from collections import Counter
from functools import cache

import pytest

from metaformer_cli.data.builtin import builtin
from metaformer_cli.data.dataset import Dataset
from metaformer_cli.data.mixture import mixture
from metaformer_cli.episode import SPLITS, Groups
from metaformer_cli.tasks.fewshot_text import FewShotText
from metaformer_cli.tasks.masked_word import MASK
from metaformer_cli.tasks.mixture import Mixture


@cache
def loaded() -> Dataset:
    return mixture("mixture", 1)


@cache
def train() -> Groups:
    return Mixture().regrouped(loaded()).split("train")


def small(**sizes: int) -> Dataset:
    """Parts of so many texts a class, two classes in each split."""
    groups = {
        f"{part}/{split}{number}": tuple((f"{part} {split} {number} {n}",) for n in range(size))
        for part, size in sizes.items()
        for split in SPLITS
        for number in range(2)
    }
    splits = {split: tuple(name for name in groups if f"/{split}" in name) for split in SPLITS}
    return Dataset("x", groups, splits, {})


def test_an_episode_stays_within_one_part_and_masks_words_of_its_masked_parts_alone():
    task, seen = Mixture(), set()
    for seed in range(30):
        drawn = task.draw(train(), random.Random(seed), training=True)
        (part,) = {name.partition("/")[0] for name in drawn.groups}
        assert task.part(drawn.groups) == part
        rows = [*drawn.support, *drawn.query]
        assert all((MASK in str(text)) == (part == "words") for text, _ in rows)
        seen.add(part)
    assert seen == {"builtin", "words"}


def test_parts_are_drawn_by_their_weights():
    task = Mixture(ways=2, shots=1, queries=1, min_shots=None, weights="a=3", masked="")
    groups = task.regrouped(small(a=3, b=3)).split("train")
    drawn = (task.draw(groups, random.Random(seed), training=True) for seed in range(2000))
    counts = Counter(task.part(own.groups) for own in drawn)
    assert counts["a"] / 2000 == pytest.approx(3 / 4, abs=0.04)


def test_labelled_parts_draw_what_fewshot_text_draws_of_them():
    task = Mixture(masked="")
    groups = task.regrouped(mixture("mixture", 1, of="builtin")).split("test")
    expected = FewShotText().draw(
        {f"builtin/{name}": rows for name, rows in builtin("builtin", 1).split("test").items()},
        one_drawn(random.Random(4)),
        training=False,
    )
    assert task.draw(groups, random.Random(4), training=False) == expected


def one_drawn(rng: random.Random) -> random.Random:
    """The same generator, after the draw of a part."""
    rng.choices(["builtin"], [1.0])
    return rng


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "c=2"}, r"^task\.weights: there is no part 'c': expected a, b$"),
        ({"masked": "c"}, r"^task\.masked: there is no part 'c': expected a, b$"),
        ({"ways": 3}, r"^a has 2 classes in the train split, and an episode draws 3; lower"),
        ({"shots": 9}, r"^a has 0 classes in the train split"),
    ],
)
def test_parts_that_are_not_there_or_too_small_are_named(options, message):
    task = Mixture(**{"ways": 2, "shots": 1, "queries": 1, "masked": "words"} | options)
    with pytest.raises(ValueError, match=message):
        task.regrouped(small(a=3, b=3))


def test_classes_too_small_are_left_out_and_counted():
    data = small(a=3)
    groups = {**data.groups, "a/few": (("one text",),)}
    splits = {**data.splits, "train": (*data.splits["train"], "a/few")}
    task = Mixture(ways=2, shots=1, queries=1)
    found = task.regrouped(Dataset("x", groups, splits, {}))
    assert "a/few" not in found.groups
    assert found.dropped == {"a: class too small": 1}


def test_data_without_parts_is_refused_with_what_to_give():
    with pytest.raises(
        ValueError, match=r"is in none: give data=mixture data\.of=\.\.\., or task="
    ):
        Mixture().regrouped(builtin("builtin", 1))


def test_fewshot_text_goes_on_with_what_is_learned():
    task, other = Mixture(vocab_size=400), FewShotText()
    state = task.learn({name: rows[:3] for name, rows in train().items()}, "")
    other.restore(json.loads(json.dumps(state)), "")
    assert other.reader.tokenizer.encode(["a b"], 9) == task.reader.tokenizer.encode(["a b"], 9)


def test_what_each_part_scores_is_reported_and_another_task_judges_it_on_other_data(
    tmp_path, metaformer
):
    tiny = [
        *("task.ways=2", "task.shots=2", "task.queries=1", "task.vocab_size=300"),
        *("model=transformer", "model.width=8", "model.layers=1", "model.heads=1"),
        *("model.lexical_width=16", "learner=fomaml", "learner.inner_steps=1"),
        *("train.steps=1", "train.meta_batch=1", "train.valid_episodes=2"),
    ]
    done = metaformer("train", "task=mixture", *tiny, "run_dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    judged = metaformer("eval", "ckpt=run", "eval.episodes=12", cwd=tmp_path)
    lines = [line for line in judged.stdout.splitlines() if line.startswith("of ")]
    assert [line.split(":")[0] for line in lines] == ["of builtin", "of words"], judged.stderr
    (report,) = (json.loads(file.read_text()) for file in (tmp_path / "run").glob("eval-*.json"))
    assert sum(own["episodes"] for own in report["parts"].values()) == 12
    (tmp_path / "own.csv").write_text(
        "text,label\n" + "".join(f"{a} {b},{a}\n" for a in "abcdef" for b in range(3))
    )
    words = ["task=fewshot_text", "task.ways=2", "task.shots=2", "task.queries=1"]
    data = ["data=csv", "data.path=own.csv", "eval.split=new", "eval.episodes=2"]
    other = metaformer("eval", "ckpt=run", *words, *data, cwd=tmp_path)
    assert "(2-way 2-shot, 2 new episodes of own.csv" in other.stdout, other.stderr
