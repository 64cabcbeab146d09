"""Sixteen bits, and attention without padding: who gets it, that it is the padded one, and on CUDA that the kernel agrees."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import varlen
from varlen_by_hand import plain_varlen

from graphs.layers import packed_attention
from graphs.layers.head_layout import HeadLayout
from graphs.layers.packed_attention import fits_kernel
from graphs.models.bert import Bert
from graphs.models.transformer import TransformerEncoder

SIZES = {"hidden_size": 64, "num_layers": 2, "num_heads": 4, "intermediate_size": 96, "max_positions": 64}
DROPOUTS = {"dropout": 0.0, "attention_dropout": 0.0}
KINDS: dict[str, Callable[..., TransformerEncoder]] = {
    "transformer": TransformerEncoder,
    "rotary": lambda *sizes, **options: TransformerEncoder(*sizes, **options, positions="rotary", activation="geglu"),
    "bert": Bert,
}
AMPERE, TURING = (8, 0), (7, 5)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def encoder_of(kind: str) -> TransformerEncoder:
    torch.manual_seed(0)
    encoder = KINDS[kind](60, **SIZES, **DROPOUTS)
    for name, parameter in encoder.named_parameters():
        if "attention.qkv" in name:  # at a start with 0.02 all tokens would be looked at alike
            torch.nn.init.normal_(parameter, std=0.2)
    return encoder


def texts() -> tuple[Tensor, Tensor]:
    """(B, T) random ids and their mask: one text without padding, one of a single token."""
    torch.manual_seed(1)
    mask = torch.arange(41) < torch.tensor([41, 7, 1, 20])[:, None]
    return torch.randint(5, 60, mask.shape) * mask, mask


def results(encoder: TransformerEncoder, device: str = "cpu", dtype: torch.dtype | None = None) -> list[Tensor]:
    """The vectors of the texts and, in training, the gradients of all parameters, on the CPU in float64; dtype: autocast's."""
    ids, mask = texts()
    index = mask.flatten().nonzero().squeeze(1)
    encoder.zero_grad()
    enabled = dtype is not None
    with torch.autocast(device, dtype=dtype, enabled=enabled), torch.set_grad_enabled(encoder.training):
        encoded = encoder(ids.to(device), mask.to(device), index.to(device))
    if encoder.training:
        (encoded.float() * torch.linspace(-1, 1, 64, device=device)).sum().backward()
    found = [encoded, *(p.grad for p in encoder.parameters() if encoder.training and p.grad is not None)]
    return [tensor.detach().cpu().double() for tensor in found]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_errs_by_its_rounding_alone(kind: str, dtype: torch.dtype) -> None:
    """Vectors, and each parameter's gradient, are within twice the rounding of 16 bits of what float64 gives."""
    exact = results(encoder_of(kind).double())
    mixed = results(encoder_of(kind), dtype=dtype)
    precision = torch.finfo(dtype).eps
    assert (mixed[0] - exact[0]).norm() > precision / 10 * exact[0].norm(), "these were 32 bits"
    assert len(mixed) == len(exact) > 20
    for ours, true in zip(mixed, exact, strict=True):
        assert (ours - true).norm() <= 2 * precision * true.norm()


# The decision, and the call, with stand-ins for the device.


@pytest.mark.parametrize(
    ("head_size", "dtype", "capability", "expected"),
    [
        (64, torch.bfloat16, AMPERE, True),
        (64, torch.float16, AMPERE, True),
        (64, torch.bfloat16, (9, 0), True),
        (64, torch.bfloat16, (12, 0), True),
        (64, torch.float16, TURING, False),  # it has 16 bits, and no FlashAttention
        (64, torch.float16, (7, 0), False),
        (64, torch.float32, AMPERE, False),
        (64, torch.float64, AMPERE, False),
        (8, torch.bfloat16, AMPERE, True),
        (192, torch.bfloat16, AMPERE, True),
        (200, torch.bfloat16, AMPERE, False),  # its backward pass is missing on some cards
        (256, torch.bfloat16, AMPERE, False),
        (264, torch.bfloat16, AMPERE, False),
        (4, torch.bfloat16, AMPERE, False),
        (12, torch.bfloat16, AMPERE, False),
    ],
)
@pytest.mark.parametrize("is_autocast", [False, True])
def test_only_what_the_kernel_can_do_is_given_to_it(
    monkeypatch: pytest.MonkeyPatch,
    head_size: int,
    dtype: torch.dtype,
    capability: tuple[int, int],
    expected: bool,
    is_autocast: bool,
) -> None:
    """Layers of float32 give autocast's 16 bits; layers of 16 bits give those without autocast."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: is_autocast)
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda kind: dtype)
    own = torch.float32 if is_autocast else dtype
    hidden: Any = SimpleNamespace(device=torch.device("cuda", 0), dtype=own, shape=torch.Size((9, 3 * head_size)))
    assert fits_kernel(hidden, 3, 0.0) is expected
    assert not fits_kernel(hidden, 3, 0.1), "the kernel has no dropout"
    hidden.device = torch.device("cpu")
    assert not fits_kernel(hidden, 3, 0.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_training", [True, False])
def test_packed_is_padded(monkeypatch: pytest.MonkeyPatch, kind: str, is_training: bool) -> None:
    """With a plain function in place of the kernel, vectors and gradients are those of batched attention, which makes a layout."""
    calls: list[str] = []
    layout_of = HeadLayout.of
    monkeypatch.setattr(HeadLayout, "of", lambda *sizes: calls.append("layout") or layout_of(*sizes))
    monkeypatch.setattr(
        varlen, "varlen_attn", lambda *args, **window: calls.append("packed") or plain_varlen(*args, **window)
    )
    encoder = encoder_of(kind).train(is_training)
    padded = results(encoder)
    assert calls == ["layout"], "one for all layers"
    calls.clear()
    monkeypatch.setattr(packed_attention, "fits_kernel", lambda hidden, num_heads, p: True)
    packed = results(encoder)
    assert calls == ["packed"] * 2, "and none where it is of no use"
    for ours, theirs in zip(packed, padded, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


# The kernel itself.


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_kernel_is_as_near_to_float64_as_padded_attention_is(
    monkeypatch: pytest.MonkeyPatch, kind: str, is_training: bool, dtype: torch.dtype
) -> None:
    if torch.cuda.get_device_capability() < AMPERE:
        pytest.skip("needs a CUDA device of capability 8.0 or more")
    exact = results(encoder_of(kind).double().train(is_training))
    calls: list[None] = []
    kernel = varlen.varlen_attn
    monkeypatch.setattr(varlen, "varlen_attn", lambda *args, **window: calls.append(None) or kernel(*args, **window))
    encoder = encoder_of(kind).train(is_training).cuda()
    packed = results(encoder, "cuda", dtype)
    assert len(calls) == 2
    monkeypatch.setattr(packed_attention, "fits_kernel", lambda hidden, num_heads, p: False)
    padded = results(encoder, "cuda", dtype)
    assert len(calls) == 2
    assert len(packed) == len(exact)
    precision = torch.finfo(dtype).eps
    for ours, other, true in zip(packed, padded, exact, strict=True):
        error, usual = (ours - true).norm(), (other - true).norm()
        assert error <= 2 * usual + precision * true.norm()


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head_size", [4, 12, 200, 264])
def test_head_sizes_that_the_kernel_has_not_are_padded(kind: str, head_size: int) -> None:
    sizes = SIZES | {"hidden_size": 2 * head_size, "num_heads": 2}
    encoder = KINDS[kind](60, **sizes, **DROPOUTS).cuda()
    ids, mask = (tensor.cuda() for tensor in texts())
    with torch.autocast("cuda", dtype=torch.bfloat16):
        encoded = encoder(ids, mask)
    encoded.float().sum().backward()
    assert torch.isfinite(encoded).all()
