"""A store that has gone silent, as where a network is cut, holds nobody up, and a signal is heard meanwhile."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import torch
from torch.distributed import HashStore

from utils.distributed.peers import Peers
from utils.distributed.process import Process
from utils.distributed.rendezvous import meet
from utils.distributed.store_client import StoreClient
from utils.errors import Stopped


class Silent:
    """A store whose connection is open and says nothing, until the test is over."""

    def __init__(self) -> None:
        self.is_over = threading.Event()
        self.questions = 0

    def check(self, names: list[str]) -> bool:
        self.questions += 1
        self.is_over.wait(30.0)
        return True

    def set(self, name: str, value: str) -> None:
        """Is sent, and never arrives."""

    add = get = check


@pytest.fixture
def silent() -> Iterator[Silent]:
    store = Silent()
    yield store
    store.is_over.set()


def test_what_is_left_there_is_found() -> None:
    store = StoreClient(HashStore(), 5.0)
    store.under("a").set("x", "1")
    assert not store.has("x")
    assert store.under("a").has("x")
    assert store.under("a").get("x") == "1"
    assert [store.is_first("y") for _ in range(3)] == [True, False, False]


def test_a_silent_store_is_waited_for_once(silent: Silent) -> None:
    store, begin = StoreClient(silent, 0.3), time.monotonic()
    for question in (store.has, store.get, store.is_first):
        with pytest.raises(torch.distributed.DistStoreError):
            question("x")
    assert 0.3 <= time.monotonic() - begin < 0.6
    assert silent.questions == 1


def test_who_is_cut_off_from_the_store_says_so_and_ends(silent: Silent) -> None:
    begin = time.monotonic()
    peers = Peers(StoreClient(silent, 0.3), 1, [Process(0, 11, "node1"), Process(1, 12, "node2")])
    assert not peers.wait_until_told()
    assert peers.gone() == "rank 0 (process 11 on node1) or its machine gives no answer"
    assert peers.may_tell()
    first = Process(0, os.getpid(), socket.gethostname())
    assert not Peers(peers.store, 1, [first, peers.processes[1]]).may_tell(), "another one of this machine says it"
    peers.part()
    assert time.monotonic() - begin < 3.0


def test_a_meeting_in_a_silent_store_has_an_end(silent: Silent) -> None:
    with pytest.raises(torch.distributed.DistStoreError):
        meet(StoreClient(silent, 0.3), 0, 2)


def test_a_signal_is_heard_while_the_store_is_silent(silent: Silent) -> None:
    def stop(number: int, frame: object) -> None:
        raise Stopped("stopped by SIGTERM", number)

    before, begin = signal.signal(signal.SIGTERM, stop), time.monotonic()
    threading.Timer(0.3, signal.pthread_kill, [threading.main_thread().ident, signal.SIGTERM]).start()
    try:
        with pytest.raises(Stopped):
            StoreClient(silent, 20.0).has("x")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert time.monotonic() - begin < 5.0
