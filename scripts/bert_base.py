"""Second-order MAML over all parameters of a model of BERT's base size, and the memory it takes.

    uv run python scripts/bert_base.py

Builds a random BERT of 110 M parameters and a tokenizer, and runs `metaformer train` on made-up
texts of 32 tokens: 5-way 1-shot, 3 inner steps, all of the encoder adapted.
"""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS = 2
OPTIONS = [
    "model=pretrained",
    "task.shots=1",
    "task.queries=1",
    "task.max_tokens=32",
    "learner=maml",
    "learner.inner_steps=3",
    "learner.inner_lr=0.01",
    "train.meta_batch=1",
    f"train.steps={STEPS}",
    "train.valid_episodes=2",
]


def make_model(folder: Path, words: list[str]) -> None:
    """Save a random BERT-base and a tokenizer that knows the words."""
    import transformers

    transformers.logging.set_verbosity_error()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = transformers.BertTokenizer(vocab={w: i for i, w in enumerate(special + words)})
    tokenizer.save_pretrained(folder)
    model = transformers.BertModel(transformers.BertConfig(), add_pooling_layer=False)
    print(f"{sum(value.numel() for value in model.parameters()):,} parameters")
    model.save_pretrained(folder)


def make_texts(file: Path, words: list[str]) -> None:
    """Write texts of 30 words, which two special tokens make 32 tokens, in 40 classes."""
    rng = random.Random(0)
    with file.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["text", "label"])
        for label in range(40):
            rows.writerows([" ".join(rng.choices(words, k=30)), label] for _ in range(6))


def main() -> int:
    """Train, and print what it took."""
    words = [f"w{number}" for number in range(2_000)]
    with tempfile.TemporaryDirectory() as place:
        model, texts = Path(place) / "model", Path(place) / "texts.csv"
        make_model(model, words)
        make_texts(texts, words)
        paths = [f"model.path={model}", "data=csv", f"data.path={texts}", f"run_dir={place}/run"]
        command = [sys.executable, "-m", "metaformer_cli", "train", *OPTIONS, *paths]
        began = time.perf_counter()
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        print(
            f"{STEPS} steps, validation and checkpoints in {time.perf_counter() - began:.0f} s; "
            f"peak memory {usage.ru_maxrss * 1024 / 1e9:.1f} GB"
        )
        return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    raise SystemExit(main())
