"""From a checked configuration to the objects that it names: where the registries are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from metaformer_cli.data.tokenizer import TextTokenizer
from metaformer_cli.episode import Episode, derive_seed
from metaformer_cli.learners.learn2learn_engine import learn2learn_gradient
from metaformer_cli.learners.learner import EpisodeGradient, Learner
from metaformer_cli.learners.maml import MAML, adjoint_gradient
from metaformer_cli.learners.peers import higher_gradient, torchopt_gradient
from metaformer_cli.learners.tfidf import TfIdf
from metaformer_cli.models.encoder import LexicalTextEncoder, TextEncoder
from metaformer_cli.models.heads import CopiedHead, CosineHead, Head, LinearHead, PrototypeHead
from metaformer_cli.models.lexical import ngram_vectors, token_weights
from metaformer_cli.models.model import FewShotModel, Parameters
from metaformer_cli.models.transformer import TransformerEncoder
from metaformer_cli.tasks.classification import CLASSIFICATION
from metaformer_cli.tasks.fewshot_text import EpisodeSampler, TextReader
from metaformer_cli.training.checkpoint import fit, load
from metaformer_cli.training.optimiser import AdamW

ENGINES: dict[str, Callable[[MAML, Parameters, Episode], EpisodeGradient]] = {
    "functional": adjoint_gradient,
    "learn2learn": learn2learn_gradient,
    "higher": higher_gradient,
    "torchopt": torchopt_gradient,
}
GRADIENT_LEARNERS = ("maml", "fomaml")


def build_learner(config: Any, tokenizer: TextTokenizer | None, device: str = "cpu") -> Learner:
    """The learner that `config.learner` names, around the model that `config.model` names.

    Args:
        config: a command's configuration, with `task`, `model`, `learner` and `seed`.
        tokenizer: what the model's tokens come from; None for a learner that reads texts alone.
        device: where its meta-parameters are.
    """
    if config.learner.name not in GRADIENT_LEARNERS:
        return TfIdf()
    assert tokenizer is not None, "a neural learner needs a tokenizer"
    return MAML(
        build_model(config, tokenizer).to(device),
        objective=CLASSIFICATION,
        inner_lr=config.learner.inner_lr,
        inner_steps=config.learner.inner_steps,
        learn_rates=config.learner.learn_rates,
        first_order=config.learner.name == "fomaml",
        episode_gradient=ENGINES[config.learner.engine],
    )


def build_model(config: Any, tokenizer: TextTokenizer) -> FewShotModel:
    """The model that `config.model` names, its parameters drawn from the run's seed."""
    options = asdict(config.model)
    head, lexical_width = options.pop("head"), options.pop("lexical_width")
    del options["name"]
    with torch.random.fork_rng(devices=[]):  # torch's layers draw from its global generator
        torch.manual_seed(derive_seed(config.seed, "model"))
        backbone = TransformerEncoder(
            vocab_size=tokenizer.vocab_size, max_tokens=config.task.max_tokens, **options
        )
        if lexical_width:
            counts = tokenizer.document_frequency, tokenizer.texts
            vectors_VW = ngram_vectors(tokenizer.tokens, *counts, lexical_width)
            encoder: TextEncoder = LexicalTextEncoder(backbone, vectors_VW, token_weights(*counts))
        else:
            encoder = TextEncoder(backbone)
        heads: dict[str, Callable[[], Head]] = {
            "cosine": CosineHead,
            "prototype": lambda: PrototypeHead(width=encoder.width),
            "copied": lambda: CopiedHead(width=encoder.width),
            "linear": lambda: LinearHead(width=encoder.width, ways=config.task.ways),
        }
        return FewShotModel(encoder, heads[head]())


def build_samplers(
    config: Any,
    texts: Mapping[str, Mapping[str, Sequence[str]]],
    tokenizer: TextTokenizer | None,
) -> dict[str, EpisodeSampler]:
    """A sampler for each split in `texts`.

    Training episodes come from the run's seed. All others are the same in every run, so that any
    two learners, and any two seeds, are judged on the same.
    """
    task = config.task
    reader = TextReader(tokenizer, task.max_tokens)
    samplers = {}
    for split, rows in texts.items():
        least = {"min_ways": task.min_ways, "min_shots": task.min_shots} if split == "train" else {}
        samplers[split] = EpisodeSampler(
            rows,
            reader,
            ways=task.ways,
            shots=task.shots,
            queries=task.queries,
            name=split,
            seed=config.seed if split == "train" else 0,
            **least,
        )
    return samplers


def build_optimiser(config: Any, meta: Parameters) -> AdamW:
    """The outer optimiser of `meta`."""
    options = config.train
    return AdamW(
        meta,
        lr=options.lr,
        weight_decay=options.weight_decay,
        clip_norm=options.clip_norm,
        warmup_steps=options.warmup_steps,
        steps=options.steps,
    )


def load_trained(config: Any, file: Path, device: str) -> tuple[Learner, Parameters, TextTokenizer]:
    """A checkpoint's learner, meta-parameters on `device`, and tokenizer.

    Raises:
        ValueError: the checkpoint is damaged, or does not fit the configuration.
    """
    checkpoint = load(file)
    tokenizer = TextTokenizer.from_json(checkpoint.tokenizer)
    learner = build_learner(config, tokenizer, device)
    return learner, fit(checkpoint.meta, learner.initial_parameters(), file), tokenizer


def resolve_device(name: str) -> str:
    """The device to compute on; `auto` is a GPU where there is one.

    Raises:
        ValueError: the device is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device={name} is not available here ({reason}); use device=auto"
        ) from None
    return name
