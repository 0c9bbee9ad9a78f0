"""What every learner promises, on every task that the two declare to fit. New ones are found."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from metaformer_cli.commands.build import Built, build, build_learner, build_task, load_data
from metaformer_cli.config.compose import run
from metaformer_cli.config.registry import choices
from metaformer_cli.config.resolve import resolve
from metaformer_cli.episode import Drawn, Episode, Examples, Groups, Row
from metaformer_cli.tasks.task import Task, training_sampler
from metaformer_cli.training.checkpoint import Checkpoint, Progress, load, save
from metaformer_cli.training.evaluation import evaluate

# What makes a task's model small and smooth. A new task needs no line here, and is slower without.
SMALL_TEXT = (
    *("task.ways=3", "task.shots=2", "task.queries=3", "task.vocab_size=300"),
    *("model=transformer", "task.max_tokens=8"),
    *("model.width=8", "model.layers=2", "model.heads=2"),
    *("model.dropout=0", "model.lexical_width=16"),
)
SMALL = {
    "fewshot_text": SMALL_TEXT,
    "masked_word": SMALL_TEXT,
    "mixture": SMALL_TEXT,
    "fewshot_lm": (
        *("task.shots=2", "task.queries=3", "task.max_tokens=8"),
        *("model.width=8", "model.layers=2", "model.heads=2"),
    ),
    "fewshot_image": (
        *("task.ways=3", "task.shots=2", "task.queries=2"),
        *("model.width=8", "model.layers=1", "model.heads=2"),
    ),
    "fewshot_seq2seq": (
        *("task.shots=2", "task.queries=3", "task.vocab_size=300", "task.max_tokens=8"),
        *("model.width=8", "model.layers=1", "model.heads=2"),
    ),
    "fewshot_recsys": (
        *("task.shots=4", "task.queries=3", "model.width=8", "model.heads=2", "model.dropout=0"),
    ),
    "sinusoid": ("task.shots=4", "task.queries=3", "model.width=8", "model.heads=2"),
    "linear": (
        *("task.coordinates=2", "task.shots=4", "task.queries=3"),
        *("model.width=8", "model.layers=1", "model.heads=2"),
    ),
    "harmonics": (
        *("task.shots=4", "task.queries=3"),
        *("model.width=8", "model.layers=1", "model.heads=2"),
    ),
}
# What learners do is a matter of the model: on a task with the model of another, one is enough.
OF_ANOTHERS_MODEL = ("masked_word", "mixture", "linear", "harmonics")
# Of learners that train, these stand for their like on every task; others take their turn on two.
ON_EVERY_TASK = ("maml", "fomaml", "joint", "protonet")
ON_TWO_TASKS = ("fewshot_text", "sinusoid")
INNER = ("learner.inner_steps=2", "learner.inner_lr=0.1")
CLOSE: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-11}  # in float64


@dataclass(frozen=True)
class Law:
    """One learner on one task, in float64.

    Attributes:
        task: draws and reads.
        built: the learner, and its meta-parameters.
        config: what they were built from.
        splits: the groups of each split.
    """

    task: Task
    built: Built
    config: Any
    splits: dict[str, Groups]

    def episode(self, index: int = 0) -> Episode:
        episode = training_sampler(self.task, self.splits["train"], 0).episode(index)
        return replace(episode, support=double(episode.support), query=double(episode.query))

    def drawn(self, index: int = 0) -> Drawn:
        return self.task.draw(self.splits["train"], random.Random(index), training=False)

    def read(self, rows: Sequence[Row], drawn: Drawn) -> Examples:
        return double(self.task.read(rows, drawn))

    def outputs(self, support: Examples, query: Examples, meta: Any = None) -> Tensor:
        """What the adapted learner says of the queries."""
        meta = self.built.meta if meta is None else meta
        *_, predictor = self.built.learner.adaptation(meta, support)
        with torch.no_grad():
            outputs: Tensor = predictor(query)
        return outputs


def double(examples: Examples) -> Examples:
    """The same in float64."""
    tensors = {**examples.inputs, "": examples.targets}
    cast = {
        name: value.double() if value.is_floating_point() else value
        for name, value in tensors.items()
    }
    return replace(examples, targets=cast.pop(""), inputs=cast)


@cache
def law(learner: str, task: str, *words: str) -> Law:
    """A learner on a task, small; `words` are more options."""
    kind = choices("learner")[learner]
    inner = INNER if "inner_steps" in kind.options else ()
    typed = [f"learner={learner}", f"task={task}", *SMALL.get(task, ()), *inner, *words]
    found: list[Any] = []
    command = "train" if kind.declared["trains"] else "eval"
    run(command, typed, lambda composed: found.append(resolve(composed)))
    (config,) = found
    own = build_task(config)
    dataset = load_data(config, own)
    splits: dict[str, Groups] = {
        name: dataset.split(name, least=own.min_groups) for name in ("train", "valid", "test")
    }
    try:
        built = build(config, own, splits["train"], "cpu")
    except ValueError as error:
        if "needs a package" not in str(error):
            raise
        pytest.skip(str(error))
    if hasattr(built.learner, "model"):
        built.learner.model.double()
    meta = {name: value.double() for name, value in built.meta.items()}
    return Law(own, replace(built, meta=meta), config, splits)


def pairs(*, trains: bool = False, option: str = "", outputs: str = "") -> Iterator[Any]:
    """(learner, task) of all that fit by what they declare.

    Args:
        trains: only learners that train.
        option: only learners that have it.
        outputs: only tasks that ask for such.
    """
    for learner, kind in choices("learner").items():
        for task, asked in choices("task").items():
            if outputs not in ("", asked.declared["outputs"]):
                continue
            if task in OF_ANOTHERS_MODEL and learner != "maml":
                continue
            stands = learner in ON_EVERY_TASK or not kind.declared["trains"]
            if not stands and task not in ON_TWO_TASKS:
                continue
            fits = all(
                kind.declared[what] is None or asked.declared[what] in kind.declared[what]
                for what in ("inputs", "outputs")
            )
            if (
                fits
                and kind.declared["trains"] >= trains
                and (option or "name")
                in {
                    "name",
                    *kind.options,
                }
            ):
                yield pytest.param(learner, task, id=f"{learner}-{task}")


every = pytest.mark.parametrize(("learner", "task"), [*pairs()])
every_trained = pytest.mark.parametrize(("learner", "task"), [*pairs(trains=True)])
every_trained_but_classifier = pytest.mark.parametrize(
    ("learner", "task"),
    [*pairs(trains=True, outputs="values"), *pairs(trains=True, outputs="tokens")],
)
every_classifier = pytest.mark.parametrize(("learner", "task"), [*pairs(outputs="classes")])
every_chunked = pytest.mark.parametrize(("learner", "task"), [*pairs(option="chunk")])
# To compile takes seconds: every task with one learner, and every learner on one task.
every_compiled = pytest.mark.parametrize(
    ("learner", "task"),
    [
        own
        for own in pairs(option="chunk")
        if own.values[1] == "fewshot_text"
        or (own.values[0] == "maml" and own.values[1] not in OF_ANOTHERS_MODEL)
    ],
)


def test_the_known_learners_are_found_with_their_tasks():
    found = {param.id for param in pairs()}
    assert {f"{name}-fewshot_text" for name in ("maml", "fomaml", "anil", "tfidf")} <= found


@every_trained
def test_an_exact_meta_gradient_is_the_derivative_of_the_query_loss_after_adapting(learner, task):
    own = law(learner, task)
    episode, meta = own.episode(), own.built.meta
    generator = torch.Generator().manual_seed(0)
    direction = {
        name: torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for name, value in meta.items()
    }

    def loss(step: float) -> float:
        moved = {name: value + step * direction[name] for name, value in meta.items()}
        outputs = own.outputs(episode.support, episode.query, moved)
        return float(own.task.objective.loss(outputs, episode.query.targets))

    found = own.built.learner.meta_gradient(meta, [episode])
    slope = sum(float((found.gradient[name] * direction[name]).sum()) for name in meta)
    small = 1e-5
    if own.built.learner.exact:
        assert slope == pytest.approx((loss(small) - loss(-small)) / (2 * small), rel=1e-5)
        assert found.losses == [pytest.approx(loss(0.0))]
    assert all(value.isfinite().all() for value in found.gradient.values())
    if learner == "joint":  # it does not adapt in training
        return
    lead = own.task.objective.lead.name
    outputs = own.outputs(episode.support, episode.query)
    assert found.scores == [pytest.approx(own.task.objective.measure(outputs, episode.query)[lead])]


@every_trained
def test_the_gradient_of_a_meta_batch_is_the_mean_over_its_episodes_however_they_are_shared(
    learner, task
):
    own = law(learner, task)
    episodes = [own.episode(index) for index in range(3)]
    gradient_of = own.built.learner.meta_gradient
    whole = gradient_of(own.built.meta, episodes).gradient
    shares = [gradient_of(own.built.meta, part).gradient for part in (episodes[::2], episodes[1:2])]
    for name, value in whole.items():
        torch.testing.assert_close(value, (2 * shares[0][name] + shares[1][name]) / 3, **CLOSE)


@every
def test_a_querys_answer_does_not_depend_on_other_queries(learner, task):
    own, drawn = law(learner, task), law(learner, task).drawn()
    support = own.read(drawn.support, drawn)
    together = own.outputs(support, own.read(drawn.query, drawn))
    first = own.outputs(support, own.read(drawn.query[:1], drawn))
    last = own.outputs(support, own.read(drawn.query[-1:], drawn))
    torch.testing.assert_close(together[: len(first)], first, **CLOSE)
    torch.testing.assert_close(together[-len(last) :], last, **CLOSE)


@every
def test_the_order_of_support_rows_changes_nothing(learner, task):
    own, drawn = law(learner, task), law(learner, task).drawn()
    query = own.read(drawn.query, drawn)
    first = own.outputs(own.read(drawn.support, drawn), query)
    second = own.outputs(own.read(drawn.support[::-1], drawn), query)
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-7)  # tfidf's solver stops early


@every_classifier
def test_the_order_of_classes_changes_nothing(learner, task):
    own, drawn = law(learner, task), law(learner, task).drawn()
    turned = [1, 2, 0]  # class t is now called turned[t]

    def renamed(rows: Sequence[Row]) -> list[Row]:
        return sorted(((row[0], turned[int(row[1])]) for row in rows), key=lambda row: row[1])

    groups = tuple(drawn.groups[turned.index(place)] for place in range(3))
    other = Drawn(groups, renamed(drawn.support), drawn.query)
    first = own.outputs(own.read(drawn.support, drawn), own.read(drawn.query, drawn))
    second = own.outputs(own.read(other.support, other), own.read(drawn.query, other))
    torch.testing.assert_close(
        first.log_softmax(1), second.log_softmax(1)[:, turned], rtol=1e-5, atol=1e-6
    )


@every_classifier
def test_any_number_of_ways_and_uneven_shots_work(learner, task):
    own = law(learner, task)
    rows = own.splits["valid"]
    names = sorted(rows)[:5]  # more than it was built for
    support = [(rows[name][i][0], t) for t, name in enumerate(names) for i in range(t + 1)]
    query = [(rows[name][-1][0], t) for t, name in enumerate(names)]
    drawn = Drawn(tuple(names), support, query)
    outputs = own.outputs(own.read(support, drawn), own.read(query, drawn))
    assert outputs.shape == (5, 5)
    assert outputs.isfinite().all()


@every
def test_one_support_row_is_enough_but_for_classes(learner, task):
    own, drawn = law(learner, task), law(learner, task).drawn()
    first = [row for row in drawn.support if row == drawn.support[0]]
    if "classes" in own.read(drawn.support, drawn).inputs:  # one of each
        first = [*{row[1]: row for row in drawn.support}.values()]
    query = own.read(drawn.query, drawn)
    outputs = own.outputs(own.read(first, drawn), query)
    assert len(outputs) == len(query.targets)
    assert outputs.isfinite().all()


@every_trained_but_classifier
def test_of_a_group_with_no_row_to_adapt_on_the_answer_is_the_unadapted_one(learner, task):
    own, drawn = law(learner, task), law(learner, task).drawn()
    query, nothing = own.read(drawn.query, drawn), own.read([], drawn)
    first, *others = own.built.learner.adaptation(own.built.meta, nothing)
    outputs = own.outputs(nothing, query)
    assert outputs.isfinite().all()
    assert torch.equal(outputs, first(query))
    episode = replace(own.episode(), support=nothing)
    found = own.built.learner.meta_gradient(own.built.meta, [episode])
    assert all(value.isfinite().all() for value in found.gradient.values())
    assert others


@every
def test_each_score_is_measured(learner, task):
    own = law(learner, task)
    episode = own.episode()
    measured = own.task.objective.measure(
        own.outputs(episode.support, episode.query), episode.query
    )
    assert list(measured) == [score.name for score in own.task.objective.scores]


@every_chunked
def test_episodes_that_run_as_one_have_the_same_gradient_and_the_same_answers(learner, task):
    alone, mapped = law(learner, task), law(learner, task, "learner.chunk=3")
    episodes = [alone.episode(index) for index in range(4)]
    assert mapped.built.learner.engine.chunk == 3
    one = alone.built.learner.meta_gradient(alone.built.meta, episodes)
    other = mapped.built.learner.meta_gradient(alone.built.meta, episodes)
    assert one.losses == pytest.approx(other.losses)
    assert one.scores == pytest.approx(other.scores)
    for name, value in one.gradient.items():
        torch.testing.assert_close(value, other.gradient[name], **CLOSE)
    judged = [
        evaluate(
            own.built.learner,
            alone.built.meta,
            episodes,
            alone.task.objective,
            device="cpu",
            title="",
            every_step=True,
        )
        for own in (alone, mapped)
    ]
    assert judged[0].loss == pytest.approx(judged[1].loss)
    for name, figure in judged[0].scores.items():
        assert figure.per_step == pytest.approx(judged[1].scores[name].per_step)
        assert figure.per_episode == pytest.approx(judged[1].scores[name].per_episode)


@every_compiled
def test_what_is_compiled_has_the_same_gradient(learner, task, monkeypatch):
    """Traced whole, as for the real backend, whose code tests/learners/test_engine.py runs."""
    compiler = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda function, **options: compiler(function, backend="eager", **options)
    )
    plain = law(learner, task)
    config = replace(plain.config, engine=replace(plain.config.engine, compile=True))
    state = plain.built.state
    classes = sorted(plain.splits["train"]) if "classes" in plain.episode().query.inputs else ()
    own = build_learner(config, plain.task, state["model"], False, "cpu", classes)
    own.model.double()
    episodes = [plain.episode(index) for index in range(2)]
    one = plain.built.learner.meta_gradient(plain.built.meta, episodes)
    other = own.meta_gradient(plain.built.meta, episodes)
    for name, value in one.gradient.items():
        torch.testing.assert_close(value, other.gradient[name], **CLOSE)


@every_trained
def test_what_is_saved_answers_the_same_bits_when_it_is_loaded(learner, task, tmp_path):
    own = law(learner, task)
    meta = {name: value.float() + 0.01 for name, value in own.built.meta.items()}
    file = tmp_path / "x.safetensors"
    save(file, Checkpoint(meta, {}, Progress(), asdict(own.config), own.built.state))
    fresh = build_task(own.config)
    again = build(own.config, fresh, own.splits["train"], "cpu", load(file), file=file)
    assert {name: value.tolist() for name, value in again.meta.items()} == {
        name: value.tolist() for name, value in meta.items()
    }
    drawn = own.drawn()
    again.learner.model.double()
    as_doubles = {name: value.double() for name, value in again.meta.items()}
    loaded = Law(fresh, replace(again, meta=as_doubles), own.config, own.splits)
    support, query = drawn.support, drawn.query
    expected = own.outputs(own.read(support, drawn), own.read(query, drawn), as_doubles)
    found = loaded.outputs(loaded.read(support, drawn), loaded.read(query, drawn))
    assert expected.tolist() == found.tolist()
