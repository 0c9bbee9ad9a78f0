"""The outer loop, on a problem with a closed form."""

from __future__ import annotations

import math
import os
from dataclasses import replace

import pytest
import torch

from metaformer_cli.episode import Objective, Score, derive_seed
from metaformer_cli.tasks.classification import CLASSIFICATION
from metaformer_cli.training.checkpoint import load
from metaformer_cli.training.checkpoint_header import BEST, LAST


def test_training_is_gradient_descent_on_the_mean_of_each_meta_batch(setting):
    progress, meta = setting.train(steps=7, meta_batch=3)
    assert setting.drawn == list(range(21))
    learner = setting.learner
    theirs = {n: torch.nn.Parameter(v) for n, v in learner.initial_parameters().items()}
    reference = torch.optim.AdamW(
        [
            {"params": [theirs["matrix"]], "weight_decay": 0.01},
            {"params": [theirs["vector"]], "weight_decay": 0.0},
        ],
        lr=0.1,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        reference,
        lambda i: (i + 1) / 2 if i < 2 else (1 + math.cos(math.pi * (i - 1) / 5)) / 2,
    )
    for step in range(7):
        centres = [learner.centre(derive_seed(0, "train", step * 3 + i)) for i in range(3)]
        loss = sum((theirs[n] - c[n]).square().sum() / 2 for c in centres for n in theirs) / 3
        reference.zero_grad()
        loss.backward()
        assert setting.lines()[step + step // 2]["loss"] == pytest.approx(loss.item())
        torch.nn.utils.clip_grad_norm_(theirs.values(), 1.0)
        reference.step()
        schedule.step()
    for name, value in meta.items():
        torch.testing.assert_close(value, theirs[name].detach())
    assert progress.step == 7


def test_figures_are_means_since_the_last_log_line_and_validation_comes_with_the_last_step(setting):
    setting.train(steps=5, log_every=2, eval_every=3)
    every_step = setting.lines()
    assert [(line["step"], "valid_accuracy" in line) for line in every_step] == [
        (2, False),
        (3, True),
        (4, False),
        (5, True),
    ]
    assert every_step[1] == {
        "step": 3,
        "valid_accuracy": 0.5,
        "valid_ci95": 0.01,
        "valid_over_untrained": 0.0,
    }
    assert every_step[0].keys() == {"step", "loss", "accuracy", "lr"}
    assert every_step[0]["lr"] == 0.1


@pytest.mark.parametrize("until", [1, 2, 3, 4, 5, 6])
def test_stopped_anywhere_and_resumed_it_ends_with_the_same_bits_and_lines(
    setting, tmp_path, until, bits
):
    straight = type(setting)(tmp_path / "straight")
    options = {"steps": 7, "log_every": 3, "eval_every": 2}
    straight.accuracy = setting.accuracy = lambda meta: float(meta["matrix"].sum())
    expected, whole = straight.train(**options)
    with pytest.raises(InterruptedError):
        setting.train(**options, until=until)
    found, resumed = setting.train(**options, resume=True)
    # the lines depend on the clock
    assert replace(found, figures=[]) == replace(expected, figures=[])
    assert all(bits(whole[name], resumed[name]) for name in whole)
    assert setting.lines() == straight.lines()
    for name in (LAST, BEST):
        one, other = (load(s.folder / "checkpoints" / name) for s in (setting, straight))
        assert all(bits(one.optimiser[n], other.optimiser[n]) for n in one.optimiser)
        assert replace(one.progress, figures=[]) == replace(other.progress, figures=[])


def test_there_is_a_checkpoint_before_the_first_step(setting):
    with pytest.raises(InterruptedError):
        setting.train(steps=5, until=0)
    assert load(setting.folder / "checkpoints" / LAST).progress.step == 0


def test_the_best_checkpoint_is_that_of_the_best_validation(setting):
    accuracies = iter([0.2, 0.3, 0.5, 0.5, 0.4])
    setting.accuracy = lambda _: next(accuracies)
    progress, _ = setting.train(steps=8)
    assert (progress.best, progress.best_step, progress.stale) == (0.5, 4, 2)
    folder = setting.folder / "checkpoints"
    assert load(folder / BEST).progress.step == 4
    assert load(folder / LAST).progress.step == 8
    assert [line for line in setting.said if "best so far" in line] == [
        "step 2: validation 30.0% ± 1.0%, the best so far\n  +10.0 ± 0.0 points over untrained",
        "step 4: validation 50.0% ± 1.0%, the best so far\n  +30.0 ± 0.0 points over untrained",
    ]


def bits_a_byte(*, chance: float | None = None) -> Objective:
    scores = (Score("bpb", unit="bits", lower_is_better=True), Score("other"))
    guessing = None if chance is None else (lambda _: chance)
    return replace(CLASSIFICATION, scores=scores, chance=guessing)


def test_where_less_is_better_the_best_is_the_least(setting):
    setting.objective = bits_a_byte()
    figures = iter([4.0, 3.0, 2.0, 2.5, 2.0])
    setting.accuracy = lambda _: next(figures)
    progress, _ = setting.train(steps=8)
    assert (progress.best, progress.best_step, progress.stale) == (2.0, 4, 2)
    assert load(setting.folder / "checkpoints" / BEST).progress.step == 4
    assert [line for line in setting.said if line.startswith("step ")] == [
        "step 0: validation 4.000 ± 0.010 bits, untrained",
        "step 2: validation 3.000 ± 0.010 bits, the best so far\n  -1.000 ± 0.000 over untrained",
        "step 4: validation 2.000 ± 0.010 bits, the best so far\n  -2.000 ± 0.000 over untrained",
        "step 6: validation 2.500 ± 0.010 bits\n  -1.500 ± 0.000 over untrained",
        "step 8: validation 2.000 ± 0.010 bits\n  -2.000 ± 0.000 over untrained",
    ]


def test_figures_have_the_name_of_the_score_that_leads(setting):
    setting.objective = bits_a_byte()
    setting.train(steps=2)
    training, validation = setting.lines()[1:]
    assert training.keys() == {"step", "loss", "bpb", "lr"}
    assert validation == {
        "step": 2,
        "valid_bpb": 0.5,
        "valid_ci95": 0.01,
        "valid_over_untrained": 0.0,
    }


def test_the_untrained_model_is_validated_first_and_may_stay_the_best(setting):
    figures = iter([0.6, 0.5, 0.4])
    setting.accuracy = lambda _: next(figures)
    setting.others = {"chance": [0.25, 0.25], "strong": [0.55, 0.75]}
    progress, _ = setting.train(steps=4)
    assert (progress.best, progress.best_step, progress.stale) == (0.6, 0, 2)
    assert load(setting.folder / "checkpoints" / BEST).progress.step == 0
    assert setting.said == [
        "step 0: validation 60.0% ± 1.0%, untrained\n  beside it: chance 25.0%, strong 65.0%",
        "step 2: validation 50.0% ± 1.0%\n"
        "  -10.0 ± 0.0 points over untrained, -15.0 ± 19.6 points over strong",
        "step 4: validation 40.0% ± 1.0%\n"
        "  -20.0 ± 0.0 points over untrained, -25.0 ± 19.6 points over strong",
    ]


def test_what_is_compared_with_is_judged_once_however_often_a_run_is_resumed(setting):
    setting.others = {"strong": [0.5, 0.7]}
    setting.train(steps=2)
    setting.others = {"strong": [9.0, 9.0]}
    progress, _ = setting.train(steps=4, resume=True)
    assert progress.others == {"strong": [0.5, 0.7], "untrained": [0.5, 0.5]}


def test_past_the_start_what_is_compared_with_gives_the_start(setting):
    setting.train(steps=2)
    setting.others = {"strong": [0.5, 0.7], "untrained": [0.1, 0.3]}
    setting.forget = True
    progress, _ = setting.train(steps=4, resume=True)
    assert progress.others == setting.others
    assert "step 2: validation 50.0% ± 1.0%, the best so far\n  +30.0" in "\n".join(setting.said)


def test_what_is_kept_is_validated_and_saved_and_training_goes_on_from_what_was_trained(setting):
    straight, whole = setting.train(steps=4)
    setting.folder = setting.folder.with_name("other")
    setting.accuracy = lambda meta: float(meta["vector"][0] == 7) * straight.step
    setting.keep = lambda meta: {name: torch.full_like(value, 7) for name, value in meta.items()}
    progress, meta = setting.train(steps=4)
    assert progress.best == straight.step
    assert all(torch.equal(meta[name], whole[name]) for name in whole)
    best = load(setting.folder / "checkpoints" / BEST)
    assert all((value == 7).all() for value in best.meta.values())
    last = load(setting.folder / "checkpoints" / LAST)
    assert all(torch.equal(last.meta[name], whole[name]) for name in whole)


def test_a_validation_that_overflows_stops_training_and_what_was_trained_is_saved(setting):
    def accuracy(_):
        if len(setting.drawn) == 8:
            raise FloatingPointError("the outputs are not finite")
        return 0.5

    setting.accuracy = accuracy
    with pytest.raises(FloatingPointError) as error:
        setting.train(steps=6)
    path = setting.folder / "checkpoints" / LAST
    assert str(error.value) == (
        f"validation at step 4: the outputs are not finite; what was trained is saved in {path}"
    )
    assert load(path).progress.step == 4


def test_it_stops_when_validation_has_not_improved_for_so_long(setting):
    accuracies = iter([0.2, 0.3, 0.5, 0.4, 0.45, 0.9])
    setting.accuracy = lambda _: next(accuracies)
    progress, _ = setting.train(steps=20, patience=2)
    assert progress.step == 8
    assert setting.said[-1] == (
        "stopped early: the last 2 validations (train.patience) were no better than step 4's"
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_the_episode(
    setting, monkeypatch, bad, bits
):
    original, seed = setting.learner.meta_gradient, derive_seed(0, "train", 7)
    met: dict[str, torch.Tensor] = {}

    def meta_gradient(meta, episodes):
        result = original(meta, episodes)
        for i, episode in enumerate(episodes):
            if episode.seed == seed:
                result.losses[i] = bad
                met.update({name: value.clone() for name, value in meta.items()})
        return result

    monkeypatch.setattr(setting.learner, "meta_gradient", meta_gradient)
    with pytest.raises(FloatingPointError) as error:
        setting.train(steps=9, eval_every=100)
    message = str(error.value)
    assert message.startswith(f"step 4: the loss is {bad} in the episode of seed {seed};")
    assert "learner.inner_lr, train.lr or train.clip_norm" in message
    assert "\n" not in message
    saved = load(setting.folder / "checkpoints" / LAST)
    assert saved.progress.step == 3
    assert all(bits(saved.meta[name], met[name]) for name in met)
    assert [line["step"] for line in setting.lines()] == [1, 2, 3]


def test_a_gradient_that_is_not_finite_stops_before_the_update_and_is_named(setting, monkeypatch):
    original = setting.learner.meta_gradient

    def meta_gradient(meta, episodes):
        result = original(meta, episodes)
        if len(setting.drawn) == 6:
            result.gradient["vector"][1] = math.nan
        return result

    monkeypatch.setattr(setting.learner, "meta_gradient", meta_gradient)
    seeds = f"{derive_seed(0, 'train', 4)}, {derive_seed(0, 'train', 5)}"
    with pytest.raises(FloatingPointError, match=f"step 3: .* of vector is not .* seeds {seeds};"):
        setting.train(steps=9)
    saved = load(setting.folder / "checkpoints" / LAST)
    assert all(value.isfinite().all() for value in saved.meta.values())
    assert saved.progress.step == 2


def test_a_learner_at_chance_is_warned_about_and_one_that_learns_is_not(setting, tmp_path):
    setting.learner.score = lambda episode: [0.0, 0.25, 0.5][episode.seed % 3]
    setting.train(steps=60, meta_batch=4, eval_every=60)
    assert len([line for line in setting.said if line.startswith("warning: step 50")]) == 1
    other = type(setting)(tmp_path / "other")
    other.learner.score = lambda episode: [0.25, 0.5, 0.75][episode.seed % 3]
    other.train(steps=60, meta_batch=4, eval_every=60)
    assert not [line for line in other.said if "warning" in line]


@pytest.mark.parametrize("chance", [None, 4.0])
def test_where_nobody_can_say_what_guessing_scores_there_is_no_warning(setting, chance):
    setting.objective = bits_a_byte(chance=chance)
    setting.learner.score = lambda episode: [3.5, 4.0, 4.5][episode.seed % 3]
    setting.train(steps=60, meta_batch=4, eval_every=60)
    warnings = [line for line in setting.said if line.startswith("warning: step 50")]
    assert len(warnings) == (chance is not None)


def test_more_steps_after_the_end_follow_the_longer_schedule(setting):
    setting.train(steps=4)
    progress, _ = setting.train(steps=8, resume=True)
    assert progress.step == 8
    rates = {line["step"]: line["lr"] for line in setting.lines() if "lr" in line}
    assert rates[4] == pytest.approx(0)
    assert [rates[step] for step in range(5, 9)] == [
        setting.optimiser(setting.learner.initial_parameters(), 8).rate(step)
        for step in range(5, 9)
    ]


def test_on_a_disk_that_fills_up_the_earlier_checkpoint_stays_whole(setting, small_disk):
    filler = small_disk / "filler"

    def fill(_):
        if len(setting.drawn) == 12:  # in the validation of step 6
            with filler.open("wb", buffering=0) as stream:
                while os.statvfs(small_disk).f_bavail:
                    stream.write(b"x" * 1024)
        return 0.5

    setting.folder, setting.accuracy = small_disk / "run", fill
    with pytest.raises(OSError, match="No space left on device"):
        setting.train(steps=8)
    assert load(setting.folder / "checkpoints" / LAST).progress.step == 4
    assert not list((setting.folder / "checkpoints").glob("*.tmp"))
    filler.unlink()
    assert setting.train(steps=8, resume=True)[0].step == 8
    assert [line["step"] for line in setting.lines()] == [1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8, 8]
