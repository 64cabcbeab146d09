"""The schemas of the requests' bodies in /openapi.json, and a page that lists the endpoints without a script."""

from html import escape
from typing import Any

TEXT: dict[str, Any] = {
    "description": "the run's last field, or an object with all of its fields",
    "oneOf": [{"type": "string"}, {"type": "object", "additionalProperties": {"type": "string"}}],
}
RUN = {"type": "string", "description": "a name of /runs; may be left out where there is one"}


def _body(properties: dict[str, Any], *required: str, example: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"run": RUN, **properties}, "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "/predict": (
        "Predict one text, or a list of them: lines as in predictions.jsonl, in order",
        _body({"text": TEXT, "texts": {"type": "array", "items": TEXT}}, example={"texts": ["a text", "another one"]}),
    ),
    "/words": (
        "How much each word speaks for what is predicted: its gradient times its embedding",
        _body({"text": TEXT}, "text", example={"text": "a text"}),
    ),
    "/fill": (
        "The most probable tokens for each gap of a text, of a masked language model",
        _body({"text": {"type": "string"}}, "text", example={"text": "We propose a [MASK] network."}),
    ),
    "/generate": (
        "A text for a text: JSON lines with the text as it grows, the last one with the answer and its cross-attention",
        _body({"text": {"type": "string"}}, "text", example={"text": "Ein Hund rennt."}),
    ),
}


def listing(openapi: dict[str, Any]) -> str:
    """The endpoints of an OpenAPI document as a page."""
    rows = []
    for path, methods in openapi["paths"].items():
        for method, what in methods.items():
            content = what.get("requestBody", {}).get("content", {}).get("application/json", {})
            example = escape(str(content.get("example", ""))).replace("&#x27;", '"')
            rows.append(
                f"<tr><td><code>{method.upper()} {escape(path)}</code><td>{escape(what['summary'])}<td><code>{example}</code>"
            )
    head = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Endpoints</title><link rel="icon" href="data:,">'
    )
    style = "<style>body{font-family:sans-serif;margin:2em}td{padding:.3em 1em;vertical-align:top}</style>"
    table = f"<table><tr><th>endpoint<th>answer<th>body{''.join(rows)}</table>"
    return f'{head}{style}<h1>Endpoints</h1>{table}<p>In full: <a href="/openapi.json">/openapi.json</a></p></html>'
