"""all-MiniLM-L6-v2 on our own blocks, compiled too, beside the modules of transformers.

    uv run python scripts/encoders.py [head lora all]

Prints the episodes a second of processor time, of FOMAML and MAML, on the same 5-way 5-shot
episodes of the built-in corpus, one thread. The roads take turns, and the fastest of their rounds
counts; compiling, in a round before, does not.
"""

from __future__ import annotations

import json
import random
import sys
import time
from functools import partial

import torch

from metaformer_cli.data.builtin import builtin
from metaformer_cli.data.pretrained_tokenizer import PretrainedTokenizer
from metaformer_cli.episode import Episode, Examples
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.fomaml import FOMAML
from metaformer_cli.learners.gradient import GradientLearner
from metaformer_cli.learners.maml import MAML
from metaformer_cli.models.classifier import Classifier
from metaformer_cli.models.hub import find_minilm
from metaformer_cli.models.minilm import MiniLM
from metaformer_cli.models.packed import pack
from metaformer_cli.models.pretrained import encoder_of
from metaformer_cli.models.pretrained_encoder import PretrainedEncoder
from metaformer_cli.models.weights import Weights
from metaformer_cli.tasks.classification import CLASSIFICATION

WAYS, ROWS, LONGEST, EPISODES, ROUNDS = 5, 5, 64, 2, 3
ROADS = ("transformers", "our blocks", "compiled")


def make_episode(tokenizer: PretrainedTokenizer, seed: int) -> Episode:
    """A random episode: support and query sets of as many rows."""
    rng = random.Random(seed)
    groups = builtin("builtin", 2 * ROWS).split("train", least=WAYS, called=("class", "classes"))
    names = tuple(rng.sample(sorted(groups), WAYS))
    drawn = [rng.sample(groups[name], 2 * ROWS) for name in names]

    def examples(first: int) -> Examples:
        texts = [str(row[0]) for own in drawn for row in own[first : first + ROWS]]
        targets = torch.arange(WAYS).repeat_interleave(ROWS)
        inputs = pack(tokenizer.encode(texts, LONGEST)) | {"classes": torch.arange(WAYS)}
        return Examples(inputs, targets, tuple(zip(texts, targets.tolist(), strict=True)))

    return Episode(examples(0), examples(ROWS), names, seed)


def make_learner(road: str, kind: type[GradientLearner], adapt: str, own: str) -> GradientLearner:
    """A learner from MiniLM's weights."""
    config, weights = json.loads(own)["config.json"], Weights("minilm", find_minilm().folder)
    torch.manual_seed(0)
    ours = partial(encoder_of, max_tokens=LONGEST, longest=None)
    made = PretrainedEncoder if road == "transformers" else ours
    encoder = made(config, weights, pooling="mean", normalize=True)
    engine = Engine(compile=road == "compiled")
    return kind(Classifier(encoder, WAYS), CLASSIFICATION, engine, adapt=adapt)


def main() -> int:
    """Measure, and print a table."""
    torch.set_num_threads(1)
    own = MiniLM.bring(pooling=None, sha256=None)
    tokenizer = PretrainedTokenizer.brought(own)
    episodes = [make_episode(tokenizer, seed) for seed in range(EPISODES)]
    print("| | adapt | " + " | ".join(ROADS) + " |\n" + "|---" * (2 + len(ROADS)) + "|")
    for adapt in sys.argv[1:] or ["head", "lora", "all"]:
        for kind in (FOMAML, MAML):
            learners = {road: make_learner(road, kind, adapt, own) for road in ROADS}
            metas = {road: learner.initial_parameters() for road, learner in learners.items()}
            best = dict.fromkeys(ROADS, float("inf"))
            for attempt in range(ROUNDS + 1):
                for road in ROADS:
                    began = time.process_time()
                    learners[road].meta_gradient(metas[road], episodes)
                    if attempt:
                        best[road] = min(best[road], time.process_time() - began)
            rates = " | ".join(f"{EPISODES / best[road]:.2f}" for road in ROADS)
            print(f"| {kind.__name__} | {adapt} | {rates} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
