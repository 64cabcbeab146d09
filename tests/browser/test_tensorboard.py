"""Every page of TensorBoard over real runs, as a browser shows it, against the runs' own reports."""

import base64
import io
import json
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from browser.boards import FINISHED, RUNS, SEEDS, WAIT, needs_browser, opened, photographed, report_of, seen, settled
from utils.drawing.confusion_image import draw_matrix
from utils.metrics.reliability import Reliability
from utils.runs.probability_views import draw_calibration

pytestmark = needs_browser
GROUP = "seeds/small"
LAST = "with_best_weights/test_loss"  # which a run writes at its end

# The pages, by TensorBoard's names of them, and the texts that each shows once it is drawn, beside the names of the runs.
PAGES = {
    "timeseries": ["test/confusion_matrix", "Step 20", GROUP],
    "scalars": ["train/loss", "train/lr", "train/tokens_per_second", "train_epoch/accuracy", GROUP],
    "custom_scalars": ["loss", "accuracy", "learning rate", "throughput", GROUP],
    "images": ["test/confusion_matrix", "valid/confusion_matrix", "test/calibration"],
    "pr_curves": ["test/pr/chess", "test/pr/cooking", "test/pr/sailing"],
    "text": ["test/mistakes/text_summary", "step 20"],
    "hparams": ["model.hidden_size", "optimizer.lr", "with_best_weights/test_accuracy"],
}
EMPTY = re.compile(r"^\s*(No .* (was|were) found\.?|No dashboards are active.*)\s*$")


@pytest.fixture(scope="module")
def board(runs: Path) -> Iterator[str]:
    """TensorBoard, once it has read the runs."""
    with opened(runs) as address:
        deadline = time.monotonic() + WAIT / 1000
        while time.monotonic() < deadline:
            tags = json.load(urllib.request.urlopen(f"{address}data/plugin/scalars/tags", timeout=60))
            if {*RUNS, GROUP} <= set(tags) and all(LAST in tags[name] for name in FINISHED):
                break
            time.sleep(0.1)
        yield address


def show(page: Any, board: str, name: str) -> None:
    """Open a page of TensorBoard, and wait until it is drawn."""
    page.goto(f"{board}#{name}")
    for text in [*PAGES[name], *RUNS]:
        seen(page, text).first.wait_for()


def fetched(page: Any, path: str) -> Any:
    """An answer of TensorBoard's own interface, asked from inside the page."""
    return page.evaluate("path => fetch(path).then(answer => answer.json())", f"/{path}")


def points(page: Any, run: str, tag: str) -> list[tuple[int, float]]:
    found = fetched(page, f"data/plugin/scalars/scalars?run={quote(run, '')}&tag={quote(tag, '')}")
    return [(step, value) for _, step, value in found]


def lines_of(runs: Path, name: str, file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (runs / name / file).read_text().splitlines()]


def validations(runs: Path, name: str) -> list[dict[str, Any]]:
    return [line for line in lines_of(runs, name, "metrics.jsonl") if line["split"] == "valid"]


@pytest.mark.parametrize("name", PAGES)
def test_the_page_shows_the_runs_and_no_error(page: Any, board: str, name: str) -> None:
    show(page, board, name)
    chosen = page.locator("[role=tab][aria-selected=true]").first.inner_text()
    assert chosen.casefold() == fetched(page, "data/plugins_listing")[name]["tab_name"].casefold()
    page.wait_for_load_state("networkidle")
    assert page.get_by_text(EMPTY).locator("visible=true").all_inner_texts() == []
    photographed(page, name)


def test_every_page_with_data_is_tested(page: Any, board: str) -> None:
    page.goto(f"{board}data/runs")  # of the same origin, and quick
    listing = fetched(page, "data/plugins_listing")
    assert {name for name, plugin in listing.items() if plugin["enabled"]} == set(PAGES)
    assert set(fetched(page, "data/runs")) == {*RUNS, GROUP, "seeds/columns"}, "names of folders, without a suffix"


def test_scalars_are_those_of_the_report(page: Any, board: str, runs: Path) -> None:
    page.goto(f"{board}data/runs")  # of the same origin, and quick
    for name in FINISHED:
        report, logged = report_of(runs, name), validations(runs, name)
        for split in ("valid", "test"):
            for metric in ("loss", "accuracy", "macro_f1"):
                (point,) = points(page, name, f"with_best_weights/{split}_{metric}")
                assert point == (20, pytest.approx(report[split][metric], rel=1e-6))
        assert [line["step"] for line in logged] == [5, 10, 15, 20]
        expected = [(line["step"], pytest.approx(line["loss"], rel=1e-6)) for line in logged]
        assert points(page, name, "valid/loss") == expected


def test_the_band_of_the_seeds_is_drawn_with_their_values(page: Any, board: str, runs: Path) -> None:
    show(page, board, "custom_scalars")
    number = (
        len(RUNS) + 1
    )  # a line for each run and the mean; of what training logs, one less where the stopped run has not come to it
    of_training = number - (not any(line["split"] == "train" for line in lines_of(runs, "unfinished", "metrics.jsonl")))
    matches = {
        "loss": number + of_training,
        "accuracy": number,
        "learning rate": of_training,
        "throughput": of_training,
    }
    for title, number in matches.items():
        card = page.locator("tf-custom-scalar-multi-line-chart-card").filter(has=page.get_by_text(title, exact=True))
        card.get_by_text(f"Matches ({number})").wait_for()
        card.locator("path.line[d^=M]").first.wait_for(state="attached")
    for metric in ("loss", "accuracy"):
        values = np.array([[line[metric] for line in validations(runs, name)] for name in SEEDS])
        kinds = {"valid": values.mean(axis=0), "valid_low": values.min(axis=0), "valid_high": values.max(axis=0)}
        for kind, expected in kinds.items():
            found = [value for _, value in points(page, GROUP, f"{kind}/{metric}")]
            assert found == pytest.approx(expected.tolist(), rel=1e-6)
        card = page.locator("tf-custom-scalar-margin-chart-card").filter(has_text=f"{metric}, seeds")
        card.scroll_into_view_if_needed()
        card.locator("path.area[d^=M]").first.wait_for()
    photographed(page, "seed_band")


# [y, x, text] of each cell that is on the screen
CELLS = """cells => cells.map(cell => [cell.getBoundingClientRect(), cell.innerText.trim()])
    .filter(([box, text]) => box.height > 0 && text).map(([box, text]) => [Math.round(box.y), Math.round(box.x), text])"""


def table_of(page: Any) -> dict[str, dict[str, float]]:
    """The table of the page HPARAMS: for each run the numbers in its row, by the heads of their columns."""
    cells = page.locator("vaadin-grid-cell-content").evaluate_all(CELLS)
    names = {y: text for y, _, text in cells if text in RUNS}
    heads = {x: text for y, x, text in cells if y < min(names, default=0)}
    rows: dict[str, dict[str, float]] = {name: {} for name in names.values()}
    for y, x, text in cells:
        if y in names and text not in RUNS:
            rows[names[y]][heads[x]] = float(text)
    return rows


def test_hparams_is_the_table_of_the_reports(page: Any, board: str, runs: Path) -> None:
    show(page, board, "hparams")
    expected = {}
    for name in RUNS:
        row = {
            "model.hidden_size": 24 if name == "wide" else 12,
            "optimizer.lr": 0.02 if name == "unfinished" else 0.05,
            "seed": int(name[-1]) if name in SEEDS else 1,
        }
        if name in FINISHED:
            results = report_of(runs, name)["test"]
            row |= {f"with_best_weights/test_{key}": results[key] for key in ("loss", "accuracy", "macro_f1")}
        expected[name] = pytest.approx(row, rel=1e-4)
    assert settled(page, lambda: table_of(page), expected) == expected, "no run is hidden"


BYTES = """url => fetch(url).then(answer => answer.arrayBuffer())
    .then(bytes => btoa(String.fromCharCode(...new Uint8Array(bytes))))"""


def test_images_are_the_confusion_matrices_and_calibrations(page: Any, board: str, runs: Path) -> None:
    show(page, board, "images")
    reports = [report_of(runs, name)[split] for split in ("test", "valid") for name in FINISHED]
    expected = [draw_matrix(**report["confusion_matrix"]).tobytes() for report in reports]
    answers = [lines_of(runs, name, "predictions.jsonl") for name in FINISHED]
    expected += [draw_calibration(Reliability.of(lines)).tobytes() for lines in answers]
    images = page.locator("tf-image-loader img")
    assert settled(page, images.count, len(expected)) == len(expected)
    shown = []
    for image in images.all():
        found = Image.open(io.BytesIO(base64.b64decode(page.evaluate(BYTES, image.get_attribute("src")))))
        shown.append(found.convert("RGB").tobytes())
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == found.width
    assert sorted(shown) == sorted(expected)


def test_texts_are_the_surest_mistakes_of_the_predictions(page: Any, board: str, runs: Path) -> None:
    show(page, board, "text")
    expected, num_without = [], 0
    for name in FINISHED:
        wrong = [line for line in lines_of(runs, name, "predictions.jsonl") if line["gold"] != line["predicted"]]
        num_without += not wrong
        for line in sorted(wrong, key=lambda line: -max(line["probabilities"].values()))[:20]:
            confidence = f"{max(line['probabilities'].values()):.4f}"
            text = f"{line['title']} / {line['text']}"
            expected.append([line["id"], line["gold"], line["predicted"], confidence, text])
    rows = page.locator("table table > tbody > tr")  # the outer table is TensorBoard's own
    cells = "rows => rows.map(row => [...row.cells].map(cell => cell.textContent.trim()))"
    assert settled(page, lambda: sorted(rows.evaluate_all(cells)), sorted(expected)) == sorted(expected)
    assert settled(page, seen(page, "no mistakes").count, num_without) == num_without
