"""A comparison as one HTML page that stands alone: no network, no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from metaformer_cli.reports.comparison import Contender, Table, duration, milliseconds
from metaformer_cli.reports.style import STYLE
from metaformer_cli.reports.svg import COLOURS, Axis, colour, curve, mark, plot, whisker

RULE = (
    "A rank is one more than how many learners are shown to be better: by a paired randomisation "
    "test over the episodes, Holm-corrected for all pairs, at 5%. Intervals are 95%, by Student’s "
    "t over episodes; they say nothing of other seeds, whose spread stands beside them."
)


def page(tables: Sequence[Table]) -> str:
    """The whole page."""
    first = tables[0]
    title = f"{len(first.contenders)} learners on {first.data}"
    body = "".join(map(_section, tables))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main><h1>{escape(title)}</h1><p>{RULE}</p>{_settings(tables)}{body}</main>"
        "</body></html>\n"
    )


def _settings(tables: Sequence[Table]) -> str:
    """Each learner's score in each setting; of one setting, nothing."""
    if len(tables) < 2:
        return ""
    head = "".join(f"<th>{escape(table.setting)}</th>" for table in tables)
    rows = []
    for name in [own.name for own in tables[0].contenders]:
        cells = []
        for table in tables:
            own = next((one for one in table.contenders if one.name == name), None)
            cells.append("<td>–</td>" if own is None else f"<td>{_score(table, own)}</td>")
        rows.append(f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>")
    return (
        "<h2>By setting</h2>"
        f'<div class="wide"><table><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'
    )


def _section(table: Table) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    direction = "lower" if table.lead.lower_is_better else "higher"
    head = table.title if not table.setting else f"{table.title} ({table.setting})"
    return (
        f"<section><h2>{escape(head)}</h2>"
        f"<p>{escape(table.lead.name.capitalize())}, {direction} is better: "
        f"{escape(table.asked)}.</p>"
        f"{f'<ul>{notes}</ul>' if notes else ''}"
        f"{_ranking(table)}{_matrix(table)}{_curves(table)}{_reliability(table)}{_costs(table)}"
        "</section>"
    )


def _ranking(table: Table) -> str:
    """Dots and whiskers, one above the other."""
    ends = [
        end
        for own in table.contenders
        for end in (own.score.mean - own.score.ci95, own.score.mean + own.score.ci95)
    ]
    axis = Axis.around(ends, most=6)
    rows = []
    for place, own in enumerate(table.contenders):
        seeds = "" if own.seed_sd is None else f"sd of seeds {table.lead.number(own.seed_sd)}"
        rows.append(
            f'<div class="rank">{own.rank}</div><div class="name">{_dot(place)}'
            f"{escape(own.name)}</div>"
            f'<div class="score">{_score(table, own)}<small>{seeds}</small></div>'
            f"{whisker(axis, own.score.mean, own.score.ci95, place)}"
        )
    ticks = "".join(
        f'<span style="left:{axis.per_cent(tick):.2f}%">{table.lead.number(tick)}</span>'
        for tick in axis.ticks
    )
    return (
        f'<h3>Ranks</h3><div class="ranking">{"".join(rows)}'
        f'<div class="ticks across">{ticks}</div></div>'
    )


def _matrix(table: Table) -> str:
    """By how much the one of a row differs from that of a column."""
    head = "".join(
        f"<th>{_dot(place)}{escape(own.name)}</th>" for place, own in enumerate(table.contenders)
    )
    rows = []
    for one, own in enumerate(table.contenders):
        cells = [f"<th>{_dot(one)}{escape(own.name)}</th>"]
        for other in range(len(table.contenders)):
            if one == other:
                cells.append("<td></td>")
                continue
            found = table.told_apart(one, other)
            mean = found.mean if found.one == one else 0 - found.mean
            better = table.lead.better(mean, 0)
            kind = ("better" if better else "worse") if found.told_apart else "alike"
            shown = table.lead.difference(mean, found.ci95)
            cells.append(f'<td class="{kind}">{shown}<small>p {found.holm:.2g}</small></td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        "<h3>Paired differences</h3><p>The one of the row less the one of the column, episode by "
        "episode. Grey: not told apart.</p>"
        f'<div class="wide"><table class="matrix"><tr><th></th>{head}</tr>{"".join(rows)}'
        "</table></div>"
    )


def _curves(table: Table) -> str:
    """The score after each inner step."""
    curved = [
        (place, own) for place, own in enumerate(table.contenders) if own.inner_steps is not None
    ]
    if not curved:
        return ""
    longest = max(len(own.per_step) for _, own in curved) - 1
    across = Axis.around([0, longest], most=6)
    across = Axis(0, longest, [tick for tick in across.ticks if tick <= longest and tick % 1 == 0])
    up = Axis.around([value for _, own in curved for value in own.per_step])
    drawn = []
    for place, own in curved:
        drawn.append(curve(across, up, list(enumerate(own.per_step)), place))
        assert own.inner_steps is not None
        counted = own.per_step[own.inner_steps]
        drawn.append(mark(across, up, own.inner_steps, counted, place))
    words = [[f"{tick:.0f}" for tick in across.ticks], list(map(table.lead.number, up.ticks))]
    what = f"{table.lead.name} after 0, 1, … inner steps"
    return (
        f"<h3>{escape(what.capitalize())}</h3>"
        f"<p>Ringed: after as many as count, as in training unless others were given.</p>"
        f"{_legend(curved)}{plot(across, up, ''.join(drawn), title=escape(what), numbers=words)}"
    )


def _reliability(table: Table) -> str:
    """How often answers are right, by how confident they are: a plot each."""
    axis = Axis(0, 1, [0, 0.5, 1])
    words = ["0", "0.5", "1"]
    panels = []
    for place, own in enumerate(table.contenders):
        if own.reliability is None:
            continue
        points = [
            (confidence, accuracy)
            for confidence, accuracy in zip(
                own.reliability.confidence, own.reliability.accuracy, strict=True
            )
            if confidence is not None and accuracy is not None
        ]
        diagonal = '<line class="grid" x1="0" y1="100%" x2="100%" y2="0"/>'
        drawn = diagonal + curve(axis, axis, points, place)
        title = f"reliability of {own.name}"
        panels.append(
            f"<figure><figcaption>{_dot(place)}{escape(own.name)}: calibration error "
            f"{own.reliability.error:.1%}</figcaption>"
            f"{plot(axis, axis, drawn, title=escape(title), numbers=[words, words])}</figure>"
        )
    if not panels:
        return ""
    return (
        "<h3>Calibration</h3><p>The share of right answers (up) by their probability (across), in "
        "15 bins of equal width; on the diagonal, a learner is right as often as it says.</p>"
        f'<div class="panels">{"".join(panels)}</div>'
    )


def _costs(table: Table) -> str:
    rows = []
    for place, own in enumerate(table.contenders):
        outer = "–" if own.outer_steps is None else f"{own.outer_steps:,.0f}"
        inner = "–" if own.inner_steps is None else own.inner_steps
        rows.append(
            f"<tr><th>{_dot(place)}{escape(own.name)}</th><td>{milliseconds(own.adapt_ms)}</td>"
            f"<td>{milliseconds(own.query_ms)}</td><td>{inner}</td><td>{own.parameters:,}</td>"
            f"<td>{outer}</td><td>{duration(own.training_seconds)}</td>"
            f'<td class="runs">{"<br>".join(map(escape, own.runs))}</td></tr>'
        )
    return (
        f"<h3>What they cost</h3><p>Medians on {escape(table.device)}, one episode after another; "
        "training without validation.</p>"
        '<div class="wide"><table><tr><th></th><th>ms to adapt</th><th>ms a query</th>'
        "<th>inner steps</th><th>trained parameters</th><th>outer steps</th><th>training</th>"
        f"<th>judged</th></tr>{''.join(rows)}</table></div>"
    )


def _legend(shown: Sequence[tuple[int, Contender]]) -> str:
    names = "".join(f"<li>{_dot(place)}{escape(own.name)}</li>" for place, own in shown)
    return f'<ul class="legend">{names}</ul>'


def _dot(place: int) -> str:
    filled = "background:" if place < COLOURS else "border:2px dotted "  # and its line is dashed
    return f'<i style="{filled}{colour(place)}"></i>'


def _score(table: Table, own: Contender) -> str:
    return escape(table.lead.show(own.score.mean, own.score.ci95))
