"""Attention against torch's and the plain formula, with dropout and without, and where it needs no padding."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from graphs.layers.attention import RealTokens, attention_with_dropout
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


@pytest.mark.parametrize("options", [{}, {"norm": "post"}, {"positions": "rotary"}])
def test_attention_weights_are_those_that_the_states_were_made_with(options: dict[str, str]) -> None:
    torch.manual_seed(0)
    encoder = TransformerEncoder(60, **SIZES, **options).eval()
    ids, mask = texts([6, 3])
    made: list[tuple[Tensor, ...]] = []  # what the attention of each layer was given, and what it gave
    for layer in encoder.layers:
        layer.attention.register_forward_hook(lambda _, given, output: made.append((*given, output)))
    tokens = RealTokens.of(mask)
    encoder.encode(ids, tokens)
    seen = encoder.attention_of(ids, mask)
    assert [weights.shape for weights in seen] == [(2, 4, 6, 6)] * 3
    for weights, layer, (hidden, _, rotation, _, output) in zip(seen, encoder.layers, made[:3], strict=True):
        torch.testing.assert_close(weights.sum(-1), mask[:, None, :].expand(2, 4, 6).float())
        assert not weights[1, :, :, 3:].any()
        value = tokens.pad(layer.attention.project(hidden, rotation))[:, :, 2].transpose(1, 2)  # (B, A, T, D)
        context = tokens.strip((weights @ value).transpose(1, 2)).flatten(1)
        torch.testing.assert_close(layer.attention.output(context), output)


@pytest.mark.parametrize("pooling", ["cls", "pooler", "mean", "max", "attention"])
@pytest.mark.parametrize("lengths", [[3, 0], [0, 3], [2, 0, 4]])
def test_a_text_without_a_real_token_is_refused(lengths: list[int], pooling: str) -> None:
    """Its first token would be another text's, or none."""
    ids, mask = texts(lengths)
    encoder = TransformerEncoder(60, **SIZES, pooling=pooling)
    with pytest.raises(ValueError, match=f"text {lengths.index(0)} of the batch has no real token"):
        encoder(ids, mask)


def test_token_index_given_is_token_index_found() -> None:
    _, mask = texts([6, 3, 1])
    found, given = RealTokens.of(mask), RealTokens.of(mask, mask.flatten().nonzero().squeeze(1))
    assert all(torch.equal(a, b) for a, b in zip(found[:3], given[:3], strict=True))
    assert found.offsets.tolist() == [0, 6, 9, 10]
    assert found.offsets.dtype == torch.int32


@pytest.mark.parametrize("lengths", [[6, 3, 1], [4, 4]], ids=str)
@pytest.mark.parametrize(
    "attention_dropout", [0.0, 1e-9], ids=["torch's function", "ours, with a share that rounds to none"]
)
@pytest.mark.parametrize("options", [{}, {"norm": "post"}, {"positions": "rotary"}, {"checkpoint_activations": True}])
def test_the_first_tokens_alone_have_the_states_that_they_have_among_all(
    options: dict[str, Any], attention_dropout: float, lengths: list[int]
) -> None:
    torch.manual_seed(0)
    encoder = TransformerEncoder(60, **SIZES, **options, dropout=0, attention_dropout=attention_dropout)
    ids, mask = texts(lengths)
    tokens, probe = RealTokens.of(mask), torch.randn(len(lengths), 16)
    states, gradients = [], []
    for first_only in (False, True):
        encoder.zero_grad()
        found = encoder.encode(ids, tokens, first_only=first_only)
        states.append(found if first_only else found[tokens.offsets[:-1]])
        (states[-1] * probe).sum().backward()
        gradients.append([parameter.grad for parameter in encoder.parameters()])
    torch.testing.assert_close(states[1], states[0])
    for cut, whole in zip(*reversed(gradients), strict=True):
        torch.testing.assert_close(cut, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("pooling", "num_states"), [("cls", 2), ("pooler", 2), ("mean", 9)])
def test_the_last_layer_does_what_the_pooling_wants_and_no_more(pooling: str, num_states: int) -> None:
    encoder = TransformerEncoder(60, **SIZES, pooling=pooling)
    seen: list[int] = []
    for layer in encoder.layers:
        layer.feed_forward.register_forward_hook(lambda _, given, output: seen.append(len(output)))
    encoder(*texts([6, 3]))
    assert seen == [9, 9, num_states]
