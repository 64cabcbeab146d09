"""The store of several machines is there when the first process is gone, and not for long."""

import signal
import socket
import subprocess
import sys
import time

from conftest import ROOT
from torch.distributed import TCPStore
from torchruns import free_port, is_listening

KEEP = "import utils.distributed.store_server as k; k.LINGER = 2.0; k.keep_store('127.0.0.1', {port}); print('kept', flush=True); input()"


def start(port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", KEEP.format(port=port)]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_store_outlives_the_process_that_has_begun_it_by_seconds() -> None:
    port = free_port()
    with start(port) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "kept\n"
        store = TCPStore("127.0.0.1", port, wait_for_workers=False)
        store.set("told", "x")
        process.send_signal(signal.SIGKILL)
        begin = time.monotonic()
        assert process.stdout.read() == "", "who reads the output does not wait for the store"
        assert time.monotonic() - begin < 1.0
    assert store.get("told") == b"x"
    while is_listening(port):
        assert time.monotonic() - begin < 15.0
        time.sleep(0.05)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, start(taken.getsockname()[1]) as process:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
    assert "DistributedError: no store at MASTER_ADDR:MASTER_PORT 127.0.0.1:" in errors
    assert "address already in use" in errors.lower()
