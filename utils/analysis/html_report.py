"""Comparisons as one HTML file that needs no other: tables, intervals as a picture, what can be said of each pair."""

import html
import math
import statistics
from collections.abc import Sequence

from utils.analysis.comparing import Comparison
from utils.analysis.tables import header_of, notes_of, rows_of

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.3em .8em;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}svg{max-width:100%}"
)
CAPTION = "A dot is a run, a stroke the mean over seeds, a bar the mean's 95% interval."
WIDTH, LINE, LABEL = 760, 30, 240  # of the picture: a line for each recipe, its name on the left


def as_html(comparisons: Sequence[Comparison], notes: Sequence[str]) -> str:
    """The whole page; notes: what was skipped."""
    parts = [_section(comparison) for comparison in comparisons]
    skipped = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    if skipped:
        parts.append(f"<h2>Not compared</h2><ul>{skipped}</ul>")
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Comparison of runs</title>'
        f"<style>{STYLE}</style></head><body><h1>Comparison of runs</h1>{''.join(parts)}</body></html>\n"
    )


def _section(comparison: Comparison) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header_of(comparison))
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows_of(comparison)
    )
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in notes_of(comparison))
    top = f"<h2>{html.escape(comparison.metric)}</h2>{_picture(comparison)}<p>{CAPTION}</p>"
    return f"{top}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table><ul>{notes}</ul>"


def _picture(comparison: Comparison) -> str:
    """A dot for each seed, a stroke for the mean, and its 95% interval as a bar."""
    values = [group.values(comparison.metric) for group in comparison.groups]
    ends = [value for own in values for value in own]
    ends += [end for spread in comparison.spreads for end in (spread.low, spread.high) if not math.isnan(end)]
    low, high = min(ends), max(ends)
    reach = (high - low) or max(abs(high), 1.0) * 0.01

    def x(value: float) -> float:
        return LABEL + (WIDTH - LABEL - 20) * (value - low + 0.05 * reach) / (1.1 * reach)

    shapes = []
    for i, (group, spread, own) in enumerate(zip(comparison.groups, comparison.spreads, values, strict=True)):
        y = LINE * (i + 1)
        shapes.append(f'<text x="0" y="{y + 5}">{html.escape(group.name[:34])}</text>')
        if not math.isnan(spread.low):
            line = f'x1="{x(spread.low):.1f}" x2="{x(spread.high):.1f}" y1="{y}" y2="{y}"'
            shapes.append(f'<line {line} stroke="#9ecae1" stroke-width="10"/>')
        mean = x(statistics.fmean(own))
        shapes.append(
            f'<line x1="{mean:.1f}" x2="{mean:.1f}" y1="{y - 9}" y2="{y + 9}" stroke="#08306b" stroke-width="2"/>'
        )
        shapes += [f'<circle cx="{x(value):.1f}" cy="{y}" r="4" fill="#08519c" fill-opacity=".6"/>' for value in own]
    bottom = LINE * (len(values) + 1)
    for value in (low, low + reach / 2, low + reach):
        shapes.append(f'<text x="{x(value):.1f}" y="{bottom + 6}" text-anchor="middle" fill="#666">{value:.4g}</text>')
    size = f'viewBox="0 0 {WIDTH} {bottom + 16}" font-family="sans-serif" font-size="13"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(shapes)}</svg>'
