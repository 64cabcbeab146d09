"""Heads looked up by row are the padded and turned ones, and so are their gradients."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from graphs.layers.head_layout import HeadLayout, from_heads, to_heads


def padded(tokens: Tensor, mask: Tensor) -> Tensor:
    """(N, ...) -> (B, T, ...) in the plainest way."""
    result = tokens.new_zeros(*mask.shape, *tokens.shape[1:])
    result[mask] = tokens
    return result


@pytest.mark.parametrize("lengths", [[4, 2, 1], [3, 3], [1]])
@pytest.mark.parametrize("num_heads", [1, 3])
def test_equals_padding_and_turning(lengths: list[int], num_heads: int) -> None:
    torch.manual_seed(1)
    longest, head_size = max(lengths), 5
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    layout = HeadLayout.of(mask, mask.flatten().nonzero().squeeze(1), num_heads)
    tokens = torch.randn(sum(lengths), 3, num_heads, head_size, dtype=torch.double)
    weight = torch.randn(sum(lengths), num_heads, head_size, dtype=torch.double)
    results = []
    for is_ours in (True, False):
        qkv = tokens.clone().requires_grad_()
        if is_ours:
            query, key, value = to_heads(qkv, layout, longest).unflatten(1, (-1, num_heads))
        else:
            query, key, value = padded(qkv, mask).permute(2, 0, 3, 1, 4)
        context = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        stripped = from_heads(context.flatten(0, 1), layout, num_heads) if is_ours else context.transpose(1, 2)[mask]
        (stripped * weight).sum().backward()
        results.append((stripped, qkv.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
