"""Curves with their bands as SVG."""

import html
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

Place = tuple[float, float, float, float]  # x, value, low, high
At = Callable[[float, float], tuple[float, float]]  # from x and a value to pixels
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 70, 40, 30, 40  # of the picture, and its margins
BLUE, ORANGE, GREY = ("#08519c", "#9ecae1"), ("#d94801", "#fdd0a2"), "#666"  # of a line and its band; of the axes


class Curve(NamedTuple):
    """A line through the values, within a band from low to high; dots: further values, as (x, value)."""

    places: Sequence[Place]
    colors: tuple[str, str] = BLUE
    dots: Sequence[tuple[float, float]] = ()


def line_plot(
    title: str,
    curves: Sequence[Curve],
    x_ticks: Mapping[float, str],
    *,
    is_log: bool = False,
    marks: Mapping[float, str] | None = None,
) -> str:
    """The picture. x_ticks: what stands under the axis at some x; is_log: of x; marks: notes at vertical lines."""
    places = [place for curve in curves for place in curve.places]
    low, high = min(place[2] for place in places), max(place[3] for place in places)
    at = _scale([place[0] for place in places], low, high, is_log=is_log)
    shapes = [shape for curve in curves for shape in _shapes_of(curve, at)]
    for x, note in x_ticks.items():
        shapes.append(_text(at(x, low)[0], HEIGHT - 18, note, "middle"))
    for value in dict.fromkeys((low, (low + high) / 2, high)):
        shapes.append(_text(LEFT - 8, at(places[0][0], value)[1], f"{value:.4g}", "end"))
    for x, note in (marks or {}).items():
        left = at(x, low)[0]
        shapes.append(f'<path d="M{left:.1f},{TOP}V{HEIGHT - BOTTOM}" stroke="{GREY}" stroke-dasharray="4"/>')
        shapes.append(_text(left, TOP - 4, note, "middle"))
    shapes.append(_text(LEFT, 12, title, "start"))
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13"'
    background = '<rect width="100%" height="100%" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{background}{"".join(shapes)}</svg>\n'


def _scale(xs: Sequence[float], low: float, high: float, *, is_log: bool) -> At:
    to = math.log if is_log else float
    first, last = to(min(xs)), to(max(xs))
    across, reach = (last - first) or 1.0, (high - low) or 1.0

    def at(x: float, value: float) -> tuple[float, float]:
        left = LEFT + (WIDTH - LEFT - RIGHT) * (to(x) - first) / across
        return left, TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / reach

    return at


def _shapes_of(curve: Curve, at: At) -> list[str]:
    """The band, the line, and the dots."""
    places, (line, band) = curve.places, curve.colors
    around = [at(x, high) for x, _, _, high in places] + [at(x, low) for x, _, low, _ in reversed(places)]
    shapes = [
        f'<polygon points="{_points(around)}" fill="{band}" fill-opacity=".5"/>',
        f'<polyline points="{_points([at(x, value) for x, value, *_ in places])}" fill="none" stroke="{line}" '
        'stroke-width="2"/>',
    ]
    for x, y in (at(*dot) for dot in curve.dots):
        shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{line}" fill-opacity=".6"/>')
    return shapes


def _points(pixels: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{GREY}">{html.escape(text)}</text>'
