"""Sixteen bits where they are asked for and nowhere else; with float16, a gradient too large costs a step, not the run."""

import contextlib
import ctypes
import logging
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from utils.errors import CheckpointError, NonFiniteError
from utils.optimizers.building import build_optimizer
from utils.runs.checkpoint import CheckpointStore
from utils.runs.checkpointer import Checkpointer
from utils.training import precision as module
from utils.training.precision import MIN_SCALE, Precision
from utils.training.update import Updater

ROOT = Path(__file__).resolve().parents[3]
CPU = torch.device("cpu")
GOOD = torch.tensor(1.0)


@pytest.fixture
def float16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU as a device that has no bfloat16."""
    monkeypatch.setattr(module, "_short_float", lambda device: torch.float16)


class Run:
    """A linear layer, trained with Adam under a precision."""

    def __init__(self, name: str = "mixed", max_grad_norm: float | None = 0.5) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 1))
        self.precision = Precision(name, CPU)
        self.optimizer = build_optimizer(self.model, {"name": "Adam", "lr": 0.01})
        self.updater = Updater(self.model, self.optimizer, max_grad_norm, self.precision)

    def backward(self, seed: int, factor: float = 1.0) -> Tensor:
        """A loss and its gradients, as in BaseAgent.train_step."""
        inputs = torch.randn(4, 8, generator=torch.Generator().manual_seed(seed))
        self.optimizer.zero_grad()
        with self.precision.autocast():
            outputs = self.model(inputs)
        loss = outputs.float().square().mean() * factor
        self.precision.scale(loss).backward()
        return loss.detach()

    def step(self, seed: int, factor: float = 1.0) -> Tensor:
        return self.updater.apply(self.backward(seed, factor), lambda: f"step {seed}")

    def weights(self) -> list[Tensor]:
        return [p.detach().clone() for p in self.model.parameters()]


def is_same(found: list[Tensor], expected: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("mixed", torch.bfloat16)])
def test_a_cpu_computes_mixed_in_bfloat16_and_needs_no_scale(name: str, dtype: torch.dtype) -> None:
    precision = Precision(name, CPU)
    with precision.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert precision.scale(GOOD) is GOOD
    assert precision.state_dict() == {"scale": None, "_growth_tracker": None}


def test_float32_enters_no_autocast_at_all() -> None:
    assert isinstance(Precision("float32", CPU).autocast(), contextlib.nullcontext)


@pytest.mark.parametrize("major", [7, 8])
def test_a_cuda_device_without_bfloat16_takes_float16_with_a_scale(monkeypatch: pytest.MonkeyPatch, major: int) -> None:
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation or major > 7)
    assert module._short_float(torch.device("cuda")) == (torch.bfloat16 if major > 7 else torch.float16)


@pytest.mark.parametrize(
    ("known", "is_told"),
    [
        ({"avx2": True, "amx_bf16": False, "avx512_bf16": False}, True),
        ({"avx2": True, "amx_bf16": False, "avx512_bf16": True}, False),
        ({}, False),
    ],
)
def test_a_cpu_without_bfloat16_units_is_told_to_be_slower(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, known: dict[str, bool], is_told: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    with caplog.at_level(logging.WARNING, "glassbox"):
        Precision("float32", CPU)
        assert caplog.messages == []
        Precision("mixed", CPU)
    assert [message for message in caplog.messages if "slower than float32 on this CPU" in message] == caplog.messages
    assert len(caplog.messages) == is_told


@pytest.mark.parametrize(
    ("known", "dtype"),
    [
        ({"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ({"amx_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_auto_is_mixed_where_that_is_known_to_be_faster(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, known: dict[str, bool], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    with caplog.at_level(logging.WARNING, "glassbox"):
        assert Precision("auto", CPU).dtype == dtype
    assert caplog.messages == []
    assert Precision("auto", torch.device("meta")).dtype == torch.float32


@pytest.mark.parametrize("max_grad_norm", [0.01, 1e6, None])
def test_with_a_scale_norm_and_clipping_are_those_of_float32(float16: None, max_grad_norm: float | None) -> None:
    runs = [Run(name, max_grad_norm) for name in ("float32", "mixed")]
    assert runs[1].precision.scaler.is_enabled()
    norms = [run.step(1) for run in runs]
    torch.testing.assert_close(norms[0], norms[1], rtol=1e-2, atol=0)
    for one, other in zip(*[list(run.model.parameters()) for run in runs], strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=2e-2, atol=1e-4)


def test_a_gradient_too_large_for_float16_is_a_step_left_out(float16: None, caplog: pytest.LogCaptureFixture) -> None:
    run = Run()
    run.step(1)
    before, state = run.weights(), run.optimizer.state_dict()["state"][0]["step"].clone()
    caplog.clear()  # of what was said before, which an earlier test may have turned on
    with caplog.at_level(logging.WARNING, "glassbox"):
        run.step(2, factor=1e4)
    assert is_same(run.weights(), before)
    assert run.optimizer.state_dict()["state"][0]["step"] == state
    assert run.precision.scaler.get_scale() == 2.0**15
    [message] = caplog.messages
    assert message == (
        "warning: step 2: the gradient of 0.weight is not finite in float16; "
        "the step is skipped, the loss scale is now 32768"
    )
    run.step(3)
    assert not is_same(run.weights(), before)
    assert all(torch.isfinite(tensor).all() for tensor in run.weights())


@pytest.mark.parametrize("is_masked", [False, True])
def test_a_gradient_that_no_scale_mends_ends_the_run_and_changes_nothing(
    float16: None, monkeypatch: pytest.MonkeyPatch, is_masked: bool
) -> None:
    monkeypatch.setattr(Updater, "is_masked", is_masked)
    run = Run()
    before = run.weights()

    def train() -> None:
        for seed in range(100):
            run.step(seed, factor=math.nan)

    with pytest.raises(
        NonFiniteError, match=rf"^step {28 if is_masked else 29}: the gradient of 0\.weight is not finite"
    ):
        train()
    assert is_same(run.weights(), before)
    assert MIN_SCALE / 2 < run.precision.scaler.get_scale() < MIN_SCALE


def test_where_the_device_skips_by_itself_the_host_tells_of_it_a_step_later(
    float16: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Updater, "is_masked", True)
    run = Run()
    before = run.weights()
    caplog.clear()  # of what was said before, which an earlier test may have turned on
    with caplog.at_level(logging.WARNING, "glassbox"):
        run.step(1, factor=1e4)
        assert caplog.messages == []
        assert is_same(run.weights(), before)
        run.step(2)
    assert [message.split(":")[1] for message in caplog.messages] == [" step 1"]
    assert not is_same(run.weights(), before)
    assert not run.updater.check()


def test_a_loss_that_is_not_finite_while_its_gradients_are_is_an_error_in_float16_too(float16: None) -> None:
    run = Run()
    run.backward(1)
    with pytest.raises(NonFiniteError, match=r"^step 1: the loss is not finite"):
        run.updater.apply(torch.tensor(math.inf), lambda: "step 1")


def test_in_bfloat16_a_gradient_that_is_not_finite_is_an_error_at_once() -> None:
    run = Run()
    with pytest.raises(NonFiniteError, match=r"^step 1: the gradient of 0\.weight is not finite"):
        run.step(1, factor=math.nan)


# In a checkpoint.


def checkpointer_of(run: Run, folder: Path) -> Checkpointer:
    parts: dict[str, Any] = {"optimizer": run.optimizer, "precision": run.precision}
    return Checkpointer(CheckpointStore(folder), run.model, parts, {})


def test_a_resumed_run_goes_on_with_its_scale_to_the_bit(float16: None, tmp_path: Path) -> None:
    whole, resumed = Run(), Run()
    whole.step(1)
    whole.step(2, factor=1e5)
    whole.step(3)
    checkpointer_of(whole, tmp_path / "run").save(3, 0)
    assert checkpointer_of(resumed, tmp_path / "run").restore()
    assert resumed.precision.state_dict() == {"scale": 2.0**15, "_growth_tracker": 1}
    for run in (whole, resumed):
        for seed in range(4, 8):
            run.step(seed, factor=3e3)
    assert is_same(resumed.weights(), whole.weights())
    assert resumed.precision.state_dict() == whole.precision.state_dict()


@pytest.mark.parametrize("first", ["bfloat16", "float16"])
def test_a_run_that_goes_on_with_other_numbers_leaves_the_scale(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, first: str
) -> None:
    for dtype in (first, "bfloat16" if first == "float16" else "float16"):
        monkeypatch.setattr(module, "_short_float", lambda device, dtype=dtype: getattr(torch, dtype))
        run = Run()
        assert checkpointer_of(run, tmp_path / "run").restore() is (dtype != first)
        run.step(1)
        if dtype == first:
            checkpointer_of(run, tmp_path / "run").save(1, 0)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_scale_that_is_none_is_refused(float16: None, tmp_path: Path, scale: float) -> None:
    run = Run()
    run.step(1)
    run.precision.scaler._scale.fill_(scale)
    checkpointer_of(run, tmp_path / "run").save(1, 0)
    with pytest.raises(CheckpointError, match=r"another version of this code \(ValueError: scale"):
        checkpointer_of(Run(), tmp_path / "run").restore()


KERNELS = """
import ctypes, sys, torch
from utils.training.precision import Precision

class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ["arena", *"abcdef", "used", "free", "top"]]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Mallinfo
precision, layer = Precision("mixed", torch.device("cpu")), torch.nn.Linear(256, 256)
for number in range(1, 301):
    with precision.autocast():
        layer(torch.ones(number, 256)).float().sum().backward()
    if number in (100, 300):
        print(libc.mallinfo2().used)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc")
def test_batches_of_ever_other_sizes_take_no_more_memory() -> None:
    """oneDNN compiles a kernel for every number of tokens; 200 of them kept took 240 MB."""
    printed = subprocess.run([sys.executable, "-c", KERNELS], cwd=ROOT, capture_output=True, check=True).stdout
    before, after = map(int, printed.split())
    assert after - before < 30 * 2**20
