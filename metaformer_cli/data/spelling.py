"""Spellings that a reader takes for the same: of labels and of texts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

MISSING = frozenset({"nan", "nat", "null", "none", "n/a", "<na>", "#n/a"})  # as programs write it


def visible(text: str) -> str:
    """What can be seen of a text: in Unicode's form NFC, without characters that show nothing.

    Such are zero-width spaces and joiners, soft hyphens and byte order marks (category Cf).
    """
    if text.isascii():
        return text
    shown = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFC", shown)


def alike(rows: Mapping[str, int]) -> dict[str, str]:
    """Labels that differ only by case, blanks, invisible characters, NFC and NFD, or `1` and `1.0`.

    Args:
        rows: label -> how many rows it has.

    Returns:
        label -> the more frequent spelling of it, where it is another; of equally frequent ones
        the first that hides nothing.
    """
    chosen: dict[str, str] = {}
    keys = {label: _key(label) for label in rows}
    for label, key in keys.items():
        best = chosen.setdefault(key, label)
        if (rows[label], label == visible(label)) > (rows[best], best == visible(best)):
            chosen[key] = label
    return {label: chosen[key] for label, key in keys.items() if chosen[key] != label}


def quoted(label: str) -> str:
    """The label in quotes, with escapes for what cannot be told apart when it is shown."""
    return repr(label) if label == visible(label) else ascii(label)


def _key(label: str) -> str:
    # once more after the case is folded, which may leave another form
    folded = visible(visible(label).casefold())
    return re.sub(r"^([+-]?\d+)\.0+$", r"\1", " ".join(folded.split()))
