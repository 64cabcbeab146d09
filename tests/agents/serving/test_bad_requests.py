"""Requests that cannot be answered: each gets a status and a line, and the next one its answer."""

import http.client
import json
from typing import Any

import pytest
from served import ask

TEXT = "castle the king and hoist the sail slowly"
LABELS = {"run": "labels"}
BAD = [
    ("/predict", b"hello", 400, "the body is no JSON"),
    ("/predict", b"", 400, "the body is no JSON"),
    ("/predict", b'{"text": NaN}', 400, "the body is no JSON: NaN is no JSON"),
    ("/predict", b'{"text": "a", "text": "b"}', 400, "the body is no JSON: a key appears twice"),
    ("/predict", b"\xff\xfe\x00text", 400, "the body is not UTF-8"),
    ("/predict", b"[" * 15_000, 400, "the body is no JSON: nested too deep"),
    ("/predict", b"[]", 400, "must be a JSON object, got an empty list"),
    ("/predict", {}, 422, "the key 'run' is missing; this server has gaps, labels"),
    ("/predict", LABELS, 422, "give one of the keys 'text' and 'texts'"),
    ("/predict", LABELS | {"text": "a", "texts": ["a"]}, 422, "give one of the keys"),
    ("/predict", LABELS | {"text": "a", "lang": "en"}, 422, "there is no key 'lang'; known: run, text, texts"),
    ("/predict", {"run": "nowhere", "text": "a"}, 404, "there is no run 'nowhere'"),
    ("/predict", {"run": ["labels"], "text": "a"}, 404, "there is no run"),
    ("/predict", {"run": "gaps", "text": "a"}, 422, "run gaps does not do this; its kind is gaps"),
    ("/predict", LABELS | {"texts": "a"}, 422, "'texts' must be a list of one or more texts, got a string"),
    ("/predict", LABELS | {"texts": []}, 422, "'texts' must be a list of one or more texts, got an empty list"),
    ("/predict", LABELS | {"texts": ["a", " \n"]}, 422, "texts[1]: no text"),
    ("/predict", LABELS | {"texts": ["a"] * 5}, 413, "5 texts, at most 4 in one request"),
    ("/predict", LABELS | {"text": ""}, 422, "text: no text"),
    ("/predict", LABELS | {"text": None}, 422, "text: must be an object with 'title', 'text', got null"),
    ("/predict", LABELS | {"text": 3}, 422, "got a number"),
    ("/predict", LABELS | {"text": True}, 422, "got a boolean"),
    ("/predict", LABELS | {"text": {"titel": "a", "text": "a"}}, 422, "got an object with 'titel', 'text'"),
    ("/predict", LABELS | {"text": {"text": "a"}}, 422, "must be an object with 'title', 'text'"),
    ("/predict", LABELS | {"text": {"title": 3, "text": "a"}}, 422, "'title' must be a string, got a number"),
    ("/predict", LABELS | {"text": "a\ud800"}, 422, "half of a surrogate pair"),
    ("/predict", LABELS | {"text": "a" * 1001}, 413, "1,001 characters, at most 1,000"),
    ("/predict", LABELS | {"text": "a" * 20_000}, 413, "the body has more than 20,000 bytes"),
    ("/predict", LABELS | {"text": "a" * 10_000_000}, 413, "the body has more than 20,000 bytes"),
    ("/predict", {"run": "pairs", "text": "alone"}, 422, "must be an object with 'title', 'text', got a string"),
    ("/words", {"run": "writer", "text": "a"}, 422, "run writer does not do this; its kind is text"),
    ("/words", LABELS, 422, "the key 'text' is missing"),
    ("/words", LABELS | {"text": ""}, 422, "no text"),
    ("/fill", {"run": "gaps", "text": "no gap"}, 422, "holds no [MASK]"),
    ("/fill", {"run": "gaps", "text": "[MASK] " + "king " * 190}, 422, "is longer than the model's"),
    ("/fill", LABELS | {"text": "[MASK]"}, 422, "its kind is labels"),
    ("/generate", LABELS | {"text": "a"}, 422, "its kind is labels"),
    ("/generate", {"run": "writer", "text": " "}, 422, "no text"),
    ("/nowhere", None, 404, "Not Found; /docs lists what there is"),
    ("/predict/", {}, 404, "Not Found; /docs lists what there is"),
    ("/predict", None, 405, "Method Not Allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status", "words"), BAD, ids=lambda value: str(value)[:40])
def test_a_bad_request_gets_a_status_and_a_line(port: int, path: str, body: Any, status: int, words: str) -> None:
    found, answer, _ = ask(port, path, body)
    assert (found, list(answer)) == (status, ["error"])
    assert words in answer["error"]
    assert "\n" not in answer["error"]
    assert ask(port, "/predict", LABELS | {"text": TEXT})[0] == 200


def test_a_body_that_does_not_arrive_is_given_up(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", "100")
    connection.endheaders(b'{"text":')
    response = connection.getresponse()
    assert (response.status, json.load(response)) == (408, {"error": "the body did not arrive within 1 s"})
    connection.close()
