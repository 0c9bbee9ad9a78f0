"""A comparison as lines of 80 columns, for a terminal or a pipe."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from metaformer_cli.reports.comparison import Contender, Table, duration, milliseconds

WIDTH = 80  # columns
NAME = 24  # columns of a name, which is cut


def lines(table: Table) -> list[str]:
    """What is compared, the ranking, curves, and what each costs."""
    setting = f" ({table.setting})" if table.setting else ""
    return [
        *_wrapped(f"{table.title}{setting}: {table.lead.name}", "  "),
        *_wrapped(table.asked, "  "),
        *_ranking(table),
        *_curves(table),
        *_costs(table),
        *_parts(table),
    ]


def who(table: Table) -> list[str]:
    """Which runs each name stands for, where the name does not say it."""
    found: list[str] = []
    for own in table.contenders:
        if list(own.runs) != [own.name]:
            found += _wrapped(f"{own.name}: {', '.join(own.runs)}", "  ")
    return found


def _ranking(table: Table) -> list[str]:
    titles = f"rank  {'':{NAME}}  {table.lead.name:<16}  {'paired, to the first':>20}       p"
    found = [titles]
    for place, own in enumerate(table.contenders):
        line = f"{own.rank:4}  {_cut(own.name):{NAME}}  {_score(table, own):<16}"
        if own.behind is not None:
            difference = table.lead.difference(own.behind.mean, own.behind.ci95)
            line += f"  {difference:>20}  {table.told_apart(0, place).holm:6.2g}"
        found.append(line.rstrip())
    return found


def _curves(table: Table) -> list[str]:
    curved = [own for own in table.contenders if own.inner_steps is not None]
    if not curved:
        return []
    found = ["after 0, 1, … inner steps; in brackets, after as many as count:"]
    for own in curved:
        shown = [
            f"[{number}]" if step == own.inner_steps else number
            for step, number in enumerate(map(table.lead.number, own.per_step))
        ]
        found += _wrapped(f"  {_cut(own.name)}: {' '.join(shown)}", "    ")
    return found


def _costs(table: Table) -> list[str]:
    found = [
        f"{'':{NAME}}   sd of calib.  ms to    ms a      trained    training",
        f"{'':{NAME}}   seeds  error  adapt   query   parameters        time",
    ]
    for own in table.contenders:
        spread = "–" if own.seed_sd is None else table.lead.number(own.seed_sd)
        error = "–" if own.reliability is None else f"{own.reliability.error:.1%}"
        found.append(
            f"{_cut(own.name):{NAME}} {spread:>7} {error:>6} {milliseconds(own.adapt_ms):>6} "
            f"{milliseconds(own.query_ms):>7} {own.parameters:>12,} "
            f"{duration(own.training_seconds):>11}"
        )
    return found


def _parts(table: Table) -> list[str]:
    found = []
    for own in table.contenders:
        for part, score in own.parts.items():
            shown = table.lead.show(score.mean, score.ci95)
            found.append(f"{_cut(own.name):{NAME}}  of {part}: {shown}")
    return found


def _score(table: Table, own: Contender) -> str:
    return table.lead.show(own.score.mean, own.score.ci95)


def _cut(name: str) -> str:
    return name if len(name) <= NAME else f"{name[: NAME - 1]}…"


def _wrapped(text: str, indent: str) -> Sequence[str]:
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
