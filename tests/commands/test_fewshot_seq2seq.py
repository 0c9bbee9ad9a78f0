"""Sequences to sequences from the command line: data, train, resume, eval, predict."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file

TINY = [
    *("task=fewshot_seq2seq", "model.width=8", "model.layers=1", "model.heads=2"),
    *("task.shots=2", "task.queries=2", "task.vocab_size=300", "task.max_tokens=12", "seed=1"),
    *("learner.inner_steps=1", "learner.inner_lr=0.1", "train.joint_steps=0", "train.steps=4"),
    *("train.meta_batch=2", "train.warmup_steps=1", "train.log_every=1", "train.eval_every=2"),
    *("train.valid_episodes=2", "device=cpu"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory, metaformer, keeping):
    """A run on invented spelling systems, for reading only."""
    folder = tmp_path_factory.mktemp("seq2seq")
    with keeping(2):
        answer = metaformer("train", *TINY, f"run_dir={folder}/run")
    assert answer.code == 0, answer
    assert "the nearest pair's target" in answer.out
    return folder / "run"


def write(path: Path, *rows: tuple[str, ...]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return [*csv.DictReader(stream)]


def test_a_resumed_run_ends_with_the_same_bytes(run, metaformer, tmp_path):
    copied = Path(shutil.copytree(run, tmp_path / "copied"))
    shutil.copy(run.with_name("earlier.safetensors"), copied / "checkpoints/last.safetensors")
    answer = metaformer("train", f"run_dir={copied}", "resume=true")
    assert answer.code == 0, answer
    for name in ("last.safetensors", "best.safetensors"):
        found, expected = (load_file(folder / "checkpoints" / name) for folder in (copied, run))
        assert found.keys() == expected.keys()
        assert all(found[key].tobytes() == expected[key].tobytes() for key in found)


def test_eval_judges_answers_after_each_step(run, metaformer, tmp_path):
    answer = metaformer("eval", f"ckpt={run}", "eval.episodes=3", f"run_dir={tmp_path}")
    assert answer.code == 0, answer
    assert "symbol_error_rate: " in answer.out
    (report,) = tmp_path.glob("eval-maml-ciphers-test-2shot-*.json")
    scores = json.loads(report.read_text())["scores"]
    assert [*scores] == ["exact_match", "symbol_error_rate", "word_error_rate"]
    exact, words = scores["exact_match"], scores["word_error_rate"]
    assert len(exact["per_step"]) == 2
    assert words["per_step"] == pytest.approx([1 - share for share in exact["per_step"]])


def test_predict_answers_every_source_with_its_best_and_does_so_again(run, metaformer, tmp_path):
    support = write(tmp_path / "s.csv", ("source", "target"), ("ab", "a b"), ("ba", "b a"))
    query = write(tmp_path / "q.csv", ("source", "note"), ("aba", "kept"), ("漢" * 9, "kept"))
    words = [f"ckpt={run}", f"support={support}", f"query={query}", "task.n_best=2"]
    for name in ("first", "second"):
        answer = metaformer("predict", *words, "task.beams=3", f"out={tmp_path}/{name}.csv")
        assert answer.code == 0, answer
    out = tmp_path / "second.csv"
    summary, cut, _ = answer.out.splitlines()
    assert summary == f"2 rows answered, the best of 3 beams, adapted on 2 examples: {out}"
    assert cut.startswith("cut      after 12 tokens: 1 of 4 sources lose ")
    assert out.read_bytes() == (tmp_path / "first.csv").read_bytes()
    for row in rows_of(out):
        assert [*row] == ["source", "note", "predicted", "score", "predicted_2", "score_2"]
        assert 0 > float(row["score"]) >= float(row["score_2"])


def test_predict_refuses_what_it_cannot_answer(run, metaformer, tmp_path):
    support = write(tmp_path / "s.csv", ("source", "target"), ("ab", "a b"))
    query = write(tmp_path / "q.csv", ("source",), ("aba",))
    words = [f"ckpt={run}", f"support={support}", f"query={query}", f"out={tmp_path}/out.csv"]
    answer = metaformer("predict", *words, "task.n_best=5")
    answer.assert_refused("task.n_best=5 is above task.beams=4")
    write(query, ("source", "score"), ("aba", "1"))
    metaformer("predict", *words).assert_refused("a column 'score' is there already")
    write(support, ("source",), ("ab",))
    metaformer("predict", *words).assert_refused("no field 'target'")
    assert not (tmp_path / "out.csv").exists()


def test_data_shows_pairs_and_other_data_are_refused(metaformer):
    answer = metaformer("data", "task=fewshot_seq2seq", "task.shots=2", "task.queries=1")
    assert answer.code == 0, answer
    assert "ciphers: 7,200 rows in 36 languages" in answer.out
    shown = [line for line in answer.out.splitlines() if " -> " in line]
    assert [line.split()[0] for line in shown] == ["support", "support", "query"]
    answer = metaformer("data", "task=fewshot_seq2seq", "data=builtin")
    answer.assert_refused("task=fewshot_seq2seq is about pairs", "data=ciphers|pairs|parallel")


def test_a_source_with_a_folder_of_its_own_is_trained_on(metaformer, tmp_path):
    for name in ("en", "de", "fr", "it"):
        (tmp_path / f"{name}.txt").write_text("".join(f"{name} {n} words\n" for n in range(9)))
    pytest.importorskip("sacrebleu")
    words = [*TINY, "task.scores=translation", "data=parallel", f"data.path={tmp_path}"]
    folder = tmp_path / "run"
    answer = metaformer("train", *words, "data.target=en", f"run_dir={folder}", "train.steps=1")
    assert answer.code == 0, answer
    answer = metaformer("eval", f"ckpt={folder}", "eval.episodes=2", f"run_dir={tmp_path}/eval")
    assert answer.code == 0, answer
    (report,) = (tmp_path / "eval").glob("*.json")
    signatures = json.loads(report.read_text())["signatures"]
    assert signatures["chrf"].startswith("nrefs:1|")
    assert signatures["bleu"].startswith("nrefs:1|")
