"""num_threads: auto is chosen once a run, and threads that wait are reported once and never changed."""

import logging
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from agents import build
from main import main
from utils.machine import threads
from utils.machine.threads import ThreadWatch, choose_threads, free_cores
from utils.runs import experiment as experiment_module
from utils.runs.saved import saved_config

BAG, BERT = {"name": "bag_of_embeddings"}, {"name": "bert", "num_heads": 12}


@pytest.mark.parametrize(
    ("model", "num_processes", "num_free", "expected"),
    [
        *[(BAG, 1, 1, 1), (BAG, 1, 2, 2), (BAG, 1, 64, 2), (BAG, 4, 64, 8), (BAG, 4, 3, 3)],
        *[(BERT, 1, 1, 1), (BERT, 1, 4, 4), (BERT, 1, 64, 8), (BERT, 2, 12, 12), (BERT, 2, 64, 16)],
    ],
)
def test_as_many_as_pay_and_are_free(
    monkeypatch: pytest.MonkeyPatch, model: dict[str, Any], num_processes: int, num_free: int, expected: int
) -> None:
    """Of all processes of a machine together: each gets its share (agents/__init__.py)."""
    monkeypatch.setattr(threads, "free_cores", lambda: num_free)
    assert choose_threads(model, num_processes) == expected


@pytest.mark.parametrize(("idle", "expected"), [([0.0, 4.0], 4), ([0.0, 2.9], 3), ([0.0, 0.1], 1), ([7.0, 7.0], 1)])
def test_cores_that_others_use_are_not_free(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, idle: list[float], expected: int
) -> None:
    """Four cores, seen for one second."""
    seconds, clock = iter(idle), iter([10.0, 11.0])
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(threads, "_idle_seconds", lambda _: next(seconds))
    monkeypatch.setattr(threads, "Path", lambda _: workplace / "none")  # no limit of a container
    monkeypatch.setattr(threads.time, "sleep", lambda _: None)
    monkeypatch.setattr(threads.time, "perf_counter", lambda: next(clock))
    assert free_cores() == expected


def test_a_container_s_limit_counts(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workplace / "cpu.max").write_text("300000 100000\n")
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(threads, "_idle_seconds", lambda _: time.perf_counter() * 64)
    monkeypatch.setattr(threads, "Path", lambda _: workplace / "cpu.max")
    assert free_cores() == 3


def test_a_machine_without_such_counts_has_all_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: set[int]) -> float:
        raise FileNotFoundError

    monkeypatch.setattr(threads, "_idle_seconds", fail)
    assert free_cores() >= 1


def recorded(name: str) -> Any:
    return saved_config(Path(f"experiments/{name}"))["num_threads"]


def test_the_choice_is_recorded_and_kept(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (workplace / "tiny.yaml").read_text()
    assert "num_threads: 1\n" in text
    (workplace / "tiny.yaml").write_text(text.replace("num_threads: 1\n", ""))
    number = torch.get_num_threads()
    try:
        for chosen, words, expected in (
            (3, ["train.num_epochs=1"], 3),
            (1, ["train.num_epochs=2"], 3),  # going on, on a machine with other free cores
            (1, ["train.num_epochs=3", "num_threads=2"], 2),
        ):
            monkeypatch.setattr(experiment_module, "choose_threads", lambda *_, chosen=chosen: chosen)
            assert main(["tiny.yaml", "name=x", *words]) == 0
            assert recorded("x") == torch.get_num_threads() == expected
        assert capsys.readouterr().err.count("not bit-exact") == 1
        assert main(["tiny.yaml", "--dry-run"]) == 0
        assert "num_threads: auto\n" in capsys.readouterr().out
    finally:
        torch.set_num_threads(number)


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "automatic"])
def test_other_values_are_refused(workplace: Path, capsys: pytest.CaptureFixture[str], value: str) -> None:
    assert main(["tiny.yaml", f"num_threads={value}"]) == 2
    assert "num_threads must be" in capsys.readouterr().err.splitlines()[-1]


def watched(monkeypatch: pytest.MonkeyPatch, *, slow: int, preemptions: list[int]) -> tuple[list[int], nn.Module]:
    """A start's steps; a pass takes 20 ms with `slow` threads and 2 ms with others; -> the threads of each pass."""
    seen: list[int] = []
    model = nn.Dropout(0.5)
    monkeypatch.setattr(threads, "MIN_SECONDS", 0.0)
    counts = iter(preemptions)
    monkeypatch.setattr(threads, "_preemptions", lambda: next(counts))

    def compute() -> None:
        assert not model.training
        assert not torch.is_grad_enabled()
        model(torch.ones(3))
        seen.append(torch.get_num_threads())
        time.sleep(0.02 if seen[-1] == slow else 0.002)

    watch = ThreadWatch(is_on=True)
    for _ in range(60):
        watch.after_step(model, compute)
    return seen, model


@pytest.mark.parametrize(
    ("slow", "preemptions", "num_passes", "is_said"),
    [(2, [0, 9999], 4, True), (1, [0, 9999], 4, False), (2, [5, 5], 0, False)],
    ids=["they wait", "they help", "nobody takes their cores"],
)
def test_threads_that_wait_are_reported_once_and_nothing_changes(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    slow: int,
    preemptions: list[int],
    num_passes: int,
    is_said: bool,
) -> None:
    number, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        with caplog.at_level(logging.WARNING, "glassbox"):
            seen, model = watched(monkeypatch, slow=slow, preemptions=preemptions)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(number)
    assert seen == [2, 1, 2, 1][:num_passes]
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == is_said
    assert all("the 2 threads wait for cores that other processes use; one thread was" in line for line in said)


def test_one_thread_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert not ThreadWatch(is_on=True).is_on


def test_a_comparison_does_not_change_a_bit(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With dropout, and the comparison after the first of the steps."""
    number, weights, compared = torch.get_num_threads(), [], []
    original = ThreadWatch._compare
    monkeypatch.setattr(ThreadWatch, "_compare", lambda *given: (compared.append(1), original(*given)))
    try:
        for name, switches in (("a", 0), ("b", 10**9)):
            counts = iter([0, switches])
            monkeypatch.setattr(threads, "_preemptions", lambda counts=counts: next(counts))
            monkeypatch.setattr(threads, "FIRST_STEPS", 1)
            monkeypatch.setattr(threads, "MIN_SECONDS", 0.0)
            agent = build("tiny.yaml", {"name": name, "num_threads": 2, "model.dropout": 0.3, "train.num_epochs": 2})
            agent.run()
            weights.append([parameter.detach().clone() for parameter in agent.model.parameters()])
    finally:
        torch.set_num_threads(number)
    assert compared == [1]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
