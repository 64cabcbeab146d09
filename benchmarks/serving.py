"""Requests a second of `serve` with batches and without: python benchmarks/serving.py RUN [SECONDS [ROUNDS]]

RUN: a finished run over texts, such as of configs/bert_minilm.yaml. 50 clients, each with one request at a time on its own
connection, ask for the run's test texts: whole, and their first 12 words. Every answer to a whole text must be the one that the
run's predictions.jsonl has, within 1e-4. The server with --max-batch 64 and the one with --max-batch 1 take turns.
"""

import asyncio
import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from side_by_side import ROOT, header, needs, row

NUM_CLIENTS, NUM_WORDS = 50, 12
BATCHES = (64, 1)


class Load(NamedTuple):
    """What the clients saw: requests a second, and the seconds of each request."""

    per_second: float
    seconds: np.ndarray


class Request(NamedTuple):
    """A request's bytes, and the probabilities that must come back; None where they are not known."""

    content: bytes
    probabilities: dict[str, float] | None


def main(run: Path, seconds: float, rounds: int) -> None:
    """Measure, and print the table."""
    header("without batches", "fastapi", "uvicorn")
    for what, num_words in (("whole texts", None), (f"{NUM_WORDS} words", NUM_WORDS)):
        asked = requests_of(run, num_words)
        found: dict[int, list[Load]] = {size: [] for size in BATCHES}
        for number, size in itertools.product(range(rounds), BATCHES):
            found[size].append(measured(run, size, asked, seconds))
            print(
                f"  {what}, {size}, round {number + 1}: {found[size][-1].per_second:.1f}/s", file=sys.stderr, flush=True
            )
        ours, theirs = ([load.per_second for load in found[size]] for size in BATCHES)
        row(what, ours, theirs, "at least 3", "requests/s")
        for share in (50, 95):
            ours, theirs = ([float(np.percentile(load.seconds, share)) for load in found[size]] for size in BATCHES)
            row(f"{what}, p{share}", ours, theirs, "reported", "s")


def requests_of(run: Path, num_words: int | None) -> list[Request]:
    """A request for each row of the run's test split."""
    made = []
    for line in (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        fields = values.get("fields") or {
            name: value
            for name, value in values.items()
            if name not in ("id", "gold", "predicted", "probabilities", "truncated")
        }
        text = {name: " ".join(value.split()[:num_words]) if num_words else value for name, value in fields.items()}
        body = json.dumps({"text": text if len(text) > 1 else next(iter(text.values()))}).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        made.append(Request(head + body, None if num_words else values["probabilities"]))
    return made


def measured(run: Path, size: int, asked: list[Request], seconds: float) -> Load:
    """The load of a server of its own, after a warm-up."""
    command = [sys.executable, "main.py", "serve", str(run), "--port", "0", "--max-batch", str(size)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline().rpartition(" (")[0].rpartition(":")[2])
        asyncio.run(load(port, asked, seconds / 5))
        return asyncio.run(load(port, asked, seconds))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


async def load(port: int, asked: list[Request], seconds: float) -> Load:
    """All clients for some seconds; those under way at the end are waited for, and count."""
    times: list[float] = []
    numbers, begun = itertools.count(), time.perf_counter()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < begun + seconds:
            request, sent = asked[next(numbers) % len(asked)], time.perf_counter()
            writer.write(request.content)
            check(await answer_of(reader), request)
            times.append(time.perf_counter() - sent)
        writer.close()

    await asyncio.gather(*(client() for _ in range(NUM_CLIENTS)))
    return Load(len(times) / (time.perf_counter() - begun), np.array(times))


async def answer_of(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The line of an answer with status 200."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    assert head.startswith("http/1.1 200"), head
    content = await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
    (line,) = json.loads(content)["predictions"]
    return dict(line)


def check(line: dict[str, Any], request: Request) -> None:
    """End the benchmark where an answer is not that of its text."""
    expected = request.probabilities
    if expected is not None and max(abs(expected[label] - line["probabilities"][label]) for label in expected) > 1e-4:
        raise SystemExit(f"a wrong answer: {line['probabilities']}, and not {expected}")


if __name__ == "__main__":
    needs(__doc__, arguments=1, packages=["fastapi", "uvicorn"])
    folder, *rest = sys.argv[1:]
    seconds, rounds = [*rest, *["20", "3"][len(rest) :]]
    main(Path(folder).absolute(), float(seconds), int(rounds))
