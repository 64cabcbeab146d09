"""Positions against the papers' formulas."""

import pytest
import torch

from graphs.models.positions import rotary_angles, rotated, sinusoids


def test_rotary_products_know_only_the_distance() -> None:
    torch.manual_seed(0)
    qkv = torch.randn(1, 3, 1, 8).expand(10, 3, 1, 8)
    query, key, _ = rotated(qkv, rotary_angles(torch.arange(10), 8)).unbind(1)  # each (10, 1, 8)
    products = query[:, 0] @ key[:, 0].T  # (10, 10)
    for distance in range(-9, 10):
        line = products.diagonal(distance)
        torch.testing.assert_close(line, line[:1].expand_as(line), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(products[0, 0], products[0, 5])


def test_sinusoids_are_those_of_the_paper() -> None:
    table = sinusoids(torch.arange(50), 16)
    assert table[7, 4].item() == pytest.approx(torch.sin(torch.tensor(7 / 10000 ** (4 / 16))).item(), abs=1e-6)
    assert table[7, 5].item() == pytest.approx(torch.cos(torch.tensor(7 / 10000 ** (4 / 16))).item(), abs=1e-6)
