"""`metaformer list`, beside what the registry and the checks of combinations say."""

from __future__ import annotations

import itertools

import pytest

from metaformer_cli.config.build import build
from metaformer_cli.config.combinations import needs_model, partners
from metaformer_cli.config.listing import LISTED, listing, names
from metaformer_cli.config.registry import GROUPS, choice, choices
from metaformer_cli.config.schema import DataCommand, EvalCommand, TrainCommand

ALL = [(group, name) for group in GROUPS for name in choices(group)]


def test_all_names_are_listed_by_group():
    lines = listing([]).partition("\n\n")[0].splitlines()
    shown: dict[str, list[str]] = {}
    group = ""
    for line in lines:
        group = line[:12].strip() or group
        shown.setdefault(group, []).extend(line[12:].rstrip(",").split(", "))
    assert shown == {group: names(group) for group in LISTED}


@pytest.mark.parametrize("group", LISTED)
def test_each_name_of_a_group_is_listed_with_what_it_is(group):
    shown = listing([group])
    for name in names(group):
        (line,) = [line for line in shown.splitlines() if line.split(" ")[0] == f"{group}={name}"]
        place = shown.index(line)
        assert len(" ".join(shown[place:].split()).removeprefix(f"{group}={name}")) > 10


@pytest.mark.parametrize(("group", "name"), ALL)
def test_a_choice_is_listed_with_every_option_its_default_and_its_meaning(group, name):
    words = " ".join(listing([f"{group}={name}"]).split())
    for option in choice(group, name).options.values():
        assert f" {option.key}=" in words
        assert f"{option.values}: {option.doc}" in words


def test_what_an_option_may_be_is_said_in_full():
    words = " ".join(listing(["learner=maml", "model=transformer"]).split())
    assert "learner.inner_lr=null a number or null, above 0: of every inner step" in words
    assert "learner.inner_steps=null a whole number or null, at least 1: gradient steps" in words
    assert "model.norm=pre pre | post: before what a block reads" in words
    assert "model.dropout=0.1 a number, 0 or more and below 1: probability" in words


def fits(**chosen: str) -> bool:
    """Whether a command may be run with these choices, at their defaults."""
    learner = chosen.get("learner")
    trains = learner and choice("learner", learner).declared["trains"]
    command = TrainCommand if trains else EvalCommand if learner else DataCommand
    tree = {}
    for group, name in chosen.items():
        options = choice(group, name).options.values()
        needed = {
            option.key.partition(".")[2]: (option.names or ("x",))[0]
            for option in options
            if option.default == "???"
        }
        tree[group] = {"name": name, **needed}
    try:
        build(tree, command)
    except ValueError:
        return False
    return True


def test_what_goes_together_is_what_may_be_run_together():
    every = [choices(group) for group in ("task", "data", "model", "learner")]
    pairs = set()
    for names_of in itertools.product(*every):
        chosen = dict(zip(("task", "data", "model", "learner"), names_of, strict=True))
        if fits(**chosen):
            if not needs_model(choice("learner", chosen["learner"])):
                del chosen["model"]  # any goes, and none is used
            pairs |= set(itertools.permutations(chosen.items(), 2))
    for group, name in ALL:
        own = choice(group, name)
        for other, found in partners(own).items():
            expected = [one for one in choices(other) if ((group, name), (other, one)) in pairs]
            if group == "model" and other == "learner":
                expected = [one for one in expected if needs_model(choice("learner", one))]
            assert found == expected, (group, name, other)


def test_the_command_of_an_experiment_is_train_or_eval_as_its_learner_trains():
    shown = listing(["experiment"])
    assert "  metaformer train experiment=sinusoid\n" in f"{shown}\n"
    assert "  metaformer eval experiment=clinc150_tfidf\n" in shown
    one = listing(["experiment=sinusoid"])
    assert "\n  - override /task: sinusoid\n" in one


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("lerner", "did you mean learner?"),
        ("learner=mamml", "did you mean maml?"),
        ("model/size=tinny", "did you mean tiny?"),
        ("experiment=sinusoidal", "did you mean sinusoid?"),
        ("model/sizes", "did you mean model/size?"),
    ],
)
def test_an_unknown_name_is_one_line_with_what_was_meant(word, said):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        listing([word])
    assert said in str(refused.value)
    assert "expected" in str(refused.value)
