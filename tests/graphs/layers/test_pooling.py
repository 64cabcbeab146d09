"""Pooling against the papers' formulas, text by text."""

import torch

from graphs.layers.pooling import AttentionPooling, masked_max, masked_mean


def test_attention_pooling_is_that_of_the_paper() -> None:
    """Yang et al. 2016, eq. 5 to 7: u_t = tanh(W h_t + b), a_t = exp(u_t . u) / sum of exp(u_t . u), s = sum of a_t h_t."""
    torch.manual_seed(0)
    lengths = [6, 3, 1]
    hidden, mask = torch.randn(3, 6, 5), torch.arange(6) < torch.tensor(lengths)[:, None]
    pooling = AttentionPooling(5)
    for parameter in pooling.parameters():
        torch.nn.init.normal_(parameter)
    matrix, bias, context = pooling.projection.weight, pooling.projection.bias, pooling.query.weight[0]
    found = pooling(hidden, mask)
    for text, length, vector in zip(hidden, lengths, found, strict=True):
        scores = [torch.exp(torch.tanh(matrix @ text[t] + bias) @ context) for t in range(length)]
        expected = sum(score / sum(scores) * text[t] for t, score in enumerate(scores))
        torch.testing.assert_close(vector, expected)


def test_mean_and_max_are_those_of_the_real_tokens() -> None:
    torch.manual_seed(0)
    hidden, lengths = torch.randn(3, 6, 5) - 3, [6, 3, 1]  # below zero, which padding is
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    for i, length in enumerate(lengths):
        torch.testing.assert_close(masked_mean(hidden, mask)[i], hidden[i, :length].mean(dim=0))
        assert torch.equal(masked_max(hidden, mask)[i], hidden[i, :length].amax(dim=0))
