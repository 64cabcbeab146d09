"""`serve` as a user starts it: many clients at once, floods, signals, and what it refuses to serve."""

import contextlib
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import served
from conftest import TINY_CONFIG, tiny_rows, write_jsonl
from served import ask

from agents import load
from main import main

NUM_CLIENTS = 50
TEXTS = [f"{row['title']}, {row['text']}" for row in tiny_rows(500)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run experiments/x, which reads the one field `text`."""
    place = tmp_path_factory.mktemp("place")
    with contextlib.chdir(place):
        write_jsonl(place / "tiny.jsonl", tiny_rows())
        (place / "x.yaml").write_text(TINY_CONFIG.replace("[title, text]", "[text]"))
        assert main(["x.yaml"]) == 0
    return place


@pytest.fixture(scope="module")
def expected(place: Path) -> dict[str, dict[str, float]]:
    """The probabilities of each text, predicted alone."""
    predictor = load(place / "experiments/x")
    return {text: predictor.predict([text])[0]["probabilities"] for text in TEXTS}


@pytest.fixture(scope="module")
def port(place: Path) -> Iterator[int]:
    with served.process(place, "experiments/x") as (_, port):
        yield port


def assert_own_answers(texts: list[str], answer: Any, expected: dict[str, dict[str, float]]) -> None:
    """Each text's own answer, in order."""
    assert [line["text"] for line in answer["predictions"]] == texts
    for text, line in zip(texts, answer["predictions"], strict=True):
        assert line["probabilities"] == pytest.approx(expected[text], abs=1e-5)


def test_fifty_clients_lose_no_request_and_get_their_own_answers(port: int, expected: dict[str, Any]) -> None:
    assert (
        len({tuple(round(value, 4) for value in each.values()) for each in expected.values()}) > 100
    )  # a mix-up shows

    def client(number: int) -> int:
        own = TEXTS[10 * number : 10 * number + 10]
        for texts in [[text] for text in own] + [own, own[::-1]]:
            status, answer, _ = ask(port, "/predict", {"texts": texts})
            assert status == 200
            assert_own_answers(texts, answer, expected)
        return len(own)

    with ThreadPoolExecutor(NUM_CLIENTS) as clients:
        assert sum(clients.map(client, range(NUM_CLIENTS))) == len(TEXTS)
    assert ask(port, "/health")[1] == {"status": "ok", "waiting": {"x": 0}}


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.full)]
)
def test_a_signal_under_load_ends_it_once_what_was_accepted_is_answered(
    place: Path, expected: dict[str, Any], number: int, code: int
) -> None:
    """Clients on connections of their own: each request gets its whole answer, or nothing at all because it came too late."""
    num_answered, is_over = [0] * 20, threading.Event()

    def client(own: int) -> None:
        texts = TEXTS[own : own + 5]
        while not is_over.is_set():
            try:
                status, answer, _ = ask(port, "/predict", {"texts": texts})
            except (ConnectionError, http.client.RemoteDisconnected):  # not IncompleteRead, which is half an answer
                return
            assert status == 200
            assert_own_answers(texts, answer, expected)
            num_answered[own] += 1

    with (
        served.process(place, "experiments/x", "--max-batch", "4") as (server, port),
        ThreadPoolExecutor(20) as clients,
    ):
        found = [clients.submit(client, own) for own in range(20)]
        while min(num_answered) < 2:
            time.sleep(0.01)
        server.send_signal(number)
        _, err = server.communicate(timeout=60)
        is_over.set()
        for each in found:
            each.result(60)
    assert server.returncode == code
    assert err.splitlines() == [f"stopped: {sum(num_answered)} requests answered"]


@pytest.mark.full
def test_a_request_whose_body_is_on_its_way_is_answered_after_the_signal(place: Path, expected: dict[str, Any]) -> None:
    body = json.dumps({"text": TEXTS[0]}).encode()
    with served.process(place, "experiments/x") as (server, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:10])
        assert ask(port, "/health")[0] == 200  # so that the other request is begun
        server.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        connection.send(body[10:])
        response = connection.getresponse()
        assert response.status == 200
        assert_own_answers([TEXTS[0]], json.load(response), expected)
        _, err = server.communicate(timeout=60)
    assert (server.returncode, err) == (143, "stopped: 2 requests answered\n")


def test_a_signal_while_the_run_is_opened_ends_it(place: Path) -> None:
    command = [sys.executable, str(served.ROOT / "main.py"), "serve", "experiments/x", "--port", "0"]
    server = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(0.8)
    server.send_signal(signal.SIGTERM)
    _, err = server.communicate(timeout=60)
    assert server.returncode in (143, -signal.SIGTERM)  # before or after main.py has its handlers
    assert "Traceback" not in err


# Floods.


@pytest.mark.full
def test_a_flood_of_texts_gets_answers_or_503_and_the_server_stays_up(place: Path, expected: dict[str, Any]) -> None:
    with (
        served.process(place, "experiments/x", "--max-waiting", "100", "--max-batch", "8") as (_, port),
        ThreadPoolExecutor(40) as clients,
    ):
        found = list(clients.map(lambda i: ask(port, "/predict", {"texts": TEXTS[i : i + 50]}), range(200)))
        for i, (status, answer, headers) in enumerate(found):
            assert status in (200, 503)
            if status == 200:
                assert_own_answers(TEXTS[i : i + 50], answer, expected)
            else:
                assert headers["retry-after"] == "1"
        assert {status for status, _, _ in found} == {200, 503}
        assert ask(port, "/predict", {"text": TEXTS[0]})[0] == 200


@pytest.mark.full
def test_more_connections_than_the_process_may_open_are_survived(place: Path) -> None:
    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with served.process(place, "experiments/x", preexec_fn=few_files) as (server, port):
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        time.sleep(0.5)
        for connection in idle:
            connection.close()
        assert ask(port, "/predict", {"text": TEXTS[0]})[0] == 200
        server.send_signal(signal.SIGTERM)
        _, err = server.communicate(timeout=60)
    assert "Traceback" not in err
    assert server.returncode == 143


def test_bytes_that_are_no_http_and_ten_megabytes_are_refused(port: int) -> None:
    for sent in (b"\x16\x03\x01 hello\r\n\r\n", b"GET / HTTP/9\r\n\r\n", os.urandom(10_000), b"A" * 100_000):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(1000)
        assert answer[:12] in (b"HTTP/1.1 400", b"")
    status, answer, _ = ask(port, "/predict", {"text": "a" * 10_000_000})
    assert (status, answer) == (413, {"error": "the body has more than 1,000,000 bytes"})
    assert ask(port, "/predict", {"text": TEXTS[0]})[0] == 200


# What cannot be served.


def test_a_port_in_use_is_refused_before_the_run_is_opened(place: Path, port: int, capsys: Any) -> None:
    assert main(["serve", str(place / "nowhere"), "--port", str(port)]) == 2
    message = f"command line: cannot listen at 127.0.0.1:{port}: Address already in use; try --port 0, any free one"
    assert capsys.readouterr().err.splitlines() == [message]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere"], 4, "nowhere"),
        (["x.yaml"], 4, "x.yaml"),
        (["experiments/x", "damaged"], 4, "damaged"),
        (["experiments/x", "--port", "70000"], 2, "--port must be between 0 and 65535, got 70000"),
        (["experiments/x", "--max-batch", "0"], 2, "--max-batch must be at least 1, got 0"),
        (["experiments/x", "--host", "no.such.host.invalid"], 2, "cannot listen at no.such.host.invalid:0"),
        (["experiments/x", "--device", "gpu"], 2, "gpu"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_served_is_refused_in_one_line(
    place: Path, words: list[str], code: int, message: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    if "damaged" in words and not (place / "damaged").exists():
        shutil.copytree(place / "experiments/x", place / "damaged")
        (weights,) = sorted((place / "damaged/checkpoints").glob("*/model.safetensors"))[-1:]
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
        for other in sorted((place / "damaged/checkpoints").glob("step-*"))[:-1]:
            shutil.rmtree(other)
    assert main(["serve", *([] if "--port" in words else ["--port", "0"]), *words]) == code
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert message in err


@pytest.mark.parametrize("package", ["fastapi", "uvicorn"])
def test_a_missing_package_is_named_with_its_command(
    package: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package or name == "agents.serving.app"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]
    assert main(["serve", "experiments/x"]) == 2
    assert capsys.readouterr().err == f"serve: needs the package {package}: pip install fastapi uvicorn\n"


def test_it_serves_without_a_network(place: Path) -> None:
    """In a namespace of its own whose only device is the loopback."""
    alone = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespace without a network can be made here (unshare --map-root-user --net)")
    script = """
import os, subprocess, sys
from pathlib import Path
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
sys.path.insert(0, sys.argv[1])
from served import ask, process
with process(Path.cwd(), "experiments/x") as (_, port):
    status, answer, _ = ask(port, "/predict", {"text": "castle the king"})
    print(status, answer["predictions"][0]["predicted"], ask(port, "/")[0], ask(port, "/words", {"text": "castle the king"})[0])
"""
    if shutil.which("ip") is None:
        script = script.replace(
            'subprocess.run(["ip", "link", "set", "lo", "up"], check=True)',
            "import fcntl, socket, struct; s = socket.socket(); fcntl.ioctl(s, 0x8914, struct.pack('16sH14x', b'lo', 0x1 | 0x40))",
        )
    command = [*alone, sys.executable, "-c", script, str(served.ROOT / "tests")]
    found = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=200, check=False)
    label = load(place / "experiments/x").predict(["castle the king"])[0]["predicted"]
    assert found.stdout.splitlines() == [f"200 {label} 200 200"], found.stderr
