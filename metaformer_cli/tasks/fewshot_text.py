"""Few-shot text classification: N-way K-shot episodes of labelled texts."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping, Sequence

import torch

from metaformer_cli.data.pretrained_tokenizer import PretrainedTokenizer
from metaformer_cli.data.tokenizer import TextTokenizer
from metaformer_cli.episode import Episode, Examples, derive_seed
from metaformer_cli.tasks.draw import draw
from metaformer_cli.tasks.packing import pack


class TextReader:
    """Texts to examples.

    Args:
        tokenizer: None for learners that read texts alone.
        max_tokens: a text is cut after so many.
    """

    def __init__(
        self, tokenizer: TextTokenizer | PretrainedTokenizer | None, max_tokens: int
    ) -> None:
        self.tokenizer, self.max_tokens = tokenizer, max_tokens
        self._tokens: dict[str, list[int]] = {}  # each text is tokenised once a run

    def read(self, texts: Sequence[str], targets: Sequence[int]) -> Examples:
        """Examples of these texts."""
        inputs = {}
        if self.tokenizer is not None:
            new = [text for text in dict.fromkeys(texts) if text not in self._tokens]
            self._tokens |= zip(new, self.tokenizer.encode(new, self.max_tokens), strict=True)
            inputs = pack([self._tokens[text] for text in texts])
        return Examples(tuple(texts), inputs, torch.tensor(targets))


class EpisodeSampler:
    """Draws the episodes of one split; the same index always gives the same episode.

    Args:
        texts: label to its texts.
        reader: texts to examples.
        ways: classes an episode.
        shots: support examples a class.
        queries: query examples a class.
        name: what the draws are named after, such as the split.
        seed: what they are drawn from.
        min_ways: draw the ways of each episode from [min_ways, ways]; None: always `ways`.
        min_shots: draw the shots of each episode from [min_shots, shots]; None: always `shots`.
    """

    def __init__(
        self,
        texts: Mapping[str, Sequence[str]],
        reader: TextReader,
        *,
        ways: int,
        shots: int,
        queries: int,
        name: str,
        seed: int,
        min_ways: int | None = None,
        min_shots: int | None = None,
    ) -> None:
        self.texts, self.reader = texts, reader
        self.ways, self.shots, self.queries = ways, shots, queries
        self.min_ways, self.min_shots = min_ways or ways, min_shots or shots
        self.name, self.seed = name, seed

    def episode(self, index: int) -> Episode:
        """The episode of this index."""
        seed = derive_seed(self.seed, self.name, index)
        rng = random.Random(seed)
        drawn = draw(
            self.texts,
            ways=rng.randint(self.min_ways, self.ways),
            shots=rng.randint(self.min_shots, self.shots),
            queries=self.queries,
            rng=rng,
        )
        support, query = (
            self.reader.read(*zip(*examples, strict=True))
            for examples in (drawn.support, drawn.query)
        )
        return Episode(support, query, tuple(drawn.classes), seed)


def episodes_sha256(episodes: Iterable[Episode]) -> str:
    """A fingerprint of what the episodes ask: equal for two learners judged on the same ones."""
    digest = hashlib.sha256()
    for episode in episodes:
        content = [
            episode.classes,
            *((part.texts, part.targets.tolist()) for part in (episode.support, episode.query)),
        ]
        digest.update(json.dumps(content, ensure_ascii=False).encode())
    return digest.hexdigest()
