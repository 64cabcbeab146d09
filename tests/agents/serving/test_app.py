"""The endpoints over real runs of every kind: the answers are those of Predictor, Scorer and Generator; bad requests get a line."""

import itertools
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import served
import torch
from served import ask

from agents import load
from agents.explaining.attribution import explain
from agents.language_models.opening import open_scorer
from agents.serving import app as app_module
from agents.serving.app import Door, build_app
from agents.serving.served_run import open_runs
from agents.serving.writing import attention
from agents.translating.generator import Generator

TEXT = "castle the king and hoist the sail slowly"


def test_the_runs_are_described(port: int) -> None:
    found = {run.pop("name"): run for run in ask(port, "/runs")[1]["runs"]}
    labels, fields = ["chess", "cooking", "sailing"], ["title", "text"]
    assert found == {
        "gaps": {"kind": "gaps", "fields": ["text"], "labels": [], "mask": "[MASK]", "words": False},
        "labels": {"kind": "labels", "fields": fields, "labels": labels, "words": True},
        "number": {"kind": "number", "fields": fields, "labels": [], "words": True},
        "pairs": {"kind": "labels", "fields": fields, "labels": labels, "words": True},
        "writer": {"kind": "text", "fields": ["text"], "labels": [], "words": False},
    }
    assert ask(port, "/health")[:2] == (200, {"status": "ok", "waiting": dict.fromkeys(found, 0)})


def test_predictions_are_the_lines_of_predict_with_the_runs_name(port: int, folder: Path) -> None:
    texts = [TEXT, {"title": "boil the rice", "text": "salt the soup"}, "a " * 400]
    expected = load(folder / "labels").predict(texts)
    status, answer, _ = ask(port, "/predict", {"run": "labels", "texts": texts})
    assert (status, answer["run"]) == (200, "labels")
    for line, own in zip(answer["predictions"], expected, strict=True):
        assert line.pop("run") == "labels"
        assert line.pop("probabilities") == pytest.approx(own.pop("probabilities"), abs=1e-5)
        assert line == own
    (alone,) = ask(port, "/predict", {"run": "labels", "text": TEXT})[1]["predictions"]
    assert alone["text"] == TEXT


@pytest.mark.parametrize("name", ["number", "pairs", "writer"])
def test_other_runs_predict_what_they_do_elsewhere(port: int, folder: Path, name: str) -> None:
    text: Any = {"title": "boil the rice", "text": TEXT}
    if name == "writer":
        text, (expected,) = TEXT, Generator(folder / name).generate([TEXT])
    else:
        (expected,) = load(folder / name).predict([text])
    (line,) = ask(port, "/predict", {"run": name, "text": text})[1]["predictions"]
    assert line == {"run": name} | {
        key: pytest.approx(value) if key != "truncated" else value for key, value in expected.items()
    }
    assert line["truncated"] == (name == "pairs")  # of the runs, this one alone reads 12 tokens


def test_words_are_scored(port: int, folder: Path) -> None:
    fields = {"title": "", "text": TEXT}
    expected = explain(load(folder / "labels"), fields)
    words = ask(port, "/words", {"run": "labels", "text": TEXT})[1]["words"]
    assert [each["word"] for each in words] == TEXT.split()
    assert [each["score"] for each in words] == pytest.approx([score for *_, score in expected], abs=1e-6)


def test_gaps_are_filled(port: int, folder: Path) -> None:
    text = "castle the [MASK] and hoist the [MASK]"
    gaps = ask(port, "/fill", {"run": "gaps", "text": text})[1]["gaps"]
    expected = open_scorer(str(folder / "gaps"), "cpu", "fill").fill(text)
    assert [[each["token"] for each in gap] for gap in gaps] == [[each["token"] for each in gap] for gap in expected]
    assert gaps[1][0]["probability"] == pytest.approx(expected[1][0]["probability"], abs=1e-6)


def test_a_text_is_written_token_by_token_and_at_last_as_by_generate(port: int, folder: Path) -> None:
    status, content, headers = ask(port, "/generate", {"run": "writer", "text": TEXT})
    *parts, last = [json.loads(line) for line in content.splitlines()]
    assert (status, headers["content-type"]) == (200, "application/x-ndjson")
    (greedy,) = Generator(folder / "writer", beam_size=1).generate([TEXT])
    (own,) = Generator(folder / "writer").generate([TEXT])
    assert len(parts) > 3
    assert parts[-1]["text"] == greedy["predicted"]
    assert all(len(a["text"]) <= len(b["text"]) for a, b in itertools.pairwise(parts))
    assert (last["predicted"], last["truncated"]) == (own["predicted"], own["truncated"])
    assert last["log_probability"] == pytest.approx(own["log_probability"], abs=1e-5)
    weights = np.array(last["attention"]["weights"])
    assert weights.shape == (len(last["attention"]["target"]), len(last["attention"]["source"]))
    assert weights.sum(axis=1) == pytest.approx(1, abs=2e-3)  # each is rounded to 4 digits
    source, target = ("".join(last["attention"][side]).replace("\u0120", "") for side in ("source", "target"))
    assert (source, target) == (f"[CLS]{TEXT}[SEP]".replace(" ", ""), own["predicted"].replace(" ", ""))


def test_attention_is_that_of_the_step_that_chose_the_token(folder: Path) -> None:
    generator = Generator(folder / "writer")
    translator, tokens = generator.translator, generator.source_tokenizer.encode([TEXT])
    ids, mask = map(torch.from_numpy, tokens.pad(np.arange(1)))
    target = list(range(10, 18))  # any tokens that differ
    weights = attention(generator, ids, mask, target)["weights"]
    for step, row in enumerate(weights):
        so_far = torch.tensor([[*translator.start, *target[:step]]])
        expected = translator.model.cross_attention_of(ids, mask, so_far)[-1][0, :, -1].mean(dim=0)
        assert row == pytest.approx(expected.tolist(), abs=1e-4)
    assert len(weights) == len(target) > 5
    assert attention(generator, ids, mask, [])["weights"] == []


def test_too_many_waiting_texts_are_refused_with_a_time_to_come_back(folder: Path) -> None:
    (run,) = open_runs([str(folder / "labels")], "cpu", max_waiting=3).values()
    may_end = threading.Event()
    predict = run.predictor.predict_records
    run.predictor.predict_records = lambda records: may_end.wait(60) and predict(records)  # type: ignore[method-assign]
    with served.in_thread(Door(build_app({"labels": run}))) as port:
        waiting = [
            threading.Thread(target=lambda: found.append(ask(port, "/predict", {"text": TEXT})[0])) for _ in range(3)
        ]
        found: list[int] = []
        for thread in waiting:
            thread.start()
        while ask(port, "/health")[1]["waiting"]["labels"] < 3:
            pass
        for path in ("/predict", "/words"):
            status, answer, headers = ask(port, path, {"text": TEXT})
            assert (status, headers["retry-after"]) == (503, "1")
            assert answer == {"error": "too busy: 3 texts are waiting, at most 3 may"}
        may_end.set()
        for thread in waiting:
            thread.join(60)
        assert found == [200, 200, 200]
        assert ask(port, "/predict", {"text": TEXT})[0] == 200


def test_the_door_lets_in_a_number_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "MAX_REQUESTS", 0)
    with served.in_thread(Door(build_app({}))) as port:
        status, answer, headers = ask(port, "/health")
    assert (status, answer["error"], headers["retry-after"]) == (503, "too busy: 0 requests are being answered", "1")


def test_a_bug_is_said_and_the_next_request_is_answered(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run,) = open_runs([str(folder / "labels")], "cpu").values()
    predict = run.predictor.predict_records
    run.predictor.predict_records = lambda records: 1 / 0  # type: ignore[method-assign]
    door = Door(build_app({"labels": run}))
    with served.in_thread(door) as port:
        assert ask(port, "/predict", {"text": TEXT})[:2] == (500, {"error": "a bug in the server: ZeroDivisionError"})
        run.predictor.predict_records = predict  # type: ignore[method-assign]
        assert ask(port, "/predict", {"text": TEXT})[0] == 200
    assert (door.accepted, door.answered) == (2, 2)
    assert "ZeroDivisionError" in caplog.text  # the server's log has the traceback


def test_pages_ask_no_other_host_and_may_run_no_other_script(port: int) -> None:
    for path in ("/", "/docs", "/page.js"):
        status, content, headers = ask(port, path)
        assert status == 200
        assert "//" not in content.replace("// ", "").replace("data:,", ""), path
        assert headers["content-security-policy"].startswith("default-src 'self';")
    assert "innerHTML" not in ask(port, "/page.js")[1]
    paths = ask(port, "/openapi.json")[1]["paths"]
    assert set(paths) == {"/health", "/runs", "/predict", "/words", "/fill", "/generate"}
    assert all(path in ask(port, "/docs")[1] for path in paths)


def test_runs_of_one_name_are_served_under_their_paths(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "labels").symlink_to(folder / "labels")
    (tmp_path / "other").symlink_to(folder / "labels")
    names = list(open_runs([str(folder / "labels"), str(tmp_path / "labels"), str(folder / "labels")], "cpu"))
    assert names == [str(folder / "labels"), str(tmp_path / "labels")]
    assert list(open_runs([str(tmp_path / "other")], "cpu")) == ["other"]
