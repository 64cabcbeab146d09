"""A server for the tests of `serve`: in a thread of this process, or as a user starts it; and how it is asked."""

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import ROOT


@contextmanager
def in_thread(app: Any) -> Iterator[int]:
    """The application behind a port of this machine; -> the port."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, http="h11", log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(timeout=60)


def start(place: Path, *words: str, **options: Any) -> tuple["subprocess.Popen[str]", int]:
    """`python main.py serve WORDS --port 0` as a user starts it; -> the process and its port, or 0 where it has ended."""
    command = [sys.executable, str(ROOT / "main.py"), "serve", *words, "--port", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    return process, int(line.rpartition(" (")[0].rpartition(":")[2]) if line else 0


@contextmanager
def process(place: Path, *words: str, **options: Any) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A server that is killed at the end, where it has not ended by then."""
    server, port = start(place, *words, **options)
    try:
        assert port, server.stderr and server.stderr.read()
        yield server, port
    finally:
        server.kill()
        server.communicate()


def ask(port: int, path: str, body: Any = None, *, timeout: float = 60) -> tuple[int, Any, dict[str, str]]:
    """(status, answer, headers) of a GET, or of a POST of a body: bytes as they are, anything else as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, body if isinstance(body, bytes) else json.dumps(body))
        response = connection.getresponse()
        content, headers = response.read(), dict(response.getheaders())
        is_json = headers.get("content-type") == "application/json"
        return response.status, json.loads(content) if is_json else content.decode(), headers
    finally:
        connection.close()
