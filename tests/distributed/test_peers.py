"""Processes find each other in a store that may hold what earlier ones left, and take a device each."""

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch.distributed import HashStore, TCPStore

from utils.distributed import peers
from utils.distributed.peers import Peers, Process
from utils.distributed.rendezvous import connect
from utils.distributed.worker import Worker
from utils.errors import DistributedError, Stopped, Unsaid
from utils.machine import signals


def together(*calls: Any) -> list[Any]:
    """Call all at once, each in a thread; -> what they return, or raise."""
    results: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        try:
            results[number] = calls[number]()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def joined(found: list[Peers], delays: tuple[float, ...]) -> list[Peers]:
    def join(rank: int) -> None:
        time.sleep(delays[rank])
        found[rank].join()

    assert together(*(lambda rank=rank: join(rank) for rank in range(len(found)))) == [None] * len(found)
    return found


def meeting(size: int) -> list[Peers]:
    store = HashStore()
    return joined([Peers(store, rank, size, 5.0) for rank in range(size)], (0.0,) * size)


@pytest.mark.parametrize("delays", list(itertools.permutations((0.0, 0.15, 0.3))))
def test_processes_that_are_started_again_do_not_meet_those_before(
    monkeypatch: pytest.MonkeyPatch, delays: tuple[float, ...]
) -> None:
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # torchrun's, which outlives a restart
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.port), "WORLD_SIZE": "3"}
    for attempt in range(3):
        found = []
        for rank in range(3):
            own = {
                "RANK": str(rank),
                "TORCHELASTIC_RESTART_COUNT": str(attempt),
                "TORCHELASTIC_USE_AGENT_STORE": "True",
            }
            for name, value in (address | own).items():
                monkeypatch.setenv(name, value)
            found.append(connect(5.0))
        joined(found, delays)
        assert not any(peers.is_told for peers in found)
        assert [peers.may_tell() for peers in found] == [True, False, False]
        assert all(peers.is_told for peers in found)


def test_one_that_does_not_come_is_waited_for_until_the_timeout() -> None:
    with pytest.raises(DistributedError, match=r"rank 1 has not joined; run the same command to resume"):
        Peers(HashStore(), 0, 2, 0.2).join()


@pytest.fixture
def pair() -> list[Peers]:
    return meeting(2)


def test_the_first_goes_first_however_long_it_takes(pair: list[Peers], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "BEAT", 0.05)
    order = []

    def work(rank: int) -> None:
        pair[rank].timeout = 0.4
        with pair[rank].first_alone("work"):
            time.sleep(1.0 if rank == 0 else 0.0)
            order.append(rank)

    assert together(lambda: work(0), lambda: work(1)) == [None, None]
    assert order == [0, 1]


@pytest.mark.parametrize("late", [0, 1])
def test_two_files_are_two_questions(pair: list[Peers], tmp_path: Path, late: int) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)

    def ask(rank: int) -> None:
        worker = Worker(pair[rank])
        worker.refuse_other_file(tmp_path / "a")
        time.sleep(0.3 if rank == late else 0.0)
        worker.refuse_other_file(tmp_path / "b")

    assert together(lambda: ask(0), lambda: ask(1)) == [None, None]


def test_a_second_turn_waits_as_the_first_did(pair: list[Peers]) -> None:
    order = []

    def work(rank: int) -> None:
        for _ in range(2):
            with pair[rank].first_alone("work"):
                time.sleep(0.3 if rank == 0 else 0.0)
                order.append(rank)

    assert together(lambda: work(0), lambda: work(1)) == [None, None]
    assert order in ([0, 1, 0, 1], [0, 0, 1, 1])


def test_the_others_do_not_wait_for_a_first_one_without_a_sign_of_life(pair: list[Peers]) -> None:
    pair[1].timeout = 0.2
    with (
        pytest.raises(
            DistributedError, match=r"rank 0 \(process \d+ on \S+\) gives no answer; run the same command to resume"
        ),
        pair[1].first_alone("x"),
    ):
        pass


def test_who_waits_hears_that_the_run_has_ended(pair: list[Peers]) -> None:
    assert pair[0].may_tell()
    with pytest.raises(Unsaid), pair[1].first_alone("x"):
        pass
    assert not pair[1].may_tell()


def test_the_first_difference_is_named(pair: list[Peers]) -> None:
    def differ() -> None:
        try:
            pair[1].refuse_different("x", {"a": [1], "lr": 2})
        finally:
            pair[1].may_tell()

    found = together(lambda: pair[0].refuse_different("x", {"a": [1], "lr": 1}), differ)
    assert str(found[1]) == "lr is 2 here and 1 on rank 0"
    assert isinstance(found[0], Unsaid), "the first one does not go on, to remove an old run or begin a new one"


def test_nobody_goes_on_before_all_have_agreed(pair: list[Peers]) -> None:
    moments = []

    def agree(rank: int) -> None:
        time.sleep(0.3 * rank)
        pair[rank].refuse_different("x", {"a": 1})
        moments.append(time.monotonic())

    begin = time.monotonic()
    assert together(lambda: agree(0), lambda: agree(1)) == [None, None]
    assert min(moments) - begin >= 0.3


def believing(of: Peers, pid: int, host: str) -> Peers:
    """The first of two, which sees in the other one another process."""
    first = Peers(of.store, 0, 2, 5.0)
    first.others = {1: Process(1, pid, host)}
    return first


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_who_lives_and_does_not_answer_is_named_wherever_it_is(
    pair: list[Peers], monkeypatch: pytest.MonkeyPatch, is_elsewhere: bool
) -> None:
    monkeypatch.setattr(peers, "ANSWER", 0.3)
    first = believing(pair[0], os.getpid(), "node2") if is_elsewhere else pair[0]
    assert first.dead() == ""
    assert re.fullmatch(r"rank 1 \(process \d+ on \S+\) gives no answer", first.gone())
    assert together(first.gone, pair[1].gone) == ["", ""]


def test_many_that_do_not_answer_are_waited_for_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "ANSWER", 0.3)
    first = meeting(6)[0]
    begin = time.monotonic()
    assert first.gone().count("gives no answer") == 5
    assert time.monotonic() - begin < 1.0


def test_a_dead_process_is_named_alone(pair: list[Peers], monkeypatch: pytest.MonkeyPatch) -> None:
    child, host = subprocess.Popen(["true"]), socket.gethostname()
    child.wait()
    first, words = believing(pair[0], child.pid, host), f"rank 1 (process {child.pid} on {host}) has died"
    assert first.gone() == first.dead() == words
    monkeypatch.setattr(peers, "ANSWER", 0.0)
    monkeypatch.setattr(peers, "Path", lambda path: Path("/nowhere"))  # a system without /proc
    assert first.dead() == words
    assert believing(pair[0], os.getpid(), host).dead() == ""


class Gone:
    """A store whose server is gone."""

    def check(self, *words: Any) -> bool:
        raise torch.distributed.DistNetworkError

    set = add = get = check


def test_without_the_store_one_of_each_machine_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "FAREWELL", 0.0)
    one = Peers(Gone(), 1, 2, 5.0)
    one.others = {0: Process(0, 11, "node1")}
    assert one.gone() == "rank 0 (process 11 on node1) or its machine gives no answer"
    assert one.may_tell()
    one.others = {0: Process(0, os.getpid(), socket.gethostname())}
    assert not one.may_tell(), "another one of this machine does"
    one.leave()


CUT = """
import time
from utils.distributed import shutdown
from utils.distributed.peers import Peers, Process

class Silent:
    def set(self, key, value): pass  # is sent, and never arrives
    def check(self, keys): time.sleep(60)

shutdown.ANSWER = shutdown.FAREWELL = 0.0
peers = Peers(Silent(), 1, 2, 5.0)
peers.others = {0: Process(0, 11, "node1")}
with shutdown._ended_in_time(peers):
    peers.gone()
"""


def test_who_is_cut_off_from_the_store_reports_that_and_ends() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CUT], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    words = "rank 1: rank 0 (process 11 on node1) or its machine gives no answer; run the same command to resume\n"
    assert (ended.returncode, ended.stderr) == (7, words)


class Cuda:
    """A machine with so many CUDA devices."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
        monkeypatch.setenv("LOCAL_RANK", "1")


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_process_takes_its_own_device(pair: list[Peers], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    Cuda(monkeypatch, count=2)
    worker = Worker(pair[1])
    assert worker.choose_device(name) == torch.device("cuda", 1)
    assert worker.cuda_backend == "nccl"


def test_a_named_device_is_shared_over_gloo(pair: list[Peers], monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda(monkeypatch, count=1)
    worker = Worker(pair[1])
    assert worker.choose_device("cuda:0") == torch.device("cuda", 0)
    assert worker.cuda_backend == "gloo"


def test_more_processes_than_devices_are_refused(pair: list[Peers], monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda(monkeypatch, count=1)
    with pytest.raises(
        DistributedError, match="2 processes on a machine with 1 CUDA devices; torchrun --nproc_per_node=1"
    ):
        Worker(pair[1]).choose_device("auto")


def test_of_several_signals_the_first_one_counts() -> None:
    with signals.installed():
        signals.only_the_first()
        with signals.graceful():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
                os.kill(os.getpid(), number)
            assert signals.received() == signal.SIGTERM
            with pytest.raises(Stopped):
                signals.leave("saved")
            os.kill(os.getpid(), signal.SIGTERM)  # torchrun, as another process has left already
        os.kill(os.getpid(), signal.SIGTERM)
