"""From a checked configuration to the objects that it names: where the registries are."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from metaformer_cli.data.pretrained_tokenizer import PretrainedTokenizer
from metaformer_cli.data.tokenizer import TextTokenizer
from metaformer_cli.episode import Episode, derive_seed
from metaformer_cli.learners.engine import Engine
from metaformer_cli.learners.learn2learn_engine import add_learn2learn_gradient
from metaformer_cli.learners.learner import Learner
from metaformer_cli.learners.maml import MAML, AddGradient, add_adjoint_gradient
from metaformer_cli.learners.memory import (
    adapted_count,
    chunk_that_fits,
    episode_bytes,
    resident_bytes,
)
from metaformer_cli.learners.peers import add_higher_gradient, add_torchopt_gradient
from metaformer_cli.learners.tfidf import TfIdf
from metaformer_cli.models.encoder import LexicalTextEncoder, TextEncoder
from metaformer_cli.models.heads import CopiedHead, CosineHead, Head, LinearHead, PrototypeHead
from metaformer_cli.models.lexical import ngram_vectors, token_weights
from metaformer_cli.models.lora import add_lora
from metaformer_cli.models.model import FewShotModel, Parameters, strip
from metaformer_cli.models.pretrained import PretrainedEncoder
from metaformer_cli.models.transformer import TransformerEncoder
from metaformer_cli.tasks.classification import CLASSIFICATION
from metaformer_cli.tasks.fewshot_text import EpisodeSampler, TextReader
from metaformer_cli.training.checkpoint import fit, load
from metaformer_cli.training.launch import ALONE, Place
from metaformer_cli.training.optimiser import AdamW

ENGINES: Mapping[str, AddGradient] = {
    "functional": add_adjoint_gradient,
    "learn2learn": add_learn2learn_gradient,
    "higher": add_higher_gradient,
    "torchopt": add_torchopt_gradient,
}
GRADIENT_LEARNERS = ("maml", "fomaml")
Tokenizer = TextTokenizer | PretrainedTokenizer


def build_tokenizer(config: Any, texts: Iterable[str]) -> Tokenizer:
    """A pretrained model's own tokenizer, or one trained on these texts of the training classes."""
    if config.model.name == "pretrained":
        return PretrainedTokenizer.load(config.model.path)
    return TextTokenizer.train(list(texts), config.task.vocab_size)


def restore_tokenizer(config: Any, text: str) -> Tokenizer:
    """The tokenizer that a checkpoint holds.

    Raises:
        ValueError: the text is no such tokenizer.
    """
    kind = PretrainedTokenizer if config.model.name == "pretrained" else TextTokenizer
    return kind.from_json(text)


def build_learner(config: Any, tokenizer: Tokenizer | None, device: str = "cpu") -> Learner:
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
        engine=build_engine(config),
        add_gradient=ENGINES[config.learner.engine],
    )


def build_engine(config: Any) -> Engine:
    """How `config.engine` and `config.learner.chunk` say that inner loops are run.

    Raises:
        ValueError: this cannot be compiled.
    """
    options, chunk = config.engine, config.learner.chunk or 1
    if options.compile and chunk > 1:
        raise ValueError(
            f"engine.compile=true and learner.chunk={chunk}: expected one of the two, since "
            "PyTorch would compile mapped steps for each length anew; leave one out"
        )
    if options.compile and config.model.name == "pretrained":
        raise ValueError(
            "engine.compile=true: expected model=transformer, since PyTorch's compiler does not "
            "follow the pretrained encoders' code; leave engine.compile out"
        )
    torch.backends.cuda.matmul.fp32_precision = "tf32" if options.precision == "tf32" else "ieee"
    return Engine(
        chunk=chunk,
        compile=options.compile,
        precision=options.precision,
        kept_steps=options.kept_steps,
    )


def fit_to_memory(config: Any, learner: Any, meta: Parameters, episode: Episode) -> str:
    """Choose how many episodes run as one, where nobody has; say what training will take.

    On a CPU, and compiled, one by one. On a GPU, whose kernels would be small, as many of a
    meta-batch as half of the free memory holds by the estimate.

    Args:
        config: the whole configuration.
        learner: what is trained.
        meta: its meta-parameters.
        episode: one to judge by.
    """
    one, held = episode_bytes(learner, meta, episode), resident_bytes(learner, meta)
    device = episode.support.targets.device
    if config.learner.chunk is None and device.type == "cuda" and not config.engine.compile:
        free, _ = torch.cuda.mem_get_info(device)
        chunk = chunk_that_fits(free // 2 - held, one, config.train.meta_batch)
        learner.use(replace(learner.engine, chunk=chunk))
    count, adapted = sum(map(torch.numel, meta.values())), adapted_count(learner, meta, episode)
    memory = (held + learner.engine.chunk * one) / 1e9
    return f"{count:,} parameters, {adapted:,} adapted in an episode, about {memory:.1g} GB"


def build_model(config: Any, tokenizer: Tokenizer) -> FewShotModel:
    """The model that `config.model` names, its parameters drawn from the run's seed."""
    adapt = config.learner.adapt
    with torch.random.fork_rng(devices=[]):  # torch's layers draw from its global generator
        torch.manual_seed(derive_seed(config.seed, "model"))
        if isinstance(tokenizer, PretrainedTokenizer):
            # LoRA's frozen weights are in no checkpoint
            weights = config.model.path if adapt == "lora" else tokenizer.weights
            encoder: Any = PretrainedEncoder(
                tokenizer.files["config.json"],
                weights=weights,
                pooling=config.model.pooling,
                max_tokens=config.task.max_tokens,
            )
        else:
            encoder = build_encoder(config, tokenizer)
        heads: dict[str, Callable[[], Head]] = {
            "cosine": CosineHead,
            "prototype": lambda: PrototypeHead(width=encoder.width),
            "copied": lambda: CopiedHead(width=encoder.width),
            "linear": lambda: LinearHead(width=encoder.width, ways=config.task.ways),
        }
        if adapt == "lora":
            for value in encoder.parameters():
                value.requires_grad_(False)
            # twice the rank, as is usual: an update of a fixed size whatever the rank
            rank = config.learner.lora_rank
            add_lora(encoder, rank=rank, alpha=2 * rank)
        return FewShotModel(encoder, heads[config.model.head](), adapt=adapt)


def build_encoder(config: Any, tokenizer: TextTokenizer) -> TextEncoder:
    """The encoder of `model=transformer`, untrained."""
    options = asdict(config.model)
    lexical_width = options.pop("lexical_width")
    del options["name"], options["head"]
    backbone = TransformerEncoder(
        vocab_size=tokenizer.vocab_size, max_tokens=config.task.max_tokens, **options
    )
    if not lexical_width:
        return TextEncoder(backbone)
    counts = tokenizer.document_frequency, tokenizer.texts
    vectors_VW = ngram_vectors(tokenizer.tokens, *counts, lexical_width)
    return LexicalTextEncoder(backbone, vectors_VW, token_weights(*counts))


def build_samplers(
    config: Any,
    texts: Mapping[str, Mapping[str, Sequence[str]]],
    tokenizer: Tokenizer | None,
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


def load_trained(config: Any, file: Path, device: str) -> tuple[Learner, Parameters, Tokenizer]:
    """A checkpoint's learner, meta-parameters on `device`, and tokenizer.

    Raises:
        ValueError: the checkpoint is damaged, or does not fit the configuration.
    """
    checkpoint = load(file)
    tokenizer = restore_tokenizer(config, checkpoint.tokenizer)
    learner = build_learner(config, tokenizer, device)
    return learner, fit(checkpoint.meta, learner.initial_parameters(), file), tokenizer


def save_encoder(learner: Any, tokenizer: Any, file: Path, folder: Path) -> None:
    """Write a checkpoint's pretrained encoder and its tokenizer in Hugging Face's layout.

    Args:
        learner: around the model that the checkpoint is of.
        tokenizer: the model's.
        file: the checkpoint.
        folder: where to; what is there is replaced once the new one is whole.

    Raises:
        OSError: it cannot be written.
    """
    meta = fit(load(file).meta, learner.initial_parameters(), file)
    aside = folder.with_name(f".{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    learner.model.encoder.save(aside, strip(meta, "encoder."))
    tokenizer.save(aside)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def resolve_device(name: str, place: Place = ALONE) -> str:
    """The device to compute on; `auto` is a GPU where there is one, and one for each process.

    Raises:
        ValueError: the device is not there, or cannot be shared.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if place.size > 1 and name.startswith("cuda"):
        found = torch.cuda.device_count()
        if name != "cuda" or place.local_rank >= found:
            raise ValueError(
                f"device={name} and {place.size} processes: expected device=cuda and a GPU for "
                f"each, and {found} are here; use device=cpu, or fewer processes"
            )
        name = f"cuda:{place.local_rank}"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device={name} is not available here ({reason}); use device=auto"
        ) from None
    return name
