"""TensorBoard's pages of a model, which a config asks for: histograms, distributions, graph and projector."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import torch
from conftest import TINY_CONFIG, tiny_rows, write_jsonl

from agents import load
from browser.boards import completed, needs_browser, opened, photographed, seen, settled

pytestmark = needs_browser
OPTIONS = "tensorboard={histograms: 1 epoch, graph: true, projector: true}"
TAG = "weights/head.layers.0.weight"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """experiments/ with one run that logs all of it."""
    place = tmp_path_factory.mktemp("shown")
    write_jsonl(place / "tiny.jsonl", tiny_rows())
    (place / "tiny.yaml").write_text(TINY_CONFIG)
    completed(place, "tiny.yaml", "train.num_epochs=4", "name=shown", OPTIONS)
    return place / "experiments"


@pytest.fixture(scope="module")
def board(shown: Path) -> Iterator[str]:
    with opened(shown) as address:
        yield address


def answers(page: Any, board: str, path: str, expected: Any) -> Any:
    """What TensorBoard's own interface says, once it has read the run."""
    page.goto(f"{board}data/runs")  # of the same origin, and quick
    ask = "path => fetch(path).then(answer => answer.json()).catch(() => null)"
    return settled(page, lambda: expected(page.evaluate(ask, f"/data/plugin/{path}")), True)


@pytest.mark.parametrize(("name", "drawn"), [("histograms", ".histogram path"), ("distributions", "path.area")])
def test_each_parameter_has_its_values(page: Any, board: str, shown: Path, name: str, drawn: str) -> None:
    """All values of a parameter after each epoch are in the bins, the least and the largest at their ends."""
    weights = dict(load(shown / "shown").model.named_parameters())[TAG.removeprefix("weights/")].detach()
    best = json.loads((shown / "shown/report.json").read_text())["best"]["step"]

    def is_right(found: list[Any] | None) -> bool:
        bins = {step: values for _, step, values in found or []}
        if sorted(bins) != [5, 10, 15, 20] or any(
            sum(own[2] for own in each) != weights.numel() for each in bins.values()
        ):
            return False
        ends = torch.tensor([bins[best][0][0], bins[best][-1][1]])
        return bool((ends[0] <= weights.min() + 1e-6) & (weights.max() - 1e-6 <= ends[1]))

    assert answers(page, board, f"histograms/histograms?run=shown&tag={quote(TAG, '')}", is_right)
    page.goto(f"{board}#{name}")
    seen(page, "gradients").first.wait_for()
    seen(page, "shown").first.wait_for()
    page.locator(drawn).first.wait_for(state="attached")
    photographed(page, name)


def test_the_graph_is_drawn(page: Any, board: str) -> None:
    assert answers(page, board, "graphs/info", lambda found: bool((found or {}).get("shown", {}).get("run_graph")))
    page.goto(f"{board}#graphs")
    for node in ("input", "output"):
        page.locator(f"g.node[data-name={node}]").first.wait_for(state="attached")
    seen(page, "Main Graph").first.wait_for()
    graph = page.evaluate("() => fetch('/data/plugin/graphs/graph?run=shown').then(answer => answer.text())")
    for module in ("forward_layers", "embedding", "head"):
        assert module in graph
    photographed(page, "graphs")


def test_the_projector_shows_texts_and_vocabulary(page: Any, board: str, shown: Path) -> None:
    lines = {path.stem: path.read_text().splitlines() for path in (shown / "shown/projector").glob("*.tsv")}
    assert set(lines) == {"test_texts", "vocabulary-encoders.0.embedding", "vocabulary-encoders.1.embedding"}
    num_tokens = load(shown / "shown").artifacts.tokenizer.vocab_size

    def is_right(found: Any) -> bool:
        shapes = {each["tensorName"]: each["tensorShape"] for each in (found or {}).get("embeddings", [])}
        return shapes == {"test_texts": [24, 48], **{key: [num_tokens, 16] for key in set(lines) - {"test_texts"}}}

    assert answers(page, board, "projector/info?run=shown", is_right)
    page.goto(f"{board}#projector")
    assert settled(page, lambda: any("projector_binary" in each.url for each in page.frames), True)
    (projector,) = [each for each in page.frames if "projector_binary" in each.url]
    projector.get_by_text(f"Points: {num_tokens}").first.wait_for()
    projector.get_by_text("Total variance described").first.wait_for()
    photographed(page, "projector")
