"""Real runs, a headless browser, and a page that notes errors and requests to other hosts."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY_CONFIG, tiny_rows, write_jsonl

from browser import chromium
from browser.boards import WAIT, completed, start

WEBGL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]  # computed by the CPU
ELSEWHERE = re.compile(r"^(?!http://localhost[:/]|file:|data:|blob:)")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """experiments/ with a config under three seeds, another one, and a run that was stopped after a validation."""
    place = tmp_path_factory.mktemp("work")
    write_jsonl(place / "tiny.jsonl", tiny_rows())
    (place / "tiny.yaml").write_text(TINY_CONFIG)
    jobs = str(min(2, len(os.sched_getaffinity(0))))
    completed(place, "tiny.yaml", "train.num_epochs=4", "name=small", "--seeds", "3", "--jobs", jobs)
    completed(place, "tiny.yaml", "train.num_epochs=4", "model.hidden_size=24", "name=wide")
    stopped = start(place, "tiny.yaml", "train.num_epochs=100000", "optimizer.lr=0.02", "name=unfinished")
    metrics, deadline = place / "experiments/unfinished/metrics.jsonl", time.monotonic() + 120
    while not (metrics.exists() and '"valid"' in metrics.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    stopped.send_signal(signal.SIGINT)
    _, errors = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, errors
    return place / "experiments"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless browser, without a page."""
    from playwright.sync_api import sync_playwright

    path = chromium.find()
    assert path is not None, "python tests/browser/chromium.py installs a browser"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=WEBGL)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """An empty page; at the test's end it has seen no error, and has asked no other host for anything."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    context.set_default_timeout(WAIT)
    problems: list[str] = []
    asked: list[str] = []

    def refuse(route: Any) -> None:
        asked.append(route.request.url)
        route.abort()

    context.route(ELSEWHERE, refuse)
    page = context.new_page()
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("response", lambda got: problems.append(f"{got.status} {got.url}") if got.status >= 400 else None)
    yield page
    context.close()
    assert asked == [], "requests to other hosts"
    assert problems == []
