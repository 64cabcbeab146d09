"""The page of `serve` in a browser: the probabilities, words, gaps and texts that the runs give, and no request to another host."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import served
import small_documents
import small_pairs
from conftest import TINY_CONFIG, tiny_rows, write_jsonl

from agents import load
from agents.explaining.attribution import explain
from agents.language_models.opening import open_scorer
from agents.translating.generator import Generator
from browser.boards import completed, needs_browser, photographed

pytestmark = needs_browser
NAMES = ["labels", "other", "gaps", "writer"]
TITLE, TEXT = "castle the king", "hoist the sail and <b>pin</b> the knight"


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classifiers, a masked language model and a run that writes."""
    place = tmp_path_factory.mktemp("served")
    write_jsonl(place / "tiny.jsonl", tiny_rows())
    (place / "tiny.yaml").write_text(TINY_CONFIG)
    small_documents.write_corpus(place)
    small_pairs.write_pairs(place)
    completed(place, "tiny.yaml", "name=labels")
    completed(place, "tiny.yaml", "name=other", "seed=2")
    completed(place, "documents.yaml", "name=gaps")
    completed(place, "pairs.yaml", "name=writer", "train.num_epochs=1", "generation.min_length=8")
    return place / "experiments"


@pytest.fixture(scope="module")
def address(experiments: Path) -> Iterator[str]:
    with served.process(experiments, *NAMES) as (_, port):
        yield f"http://localhost:{port}"


@pytest.fixture
def opened(page: Any, address: str) -> Any:
    """The page, with its runs."""
    page.goto(address)
    page.locator("#runs input").last.wait_for()
    return page


def choose(page: Any, *names: str) -> None:
    for name in NAMES:
        page.get_by_role("checkbox", name=name, exact=True).set_checked(name in names)


def answered(page: Any, name: str) -> Any:
    """What the page shows of a run, once it has all answers."""
    page.get_by_role("button", name="Predict").click()
    page.locator("#answers:not([aria-busy]) section").first.wait_for()
    assert page.locator(".error").count() == 0, page.locator(".error").all_inner_texts()
    return page.locator(f"section[data-run={name}]")


def bars(section: Any) -> list[tuple[str, float]]:
    lines = section.locator(".bar").evaluate_all(
        "bars => bars.map(bar => [...bar.children].map(each => each.innerText))"
    )
    return [(name, float(value)) for name, _, value in lines]


def test_two_runs_are_shown_side_by_side(opened: Any, experiments: Path) -> None:
    choose(opened, "labels", "other")
    opened.get_by_label("title").fill(TITLE)
    opened.get_by_label("text", exact=True).fill(TEXT)
    for name in ("labels", "other"):
        section, predictor = answered(opened, name), load(experiments / name)
        (line,) = predictor.predict([{"title": TITLE, "text": TEXT}])
        found = bars(section)
        assert dict(found) == pytest.approx(line["probabilities"], abs=6e-5)
        assert [share for _, share in found] == sorted((share for _, share in found), reverse=True)
        widths = section.locator(".bar").evaluate_all("bars => bars.map(bar => bar.querySelector('.fill').offsetWidth / bar.querySelector('.track').offsetWidth)")  # fmt: skip
        assert widths == pytest.approx([share for _, share in found], abs=0.01)
        words, scores = zip(
            *((word, score) for _, word, score in explain(predictor, {"title": TITLE, "text": TEXT})), strict=True
        )
        marks = section.locator("mark")
        assert marks.all_inner_texts() == list(words)  # among them <b>pin</b>, as it was typed
        colours = marks.evaluate_all("marks => marks.map(mark => mark.style.backgroundColor)")
        strongest = max(map(abs, scores))
        for colour, score in zip(colours, scores, strict=True):
            assert colour.startswith("rgba(60, 130, 255" if score > 0 else "rgba(255, 140, 0")
            strength = float(re.findall(r"[\d.]+", colour)[-1])
            assert strength == pytest.approx(0.8 * abs(score) / strongest, abs=0.01)
        assert section.locator("b").count() == 0
    left, right = (opened.locator(f"section[data-run={name}]").bounding_box() for name in ("labels", "other"))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    photographed(opened, "serve_labels", is_whole=True)


def test_gaps_are_filled(opened: Any, experiments: Path) -> None:
    choose(opened, "gaps")
    opened.get_by_label("text", exact=True).fill("castle the [MASK]")
    (gap,) = open_scorer(str(experiments / "gaps"), "cpu", "fill").fill("castle the [MASK]")
    found = bars(answered(opened, "gaps"))
    assert [token for token, _ in found] == [each["token"] for each in gap]
    assert [share for _, share in found] == pytest.approx([each["probability"] for each in gap], abs=6e-5)


def test_a_text_is_written_with_its_cross_attention(opened: Any, experiments: Path) -> None:
    choose(opened, "writer")
    opened.get_by_label("text", exact=True).fill(TEXT)
    opened.evaluate(
        "window.seen = new Set(); new MutationObserver(() => { const text = document.querySelector('.text');"
        " if (text) window.seen.add(text.textContent); }).observe(document, {subtree: true, childList: true, characterData: true})"
    )
    section = answered(opened, "writer")
    (line,) = Generator(experiments / "writer").generate([TEXT])
    assert section.locator(".text").text_content() == line["predicted"]
    assert opened.evaluate("window.seen.size") > 1  # it grew
    rows = section.locator(".attention tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
    )
    assert "".join(row[0] for row in rows[1:]).replace("\u0120", "") == line["predicted"].replace(" ", "")
    for row in rows[1:]:
        assert sum(map(float, row[1:])) == pytest.approx(1, abs=0.005 * len(row))
    photographed(opened, "serve_writer", is_whole=True)


def test_html_in_a_text_is_shown_and_not_run(opened: Any) -> None:
    choose(opened, "labels")
    text = "<img src=x onerror='window.hit = 1'><script>window.hit = 1</script>"
    opened.get_by_label("text", exact=True).fill(text)
    section = answered(opened, "labels")
    assert section.locator(".words").inner_text() == text
    assert section.locator("img, script").count() == 0
    assert opened.evaluate("window.hit") is None


def test_the_endpoints_are_listed(page: Any, address: str) -> None:
    page.goto(f"{address}/docs")
    listed = page.locator("td:first-child").all_inner_texts()
    page.goto(f"{address}/openapi.json")
    paths = json.loads(page.locator("pre").inner_text())["paths"]
    assert listed == [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
