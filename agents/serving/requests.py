"""Requests: the body read within limits, and each of its keys checked. What cannot be used is refused with an HTTP status."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from agents.serving.served_run import Kind, ServedRun
from datasets.rows.records import Record, Skipped
from utils.errors import counted
from utils.files import strict_json

SURROGATE = re.compile("[\ud800-\udfff]")
DISCARDED = 64  # times body_bytes of a body that is too large are read, so that its sender gets to read the refusal


class Refused(Exception):
    """A request that is not answered: an HTTP status of 4xx or 503, and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """Of one request: bytes of the body, texts, characters of a text, seconds until its body has arrived."""

    body_bytes: int = 1_000_000
    texts: int = 256
    characters: int = 100_000
    read_seconds: float = 30.0


async def read_body(chunks: AsyncIterator[bytes], limits: Limits) -> dict[str, Any]:
    """The JSON object of a body. Raises Refused: 400 no JSON object, 408 too slow, 413 too large."""
    body, num_bytes = bytearray(), 0
    try:
        async with asyncio.timeout(limits.read_seconds):
            async for chunk in chunks:
                num_bytes += len(chunk)
                if num_bytes <= limits.body_bytes:
                    body += chunk
                elif num_bytes > DISCARDED * limits.body_bytes:
                    break
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {limits.read_seconds:g} s") from None
    if num_bytes > limits.body_bytes:
        raise Refused(413, f"the body has more than {limits.body_bytes:,} bytes")
    try:
        values = strict_json.parse(body.decode(), allow_nan=False)
    except UnicodeDecodeError:
        raise Refused(400, "the body is not UTF-8") from None
    except ValueError as error:
        raise Refused(400, f"the body is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise Refused(400, f"the body must be a JSON object, got {_kind_of(values)}")
    return values


def checked(body: Mapping[str, Any], *required: str, optional: tuple[str, ...] = ()) -> None:
    """Raise Refused (422) for a key that is missing or unknown."""
    known = [*required, *optional]
    if unknown := [key for key in body if key not in known]:
        raise Refused(422, f"there is no key {unknown[0]!r}; known: {', '.join(known)}")
    if missing := [key for key in required if key not in body]:
        raise Refused(422, f"the key {missing[0]!r} is missing")


def run_of(body: Mapping[str, Any], runs: Mapping[str, ServedRun], *kinds: Kind) -> ServedRun:
    """The run that a request names, or the only one. Raises Refused: 404 for an unknown one, 422 for one of another kind."""
    name = body.get("run", next(iter(runs)) if len(runs) == 1 else None)
    if name is None:
        raise Refused(422, f"the key 'run' is missing; this server has {', '.join(runs)}")
    if not isinstance(name, str) or name not in runs:
        raise Refused(404, f"there is no run {name!r}; this server has {', '.join(runs)}")
    if runs[name].kind not in kinds:
        raise Refused(422, f"run {name} does not do this; its kind is {runs[name].kind}, see /runs")
    return runs[name]


def texts_of(body: Mapping[str, Any], run: ServedRun, limits: Limits) -> list[Record]:
    """The records of `text`, or of the list `texts`. Raises Refused: 413 too many or too long, 422 what is no text of the run."""
    if ("text" in body) == ("texts" in body):
        raise Refused(422, "give one of the keys 'text' and 'texts'")
    given = body["texts"] if "texts" in body else [body["text"]]
    if not isinstance(given, list) or not given:
        raise Refused(422, f"'texts' must be a list of one or more texts, got {_kind_of(given)}")
    if len(given) > limits.texts:
        raise Refused(413, f"{counted(len(given), 'text')}, at most {limits.texts:,} in one request")
    places = [f"texts[{i}]" for i in range(len(given))] if "texts" in body else ["text"]
    fields = [fields_of(text, run, place, limits) for text, place in zip(given, places, strict=True)]
    records = run.records(fields)
    for record, place in zip(records, places, strict=True):
        if isinstance(record, Skipped):
            raise Refused(422, f"{place}: {record.problem}")
    return [record for record in records if isinstance(record, Record)]


def fields_of(text: Any, run: ServedRun, place: str, limits: Limits) -> dict[str, str]:
    """A text's fields: an object with each of the run's, or a bare text, which is the last one. Raises Refused: 413, 422."""
    *others, last = run.fields
    if isinstance(text, str) and not run.is_pair:
        text = {**dict.fromkeys(others, ""), last: text}
    if not isinstance(text, dict) or set(text) != set(run.fields):
        given = f"an object with {in_quotes(text)}" if isinstance(text, dict) else _kind_of(text)
        raise Refused(422, f"{place}: must be an object with {in_quotes(run.fields)}, got {given}")
    for field, value in text.items():
        if not isinstance(value, str):
            raise Refused(422, f"{place}: {field!r} must be a string, got {_kind_of(value)}")
        if len(value) > limits.characters:
            raise Refused(413, f"{place}: {len(value):,} characters, at most {limits.characters:,}")
        if SURROGATE.search(value):
            raise Refused(422, f"{place}: half of a surrogate pair, which is not text")
    return {field: text[field] for field in run.fields}


def in_quotes(names: Iterable[str]) -> str:
    """The first names, quoted."""
    return ", ".join(map(repr, islice(names, 10))) or "nothing"


def _kind_of(value: Any) -> str:
    """The type of a JSON value, by JSON's name."""
    names = {dict: "an object", list: "an empty list" if value == [] else "a list", str: "a string", bool: "a boolean"}
    return names.get(type(value), "null" if value is None else "a number")
