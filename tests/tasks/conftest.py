"""Labelled texts to draw episodes from."""

from __future__ import annotations

import pytest

from metaformer_cli.data.tokenizer import TextTokenizer
from metaformer_cli.episode import Groups

GROUPS = {
    label: tuple(
        (f"{verb} the {label} {when}",) for verb in ("find", "paint") for when in ("now", "later")
    )
    for label in ("door", "gate", "lamp", "road", "roof", "wall")
}


@pytest.fixture(scope="session")
def groups() -> Groups:
    """Six classes of four texts."""
    return GROUPS


@pytest.fixture(scope="session")
def tokenizer() -> TextTokenizer:
    """One that is trained on these texts."""
    return TextTokenizer.train([text for rows in GROUPS.values() for (text,) in rows], 300)
