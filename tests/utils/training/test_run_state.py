"""The counters of a run, and what makes two starts of it the same: environment, seed, device, processes."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datasets.batches.order import epoch_batches
from utils.distributed.shutdown import refuse_many_processes
from utils.distributed.worker import DistributedSettings
from utils.errors import CheckpointError, DistributedError
from utils.machine import environment
from utils.machine.device import choose_device
from utils.machine.environment import WARN_ONLY, compare_facts, environment_facts, peak_memory_bytes, versions
from utils.machine.reproducibility import rng_state, separate_seeds, set_rng_state, set_up_torch
from utils.training.run_state import RunState

# Counters.


def test_counters_count_what_is_finished() -> None:
    state = RunState()
    for _ in range(3):
        state.count_step(0.5, 16, 100)
    assert (state.epoch, state.batch, state.step) == (0, 3, 3)
    state.end_epoch()
    state.count_step(0.5, 4, 10)
    assert (state.epoch, state.batch, state.step) == (1, 1, 4)
    assert (state.seconds, state.num_texts, state.num_tokens) == (2.0, 52, 310)


def test_a_state_is_plain_and_goes_on_exactly() -> None:
    state, other = RunState(), RunState()
    state.count_step(0.1, 16, 100)
    state.observe(-0.3, 1.0)
    other.load_state_dict(json.loads(json.dumps(state.state_dict())))
    assert other == state
    assert RunState().best_gain == -math.inf


def test_a_state_of_an_earlier_version_goes_on() -> None:
    saved = {"epoch": 2, "batch": 0, "step": 8, "best_gain": 0.9, "best_step": 4, "num_bad": 1, "validated_step": 8}
    saved |= {"is_stopped_early": False, "seconds": 1.5, "num_texts": 64, "num_tokens": 640}
    state = RunState()
    assert state.state_dict().keys() == saved.keys(), "what a checkpoint of then lacks is not asked of it"
    state.load_state_dict(saved)
    assert not state.observe(0.8, 0.1)
    assert state.num_bad == 2
    assert state.observe(0.95, 0.3)
    assert (state.best_step, state.num_bad) == (8, 0)


def test_a_foreign_state_is_refused() -> None:
    with pytest.raises(TypeError, match="best_loss is a str"):
        RunState().load_state_dict(RunState().state_dict() | {"best_loss": "0.5"})


# Facts.

FACTS = {"data": "a" * 64, "labels": "b" * 64, "torch": "2.13", "num_threads": 2}


def test_equal_facts_say_nothing() -> None:
    assert compare_facts(FACTS, dict(FACTS), Path("experiments/run")) == []


@pytest.mark.parametrize("name", ["data", "labels", "vocabulary"])
def test_other_data_refuses_the_resume(name: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        compare_facts(FACTS, FACTS | {name: "c" * 64}, Path("experiments/run"))
    old = FACTS.get(name)
    assert str(caught.value).startswith(
        f"experiments/run: belongs to other {name} ({str(old)[:12]} there, cccccccccccc now)"
    )


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        ({"tokens": "a"}, {"tokens": "a", "older_tokens": "b"}, None),
        ({"tokens": "a", "older_tokens": None}, {"tokens": "a", "older_tokens": "b"}, None),
        ({"tokens": "a"}, {"tokens": "b"}, "refused"),
        ({}, {"tokens": "a", "older_tokens": "a"}, None),  # a run of the first versions, which noted none
        ({}, {"tokens": "a", "older_tokens": "b"}, "refused"),
        ({}, {"tokens": "a", "older_tokens": None}, "an older version began this run, so a change of its tokens"),
    ],
)
def test_other_tokens_of_the_same_data_refuse_the_resume(
    old: dict[str, str], new: dict[str, str], outcome: str | None
) -> None:
    """The code that reads or splits the texts was edited: going on would mix two data sets, or train on texts of the test."""
    if outcome == "refused":
        with pytest.raises(
            CheckpointError, match=r"belongs to other tokens .*the code that reads the texts has changed"
        ):
            compare_facts(FACTS | old, FACTS | new, Path("run"))
    else:
        warnings = compare_facts(FACTS | old, FACTS | new, Path("run"))
        assert [warning[: len(outcome or "")] for warning in warnings] == ([outcome] if outcome else [])


@pytest.mark.parametrize("name", WARN_ONLY)
def test_another_machine_only_warns(name: str) -> None:
    warnings = compare_facts(FACTS | {name: 1}, FACTS | {name: 2}, Path("run"))
    assert warnings == [f"{name} was 1 and is 2: the resumed run is not bit-exact"]


def test_what_costs_bit_exactness_is_among_the_facts() -> None:
    assert set(environment_facts(torch.device("cpu"))) == set(WARN_ONLY)
    assert environment_facts(torch.device("cpu"))["num_threads"] == torch.get_num_threads()


def test_versions_do_not_need_git(monkeypatch: pytest.MonkeyPatch) -> None:
    assert versions()["torch"] == torch.__version__
    monkeypatch.setenv("PATH", "")
    assert versions()["git_commit"] is None
    assert versions()["dirty"] is None


def test_outside_a_repository_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PROJECT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert versions()["git_commit"] is None


def test_memory_is_measured_in_bytes() -> None:
    assert 20 * 2**20 < peak_memory_bytes() < 2**40


# Seed.


@pytest.fixture
def torch_as_it_was() -> Any:
    threads, rng = torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
    torch.set_rng_state(rng)
    torch.set_flush_denormal(False)


def test_a_seed_decides_every_draw_and_a_saved_state_every_later_one(torch_as_it_was: None) -> None:
    set_up_torch(1, 7)
    first, state, second = torch.rand(3), rng_state(), torch.rand(3)
    set_rng_state(state)
    assert torch.equal(torch.rand(3), second)
    set_up_torch(1, 7)
    assert torch.equal(torch.rand(3), first)
    set_up_torch(1, 8)
    assert not torch.equal(torch.rand(3), first)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("seed", [1, 7, 2**32 - 1])
def test_all_bits_of_a_seed_count(torch_as_it_was: None, seed: int) -> None:
    draws = set()
    for large in (seed, seed + 2**32, seed + 2**33, seed + 2**62):
        set_up_torch(1, large)
        draws.add(tuple(torch.rand(3).tolist()))
    assert len(draws) == 4
    set_up_torch(1, seed)
    small = torch.rand(3)
    torch.manual_seed(seed)
    assert torch.equal(torch.rand(3), small), "seeds below 2**32 are torch's own"


def test_all_bits_of_a_seed_count_in_every_process_and_order(torch_as_it_was: None) -> None:
    draws, orders, lengths = set(), set(), np.ones(20, dtype=np.int64)
    for seed in (1, 1 + 2**32, 1 + 2**40):
        separate_seeds(seed, 1)
        draws.add(tuple(torch.rand(3).tolist()))
        batches = epoch_batches(lengths, batch_size=4, batch_tokens=None, seed=seed, epoch=0)
        orders.add(tuple(np.concatenate(batches).tolist()))
    assert len(draws) == len(orders) == 3


def test_a_deterministic_run_asks_torch_for_it(torch_as_it_was: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    set_up_torch(1, 1, is_deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()


def test_denormals_are_flushed(torch_as_it_was: None) -> None:
    set_up_torch(1, 1)
    assert float(torch.tensor([1e-38]) * 1e-2) == 0.0


# Device.


def test_a_device_by_name() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("name", ["gpu", "", "CPU", "cuda:x", "cuda:-1", "cuda:99999999999999", "cpu:", "cuda:0:1"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(ValueError) as caught:
        choose_device(name)
    assert str(caught.value) == f"device {name!r} is unknown; known: auto, cpu, cuda, cuda:N, mps"


@pytest.mark.parametrize("name", ["meta", "xla", "vulkan"])
def test_a_device_that_no_run_can_use_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"^device '{name}' is not supported; known: auto, cpu, cuda, cuda:N, mps$"):
        choose_device(name)


@pytest.mark.parametrize("num", [0, 1, 2])
def test_only_devices_that_are_there_are_taken(monkeypatch: pytest.MonkeyPatch, num: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: num > 0)
    assert [choose_device(f"cuda:{i}").index for i in range(num)] == list(range(num))
    with pytest.raises(
        ValueError, match=f"^device 'cuda:{num}' is not available: this machine has {num} CUDA devices; try"
    ):
        choose_device(f"cuda:{num}")
    assert num == 0 or choose_device("auto").type == "cuda"


def test_without_a_gpu_cuda_and_mps_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    for name in ("cuda", "mps"):
        with pytest.raises(ValueError, match=f"^device '{name}' is not available"):
            choose_device(name)


# Several processes.


@pytest.mark.parametrize("size", ["2", "16"])
def test_more_than_one_process_is_refused(monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(DistributedError, match="build is done by one process, without torchrun"):
        refuse_many_processes("build")


@pytest.mark.parametrize("size", ["1", None])
def test_one_process_is_taken(monkeypatch: pytest.MonkeyPatch, size: str | None) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size is not None:
        monkeypatch.setenv("WORLD_SIZE", size)
    refuse_many_processes("build")


@pytest.mark.parametrize("timeout", [0.0, -1.0, 1e10])
def test_a_timeout_is_positive_and_no_longer_than_clocks_can_tell(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout must be positive and at most 1e6, got"):
        DistributedSettings(timeout=timeout)
