"""The HTML report of a comparison, opened as a file: its table and picture against report.json, and no request."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browser.boards import SEEDS, completed, needs_browser, photographed, report_of

pytestmark = needs_browser


@pytest.fixture
def report(page: Any, runs: Path, tmp_path: Path) -> Any:
    """The page of the report."""
    path = tmp_path / "report.html"
    completed(runs.parent, "compare", str(runs), "--format", "html", "--output", str(path))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    assert asked == [path.as_uri()]
    assert page.locator("script, link, img, iframe").count() == 0
    photographed(page, "html_report", is_whole=True)
    return page


def test_the_table_has_the_values_of_the_reports(report: Any, runs: Path) -> None:
    (table,) = report.locator("table").all()
    rows = table.locator("tr").evaluate_all("rows => rows.map(row => [...row.cells].map(cell => cell.innerText))")
    small, wide = (dict(zip(rows[0], row, strict=True)) for row in rows[1:])
    values = [report_of(runs, name)["test"]["accuracy"] for name in SEEDS]
    assert (small["config"], small["runs"], small["hidden_size"]) == ("small", "3", "12")
    assert small["accuracy"] == f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"
    assert (wide["config"], wide["runs"], wide["hidden_size"]) == ("wide", "1", "24")
    assert wide["accuracy"] == f"{report_of(runs, 'wide')['test']['accuracy']:.4f}"
    assert int(wide["parameters"].replace(",", "")) == report_of(runs, "wide")["parameters"]
    for words in ("on the same 24 rows", "experiments/unfinished: unfinished", "5 folders: 4 compared, 1 unfinished"):
        assert report.get_by_text(words).is_visible()


def test_the_picture_has_a_dot_at_each_value(report: Any, runs: Path) -> None:
    (picture,) = report.locator("svg").all()
    assert picture.bounding_box()["height"] > 50
    texts = picture.locator("text").evaluate_all("texts => texts.map(t => [+t.getAttribute('x'), t.textContent])")
    assert [text for _, text in texts[:2]] == ["small", "wide"]
    (left, low), *_, (right, high) = [(x, float(text)) for x, text in texts[2:]]
    places = picture.locator("circle").evaluate_all("dots => dots.map(dot => +dot.getAttribute('cx'))")
    shown = [low + (x - left) / (right - left) * (high - low) for x in places]
    expected = [report_of(runs, name)["test"]["accuracy"] for name in [*SEEDS, "wide"]]
    assert shown == pytest.approx(expected, abs=2e-3 * (high - low))
