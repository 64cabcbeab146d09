"""Comparisons as one HTML file that needs no other: tables, intervals as a picture, what can be said of each pair."""

import html
import math
from collections.abc import Sequence

from utils.analysis.comparing import Comparison
from utils.analysis.tables import header_of, notes_of, rows_of
from utils.drawing.html_page import bullets, page, table

CAPTION = "A dot is a run, a stroke the mean over seeds, a bar the mean's 95% interval."
WIDTH, LINE, LABEL = 760, 30, 240  # of the picture: a line for each recipe, its name on the left


def as_html(comparisons: Sequence[Comparison], notes: Sequence[str]) -> str:
    """The whole page; notes: what was skipped."""
    parts = [_section(comparison) for comparison in comparisons]
    if notes:
        parts.append(f"<h2>Not compared</h2>{bullets(notes)}")
    return page("Comparison of runs", "".join(parts))


def _section(comparison: Comparison) -> str:
    lines = [
        (group.name, group.values(comparison.metric), (spread.mean, spread.low, spread.high))
        for group, spread in zip(comparison.groups, comparison.spreads, strict=True)
    ]
    top = f"<h2>{html.escape(comparison.metric)}</h2>{dots(lines)}<p>{CAPTION}</p>"
    return f"{top}{table(header_of(comparison), rows_of(comparison))}{bullets(notes_of(comparison))}"


def dots(lines: Sequence[tuple[str, Sequence[float], tuple[float, float, float]]]) -> str:
    """A picture of lines, each a name, single values as dots, and (value, low, high) as a stroke with its interval as a bar."""
    ends = [end for _, values, spread in lines for end in (*values, *spread) if not math.isnan(end)]
    low, high = min(ends), max(ends)
    reach = (high - low) or max(abs(high), 1.0) * 0.01

    def x(value: float) -> float:
        return LABEL + (WIDTH - LABEL - 20) * (value - low + 0.05 * reach) / (1.1 * reach)

    shapes = []
    for i, (name, values, (mean, least, most)) in enumerate(lines):
        y = LINE * (i + 1)
        shapes.append(f'<text x="0" y="{y + 5}">{html.escape(name[:34])}</text>')
        if not math.isnan(least):
            line = f'x1="{x(least):.1f}" x2="{x(most):.1f}" y1="{y}" y2="{y}"'
            shapes.append(f'<line {line} stroke="#9ecae1" stroke-width="10"/>')
        at = f'x1="{x(mean):.1f}" x2="{x(mean):.1f}" y1="{y - 9}" y2="{y + 9}"'
        shapes.append(f'<line {at} stroke="#08306b" stroke-width="2"/>')
        shapes += [f'<circle cx="{x(v):.1f}" cy="{y}" r="4" fill="#08519c" fill-opacity=".6"/>' for v in values]
    bottom = LINE * (len(lines) + 1)
    for value in (low, low + reach / 2, low + reach):
        shapes.append(f'<text x="{x(value):.1f}" y="{bottom + 6}" text-anchor="middle" fill="#666">{value:.4g}</text>')
    size = f'viewBox="0 0 {WIDTH} {bottom + 16}" font-family="sans-serif" font-size="13"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(shapes)}</svg>'
