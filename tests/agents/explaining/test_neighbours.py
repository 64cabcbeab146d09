"""The nearest training texts against all similarities computed from the weights, and what happens without the data."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_rows
from explained_runs import folder, opened, record_of, trained

from agents import load
from agents.explaining import neighbours
from agents.explaining.neighbours import nearest
from utils.errors import DataError


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder())


@pytest.mark.parametrize("chunk", [7, 1024])
def test_the_nearest_are_those_of_the_smallest_angle(place: None, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Of a bag of embeddings a text's vector is the mean of its words' embeddings: all cosines by hand."""
    monkeypatch.setattr(neighbours, "CHUNK", chunk)
    predictor = opened("several labels")
    corpus, tokenizer = predictor.corpus, predictor.artifacts.tokenizer
    table = predictor.model.state_dict()["encoders.0.embedding.weight"].double().numpy()
    training = list(corpus.records("train", corpus.scan().rows["train"]))
    texts = [record.texts[0] for record in training]
    queries = ["salt the soup", texts[5], "castle the king with care"]

    def vector(text: str) -> np.ndarray:
        mean = table[tokenizer.encode([text]).ids].mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean))

    found = nearest(predictor, [record_of(predictor, text) for text in queries], 4)
    for text, lines in zip(queries, found, strict=True):
        cosines = np.array([vector(text) @ vector(other) for other in texts])
        best = np.argsort(-cosines, kind="stable")[:4]
        assert [line["similarity"] for line in lines] == pytest.approx(cosines[best].tolist(), abs=1e-5)
        assert lines[0]["text"] == texts[best[0]]
        assert lines[0]["gold"] == list(training[best[0]].labels or ())
    assert found[1][0]["text"] == texts[5]
    assert found[1][0]["similarity"] == pytest.approx(1, abs=1e-5)


def test_changed_data_is_said_and_missing_data_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(trained("several labels"), tmp_path / "experiments" / "x")
    shutil.copy(folder() / "tiny.jsonl", tmp_path)
    monkeypatch.chdir(tmp_path)
    try:
        predictor = load("experiments/x")
        record = record_of(predictor, tiny_rows()[0]["text"])
        logging.getLogger("glassbox").addHandler(caplog.handler)
        with Path("tiny.jsonl").open("a") as file:
            file.write('{"text": "a new row", "label": "chess"}\n')
        assert len(nearest(predictor, [record], 2)[0]) == 2
        assert "the data has changed since experiments/x was trained" in caplog.text
        Path("tiny.jsonl").unlink()
        with pytest.raises(DataError, match=r"tiny\.jsonl"):
            nearest(predictor, [record], 2)
    finally:
        logging.getLogger("glassbox").removeHandler(caplog.handler)
