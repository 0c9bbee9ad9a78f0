"""Records the losses of short, deterministic runs, which tests/golden compares every change with.

    python scripts/make_golden.py

Run it after a change that is meant to change what is computed, and say so in the change log.
Every option is pinned, so that a new default alone changes nothing; pin new options here too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"
COMMON = [
    *("data=csv", "data.path=texts.csv", "data.splits=splits", "seed=0", "device=cpu"),
    *("task=fewshot_text", "task.ways=3", "task.shots=2", "task.queries=3", "task.min_ways=2"),
    *("task.min_shots=1", "task.vocab_size=320", "task.max_tokens=16"),
    *("model=transformer", "model.width=16", "model.layers=2", "model.heads=2"),
    *("model.dropout=0.1", "model.positions=rotary", "model.norm=pre"),
    *("train.steps=20", "train.meta_batch=2", "train.lr=0.003", "train.rate_lr=0.003"),
    *("train.warmup_steps=5", "train.weight_decay=0.01", "train.clip_norm=1.0"),
    *("train.log_every=1", "train.eval_every=10", "train.valid_episodes=8"),
    "train.patience=null",
]
LEARNER = ["learner.inner_lr=0.1", "learner.inner_steps=2", "learner.engine=functional"]
PLAIN = ["model.lexical_width=0", "model.head=prototype"]
LEXICAL = ["model.lexical_width=64", "model.head=cosine"]
RUNS = {
    "maml": [*PLAIN, "learner=maml", *LEARNER, "learner.learn_rates=true"],
    "fomaml": [*PLAIN, "learner=fomaml", *LEARNER, "learner.learn_rates=false"],
    "lexical": [*LEXICAL, "learner=maml", *LEARNER, "learner.learn_rates=true"],
}


def main() -> None:
    """Write one file a run: its overrides, then its metrics without what the clock decides."""
    for name, own in RUNS.items():
        overrides = [*COMMON, *own]
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            command = [sys.executable, "-m", "metaformer_cli", "train", f"run_dir={run}"]
            subprocess.run([*command, *overrides], check=True, cwd=GOLDEN)
            lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for line in lines:
            line.pop("episodes_per_second", None)
        path = GOLDEN / f"{name}.jsonl"
        path.write_text(
            "".join(json.dumps(line) + "\n" for line in [{"overrides": overrides}, *lines])
        )
        print(f"wrote    {path}")


if __name__ == "__main__":
    main()
