"""The built-in intent corpus: what it promises to those who train on it."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from metaformer_cli.data import builtin
from metaformer_cli.data.builtin import intents, splits

FILES = sorted(Path(builtin.__file__).parent.glob("*.yaml"))
DOMAINS = {path.stem for path in FILES} - {"common", "splits"}


def test_it_is_as_large_as_the_readme_says():
    assert len(FILES) == len(DOMAINS) + 2
    assert len(intents()) >= 64
    assert len(DOMAINS) >= 8
    by_domain = Counter(intent.domain for intent in intents().values())
    assert by_domain.keys() == DOMAINS
    assert min(by_domain.values()) >= 5  # enough for 5-way episodes within one domain


@pytest.mark.parametrize("label", intents())
def test_an_intent_has_at_least_60_distinct_texts(label):
    texts = intents()[label].texts
    assert 60 <= len(texts) <= builtin.MAX_TEXTS
    assert len(set(texts)) == len(texts)


def test_no_text_belongs_to_two_intents():
    counts = Counter(text for intent in intents().values() for text in intent.texts)
    assert max(counts.values()) == 1


def test_every_text_reads_as_typed_with_nothing_left_to_expand():
    # Lower case, single blanks, no blank before a comma, no bracket, slot or bar.
    words = re.compile(r"[a-z0-9':-]+(,? [a-z0-9':-]+)*")
    texts = [text for intent in intents().values() for text in intent.texts]
    assert [text for text in texts if not words.fullmatch(text)] == []
    # What patterns put together badly: a word twice, two articles, "a" before a vowel. "What is on
    # on monday", a hummed "la la" and "a one time code" are as people write.
    slip = re.compile(
        r"\b(?!on |la |ooh |dum |da )(\w+) \1\b"
        r"|\b(the|a|an|my) (the|a|an|my)\b"
        r"|\ba (?!one )[aeio]"
    )
    assert [text for text in texts if slip.search(text)] == []


def test_patterns_share_an_intent_evenly():
    """Neighbours come from different patterns, so any few texts in a row are of many kinds."""
    for label, intent in intents().items():
        openings = [text.split()[:3] for text in intent.texts]
        alike = sum(one == other for one, other in pairwise(openings))
        assert alike < len(openings) / 10, label


def test_splits_are_disjoint_and_hold_every_intent():
    assert list(splits()) == ["train", "valid", "test"]
    listed = [label for labels in splits().values() for label in labels]
    assert len(set(listed)) == len(listed)
    assert set(listed) == intents().keys()


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_every_domain_is_in_every_split(part):
    assert {intents()[label].domain for label in splits()[part]} == DOMAINS
    share = len(splits()[part]) / len(intents())
    assert share == pytest.approx(0.6 if part == "train" else 0.2, abs=0.05)


def test_another_process_with_another_hash_seed_reads_the_same_corpus():
    code = (
        "import json; from metaformer_cli.data.builtin import intents; "
        "print(json.dumps({label: intent.texts for label, intent in intents().items()}))"
    )
    here = json.dumps({label: intent.texts for label, intent in intents().items()})
    for seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        assert (
            hashlib.sha256(there.strip().encode()).digest()
            == hashlib.sha256(here.encode()).digest()
        )
