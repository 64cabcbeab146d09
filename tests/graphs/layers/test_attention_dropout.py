"""Attention with dropout on a CPU: the formula's numbers, and the distribution that its dropout should have."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from graphs.layers.packed_attention import attention_with_dropout
from graphs.models.transformer import TransformerEncoder

SIGMAS = 5
SIZES = {"hidden_size": 16, "num_layers": 3, "num_heads": 4, "intermediate_size": 24, "max_positions": 32}


def texts(lengths: list[int]) -> tuple[Tensor, Tensor]:
    """(B, T) random ids, from 5 to 59, and their mask."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.randint(5, 60, mask.shape) * mask, mask


def heads(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    query, key, value = torch.randn(3, 2, 3, 5, 4, dtype=torch.double).requires_grad_()
    return query, key, value


def visible() -> Tensor:
    """(B, 1, 1, T): the second text has two tokens of padding."""
    return torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None]


@pytest.mark.parametrize("mask", [None, visible()])
def test_attention_is_torch_attention_where_nothing_is_dropped(mask: Tensor | None) -> None:
    """p so small that no value is dropped takes our way; values and gradients."""
    results = []
    for function in (
        lambda *qkv: attention_with_dropout(*qkv, mask, 1e-9),
        lambda *qkv: functional.scaled_dot_product_attention(*qkv, attn_mask=mask),
    ):
        qkv = heads(8)
        output = function(*qkv)
        results.append([output, *torch.autograd.grad(output.square().sum(), qkv)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_attention_drops_weights_and_never_sees_padding() -> None:
    """With the unit vectors as values the output is the weights themselves; 900 texts are more than are made at a time."""
    torch.manual_seed(9)
    query, key = torch.randn(2, 900, 2, 40, 40)
    value = torch.eye(40).expand(900, 2, 40, 40)
    mask = (torch.arange(40) < torch.tensor([[40], [30]] * 450))[:, None, None]
    weights = (query @ key.mT / 40**0.5).masked_fill(~mask, -torch.inf).softmax(dim=-1)
    output = attention_with_dropout(query, key, value, mask, 0.25)
    is_kept = output != 0
    torch.testing.assert_close(output[is_kept], weights[is_kept] / 0.75)
    assert not is_kept.masked_select(~mask).any()
    seen = mask.expand_as(is_kept)
    assert torch.equal(is_kept[:, 0], is_kept[:, 1])  # one draw for all heads, another one for every text
    share, num_values = 1 - is_kept[seen].double().mean().item(), seen[:, 0].sum().item()
    assert abs(share - 0.25) < SIGMAS * (0.1875 / num_values) ** 0.5
    both = (is_kept[:-2, 0] == is_kept[2:, 0])[seen[2:, 0]].double().mean().item()
    assert abs(both - 0.625) < SIGMAS * (0.234 / num_values) ** 0.5 + 1e-3


@pytest.mark.parametrize("per_head", [False, True])
@pytest.mark.parametrize("is_uniform", [False, True])
def test_attention_in_16_bits_keeps_the_mean(per_head: bool, is_uniform: bool) -> None:
    """Against the same bfloat16 numbers without dropout, within the standard error of the mean over independent queries."""
    torch.manual_seed(11)
    query, key = (0.0 if is_uniform else 0.3) * torch.randn(2, 1, 2, 64, 16).bfloat16()
    value = torch.ones(1, 2, 64, 16).bfloat16()
    given = [x.expand(1000, -1, -1, -1) for x in (query, key, value)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        means = attention_with_dropout(*given, None, 0.1, per_head).double().mean(dim=(1, 3)).flatten()  # (B * Q,)
    assert abs(means.mean().item() - 1) < SIGMAS * means.std().item() / len(means) ** 0.5


def test_heads_have_masks_of_their_own_where_asked_for() -> None:
    """Two heads see the same attention: with one mask their difference is zero, with two their mean has half the variance."""
    torch.manual_seed(12)
    query, key, value = torch.randn(3, 1, 1, 20, 8).expand(3, 2000, 2, 20, 8)
    kept = functional.scaled_dot_product_attention(query, key, value)
    for per_head, correlation in ((False, 1.0), (True, 0.0)):
        noise = attention_with_dropout(query, key, value, None, 0.25, per_head) - kept
        first, second = noise[:, 0, 0].flatten(), noise[:, 1, 0].flatten()  # independent over texts
        assert abs((first * second).mean() / first.square().mean() - correlation) < 0.05
        assert abs(noise.mean()) < 0.01


def test_the_option_reaches_every_layer_and_draws_other_numbers() -> None:
    ids, mask = texts([6, 3])
    found = []
    for per_head in (False, True):
        torch.manual_seed(13)
        encoder = TransformerEncoder(60, **SIZES, dropout=0, attention_dropout=0.5, dropout_per_head=per_head)
        assert [layer.attention.per_head for layer in encoder.layers] == [per_head] * 3
        found.append(encoder(ids, mask))
    assert not torch.equal(*found)


def test_attention_without_a_share_is_torch_function_and_draws_nothing() -> None:
    state = torch.get_rng_state()
    qkv = [x.detach() for x in heads(10)]
    torch.set_rng_state(state)
    output = attention_with_dropout(*qkv, visible(), 0.0)
    torch.testing.assert_close(output, functional.scaled_dot_product_attention(*qkv, attn_mask=visible()))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("has_mask", [False, True])
def test_bfloat16_without_dropout_is_the_formula_with_gradients(has_mask: bool) -> None:
    """The products that a CPU takes in bfloat16, against float64, within what bfloat16 rounds away."""
    torch.manual_seed(0)
    shape, mask = (3, 2, 20, 8), None
    if has_mask:
        mask = (torch.arange(20) < torch.tensor([20, 7, 13])[:, None])[:, None, None, :]
    inputs = [torch.randn(shape).bfloat16().requires_grad_() for _ in range(3)]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    found = attention_with_dropout(*inputs, mask, 0.0)
    scores = (exact[0] @ exact[1].transpose(-1, -2)) / 8**0.5
    scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
    expected = scores.softmax(dim=-1) @ exact[2]
    gradient = torch.randn(shape)
    found.backward(gradient.bfloat16())
    expected.backward(gradient.double())
    torch.testing.assert_close(found.double(), expected, atol=0.03, rtol=0.03)
    for own, other in zip(inputs, exact, strict=True):
        assert own.grad is not None
        torch.testing.assert_close(own.grad.double(), other.grad, atol=0.05, rtol=0.05)
