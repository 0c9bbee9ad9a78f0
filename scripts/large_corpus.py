"""Measure what a corpus costs that is too large for memory.

    python scripts/large_corpus.py FOLDER [TOKENS ...]

writes a corpus of so many bytes, which are tokens of `task=fewshot_lm`, to FOLDER (1 million and
100 million, if nothing is said), and prints, each from a process of its own: how long it takes to
be built into arrays and to be opened again, what training holds in memory at most, and how long the
draw of an episode takes (the median). FOLDER holds the texts, and can be deleted.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

GROUPS, WORDS, EPISODES = 100, 20_000, 500


def main() -> None:
    """Write, measure, and print."""
    place = Path(sys.argv[1])
    print("| tokens | built, s | peak | opened, s | draw, bytes | draw, BPE | training, peak |")
    print("|---|---|---|---|---|---|---|")
    for size in map(int, sys.argv[2:] or ("1000000", "100000000")):
        texts = place / str(size)
        if not texts.is_dir():
            write(texts, size)
        with TemporaryDirectory(dir=place) as aside:
            built, opened, bpe = (
                alone(draws, texts, tokens, aside) for tokens in ("bytes", "bytes", "bpe")
            )
            trained = alone(train, texts, aside)
        cells = [f"{built['opened']:.1f}", f"{built['peak']:.0f} MB", f"{opened['opened']:.1f}"]
        cells += [f"{own['draw']:.2f} ms" for own in (opened, bpe)]
        print(f"| {size:,} | {' | '.join(cells)} | {trained['peak']:.0f} MB |", flush=True)


def write(folder: Path, size: int) -> None:
    """A corpus of `GROUPS` files, whose words are as frequent as Zipf's law has it in each."""
    rng = np.random.default_rng(0)
    letters = rng.integers(ord("a"), ord("z") + 1, (WORDS, 10)).astype(np.uint8)
    words = [bytes(own[: 2 + n % 8]).decode() for n, own in enumerate(letters)]
    chances = 1 / np.arange(1, WORDS + 1)
    folder.mkdir(parents=True)
    for group in range(GROUPS):
        own = np.array(words)[rng.permutation(WORDS)]
        drawn = rng.choice(own, size // GROUPS // 5, p=chances / chances.sum())
        text = " ".join(drawn)[: size // GROUPS]
        (folder / f"{group:03}.txt").write_text(text, encoding="utf-8")


def alone(work: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    """What a process of its own measures, and its peak of resident memory in megabytes."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as child:
        return child.submit(measured, work, *arguments).result()


def measured(work: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    """What `work` returns, and the peak."""
    found = work(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**found, "peak": peak / (1e6 if sys.platform == "darwin" else 1e3)}


def draws(texts: Path, tokens: Any, aside: str) -> dict[str, float]:
    """All that is done before training: the data are opened, recorded, and learned from."""
    import torch  # noqa: F401, held by whatever trains

    from metaformer_cli.data.folder import folder
    from metaformer_cli.data.record import Today
    from metaformer_cli.tasks.fewshot_lm import FewShotLanguageModel
    from metaformer_cli.tasks.task import training_sampler

    task = FewShotLanguageModel(tokens=tokens)
    began = time.perf_counter()
    dataset = folder("folder", task.min_rows, path=str(texts), cache_dir=aside)
    opened = time.perf_counter() - began
    Today(dataset).record()
    train = dataset.split("train")
    task.learn(train, "")
    sampler = training_sampler(task, train, 0)
    sampler.episode(EPISODES)
    seconds = []
    for index in range(EPISODES):
        began = time.perf_counter()
        sampler.episode(index)
        seconds.append(time.perf_counter() - began)
    return {"opened": opened, "draw": 1000 * median(seconds)}


def train(texts: Path, aside: str) -> dict[str, float]:
    """Three steps of training by the command."""
    from metaformer_cli.cli import main as metaformer

    sys.argv[1:] = [
        *("train", "task=fewshot_lm", "data=folder", f"data.path={texts}"),
        *(f"data.cache_dir={aside}", f"run_dir={aside}/run"),
        *("train.steps=3", "train.valid_episodes=4", "learner=fomaml"),
    ]
    with redirect_stdout(sys.stderr):
        assert metaformer() == 0, "training failed"
    return {}


if __name__ == "__main__":
    main()
