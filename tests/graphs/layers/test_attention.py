"""The formula of attention against torch's own functions: any mask, one sequence or two."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from graphs.layers.attention import SelfAttention, attention, attention_weights, causal_mask
from graphs.layers.token_layout import PaddedTokens

SIGMAS = 5
PADDING = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None]  # (B, 1, 1, K)


def heads(num_queries: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """query (2, 3, Q, 4), key and value (2, 3, 5, 4)."""
    torch.manual_seed(num_queries)
    query, *rest = (torch.randn(2, 3, length, 4, dtype=torch.double) for length in (num_queries, 5, 5))
    return query.requires_grad_(), rest[0].requires_grad_(), rest[1].requires_grad_()


@pytest.mark.parametrize(
    ("num_queries", "mask"),
    [
        (5, None),
        (5, PADDING),
        (5, causal_mask(5, 5)),
        (5, causal_mask(5, 5) & PADDING),
        (7, PADDING),
        (1, None),
        (2, causal_mask(2, 5)),
    ],
    ids=["all", "padding", "causal", "causal and padding", "cross", "one query", "last queries"],
)
def test_the_formula_is_torch_s(num_queries: int, mask: Tensor | None) -> None:
    """Values and gradients."""
    results = []
    for function in (attention, functional.scaled_dot_product_attention):
        qkv = heads(num_queries)
        output = function(*qkv, mask)
        results.append([output, *torch.autograd.grad(output.square().sum(), qkv)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_causal_mask_is_that_of_torch() -> None:
    theirs = nn.Transformer.generate_square_subsequent_mask(6)  # 0 and -inf
    assert torch.equal(causal_mask(6, 6), theirs == 0)
    assert torch.equal(causal_mask(2, 6), (theirs == 0)[-2:])


def test_a_causal_query_does_not_see_the_future() -> None:
    query, key, value = heads()
    for position in range(5):
        output = attention(query, key, value, causal_mask(5, 5))[:, :, position]
        by_key, by_value = torch.autograd.grad(output.square().sum(), (key, value))
        assert not by_key[:, :, position + 1 :].any()
        assert not by_value[:, :, position + 1 :].any()
        assert by_value[:, :, : position + 1].all()


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("is_cross", [False, True])
def test_the_formula_between_projections_is_nn_multihead_attention(is_causal: bool, is_cross: bool) -> None:
    """Queries of one sequence, keys and values of another, or of the same: output and weights."""
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.double)
    nn.init.normal_(theirs.in_proj_bias)
    memory, mask = torch.randn(2, 5, 12, dtype=torch.double), PADDING
    hidden = torch.randn(2, 4, 12, dtype=torch.double) if is_cross else memory
    if is_causal:
        mask = mask & causal_mask(hidden.shape[1], 5)
    own = ~causal_mask(hidden.shape[1], 5) if is_causal else None
    expected = theirs(
        hidden, memory, memory, key_padding_mask=~PADDING[:, 0, 0], attn_mask=own, average_attn_weights=False
    )
    parts = zip((hidden, memory, memory), theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3), strict=True)
    query, key, value = (functional.linear(*part).unflatten(-1, (3, 4)).transpose(1, 2) for part in parts)
    context = attention(query, key, value, mask).transpose(1, 2).flatten(-2)
    torch.testing.assert_close(theirs.out_proj(context), expected[0])
    torch.testing.assert_close(attention_weights(query, key, mask), expected[1])


@pytest.mark.parametrize("first_only", [False, True])
def test_padded_self_attention_is_nn_multihead_attention(first_only: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = SelfAttention(12, 3).double(), nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.double)
    names = {"in_proj_weight": "qkv.weight", "in_proj_bias": "qkv.bias"}
    names |= {"out_proj.weight": "output.weight", "out_proj.bias": "output.bias"}
    ours.load_state_dict({names[name]: tensor for name, tensor in theirs.state_dict().items()})
    hidden, mask = torch.randn(2, 5, 12, dtype=torch.double), PADDING[:, 0, 0]
    found = ours(hidden, PaddedTokens(mask), first_only=first_only)
    expected, _ = theirs(hidden, hidden, hidden, key_padding_mask=~mask)
    torch.testing.assert_close(found, expected[:, 0] if first_only else expected)


def test_dropout_drops_each_weight_by_itself_and_keeps_the_mean() -> None:
    """With unit vectors as values, twice, the output is the weights themselves, and the weights again."""
    torch.manual_seed(1)
    query, key = torch.randn(2, 300, 2, 20, 20)
    weights = attention_weights(query, key)
    dropped, again = attention(query, key, torch.eye(20).repeat(300, 2, 1, 2), p=0.25).chunk(2, dim=-1)
    assert torch.equal(dropped, again)
    is_kept = dropped != 0
    torch.testing.assert_close(dropped[is_kept], weights[is_kept] / 0.75)
    sigma = (0.1875 / weights.numel()) ** 0.5
    assert abs(is_kept.double().mean().item() - 0.75) < SIGMAS * sigma
    assert abs((is_kept[:, 0] == is_kept[:, 1]).double().mean().item() - 0.625) < SIGMAS * 2 * sigma


def test_a_query_without_a_key_is_finite() -> None:
    output = attention(*heads(), torch.zeros(5, 5, dtype=torch.bool))
    assert torch.isfinite(output).all()
