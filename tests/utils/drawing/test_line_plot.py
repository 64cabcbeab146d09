"""The curves: where the points are, in pixels worked out by hand."""

from xml.etree import ElementTree

import numpy as np
import pytest

from utils.drawing.line_plot import Curve, line_plot


def drawn(*arguments: object, **options: object) -> dict[str, list[ElementTree.Element]]:
    """The elements of a plot by their kind."""
    root = ElementTree.fromstring(line_plot(*arguments, **options))  # type: ignore[arg-type]
    kinds = {child.tag.rpartition("}")[2] for child in root}
    return {kind: root.findall(f"{{*}}{kind}") for kind in kinds}


def pixels(element: ElementTree.Element) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in element.attrib["points"].split()]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("is_log", "xs", "middle"), [(False, (0.0, 1.0, 2.0), 395.0), (True, (1.0, 10.0, 100.0), 395.0)]
)
def test_a_curve_and_its_band(is_log: bool, xs: tuple[float, ...], middle: float) -> None:
    places = [(x, value, value - 1, value + 1) for x, value in zip(xs, (2.0, 4.0, 6.0), strict=True)]
    shapes = drawn("t", [Curve(places, dots=[(xs[1], 1.0)])], {xs[1]: "half"}, is_log=is_log, marks={xs[2]: "end"})
    # 70 to 720 pixels across, and the values 1 to 7 from 380 to 30.
    assert np.allclose(pixels(shapes["polyline"][0]), [(70, 321.7), (middle, 205), (720, 88.3)], atol=0.06)
    band = pixels(shapes["polygon"][0])
    expected = [(70, 263.3), (middle, 146.7), (720, 30), (720, 146.7), (middle, 263.3), (70, 380)]
    assert np.allclose(band, expected, atol=0.06)
    (dot,) = shapes["circle"]
    assert (float(dot.attrib["cx"]), float(dot.attrib["cy"])) == pytest.approx((middle, 380))
    assert shapes["path"][0].attrib["d"].startswith("M720.0,30V380")
    assert [text.text for text in shapes["text"]] == ["half", "1", "4", "7", "end", "t"]


def test_one_point_and_markup() -> None:
    shapes = drawn("a < b", [Curve([(3.0, 1.0, 1.0, 1.0)])], {3.0: "<3>"})
    assert pixels(shapes["polyline"][0]) == [(70.0, 30.0)]
    assert [text.text for text in shapes["text"]] == ["<3>", "1", "a < b"]
