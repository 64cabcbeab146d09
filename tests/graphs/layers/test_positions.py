"""Positions against the papers' formulas."""

import math

import pytest
import torch

from graphs.layers.positions import rotary_angles, rotated, sinusoids
from graphs.models.transformer import TransformerEncoder


@pytest.mark.parametrize("size", [16, 64, 7])
def test_sinusoids_are_those_of_the_paper(size: int) -> None:
    """Vaswani et al. 2017, section 3.5: PE(pos, 2i) = sin(pos / 10000^(2i / d)), PE(pos, 2i + 1) = cos(pos / 10000^(2i / d))."""
    places = [0, 1, 7, 49, 511]
    table = sinusoids(torch.tensor(places), size)
    assert table.shape == (5, size)
    d = size + size % 2  # an odd size lacks the last cosine
    for row, position in zip(table.tolist(), places, strict=True):
        for place, found in enumerate(row):
            angle = position / 10000 ** (2 * (place // 2) / d)
            assert found == pytest.approx(math.cos(angle) if place % 2 else math.sin(angle), abs=1e-4), (
                position,
                place,
            )


def test_words_are_about_as_large_as_sinusoidal_positions() -> None:
    """At the start, at BERT's standard deviation of 0.02: 0.02 * sqrt(256) = 0.32 against sqrt(1/2) for sines and cosines."""
    torch.manual_seed(0)
    embeddings = TransformerEncoder(1000, positions="sinusoidal", type_vocab_size=0).embeddings
    ids, places = torch.randint(1000, (2000,)), torch.arange(200).repeat(10)
    both = embeddings(ids, places, None)
    position = sinusoids(places, 256)
    word = both - position
    assert position.square().mean().sqrt().item() == pytest.approx(0.5**0.5, rel=1e-3)
    assert word.std().item() == pytest.approx(0.02 * 256**0.5, rel=0.02)
    assert 0.4 < word.std().item() / position.std().item() < 1


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_words_are_not_made_larger_without_sinusoids(positions: str) -> None:
    torch.manual_seed(0)
    embeddings = TransformerEncoder(1000, positions=positions, type_vocab_size=0).embeddings
    ids = torch.randint(1000, (500,))
    hidden = embeddings(ids, torch.zeros_like(ids), None)
    first = 0 if embeddings.position is None else embeddings.position.weight[0]
    assert torch.equal(hidden, embeddings.token.weight[ids] + first)


def products(size: int, length: int) -> torch.Tensor:
    """(T, T) products of one query and one key, turned to all positions."""
    torch.manual_seed(0)
    qkv = torch.randn(1, 3, 1, size, dtype=torch.double).expand(length, 3, 1, size)
    query, key, _ = rotated(qkv, rotary_angles(torch.arange(length), size).double()).unbind(1)  # each (T, 1, D)
    return query[:, 0] @ key[:, 0].T


def test_rotary_products_know_only_the_distance() -> None:
    """Su et al. 2021, section 3.1: whatever the positions are, the product is that of their distance."""
    found = products(8, 40)
    for distance in range(-39, 40):
        line = found.diagonal(distance)
        torch.testing.assert_close(line, line[:1].expand_as(line), atol=1e-4, rtol=1e-4)
    distances = found[0]  # of position 0 to each
    assert (distances[1:] - distances[:-1]).abs().min() > 1e-3, "each distance has a product of its own"


@pytest.mark.parametrize("size", [2, 8, 64])
def test_rotation_is_the_product_with_complex_numbers(size: int) -> None:
    """Su et al. 2021, eq. 12 to 15: pair i, as a complex number, times exp(j * position / 10000^(2i / D)); values stay."""
    torch.manual_seed(0)
    places = torch.tensor([0, 1, 5, 100])
    qkv = torch.randn(4, 3, 2, size)
    turned = rotated(qkv, rotary_angles(places, size))
    pairs = torch.complex(*qkv.double().chunk(2, dim=-1))  # component i with i + D / 2
    angles = places[:, None] / 10000 ** (torch.arange(0, size, 2) / size).double()
    expected = pairs * torch.polar(torch.ones_like(angles), angles)[:, None, None]
    found = torch.complex(*turned.double().chunk(2, dim=-1))
    torch.testing.assert_close(found[:, :2], expected[:, :2], atol=1e-4, rtol=1e-4)
    assert torch.equal(turned[:, 2], qkv[:, 2])
    torch.testing.assert_close(turned.norm(dim=-1), qkv.norm(dim=-1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_rotation_of_16_bits_is_rounded_once_and_stays_in_them(dtype: torch.dtype) -> None:
    """Angles of far positions have no place in 16 bits; and a product of 32 would not fit the kernel without padding."""
    torch.manual_seed(0)
    places, qkv = torch.arange(480, 512), torch.randn(32, 3, 2, 16).to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        turned = rotated(qkv, rotary_angles(places, 16))
    assert turned.dtype == dtype
    exact = rotated(qkv.double(), rotary_angles(places, 16).double())
    assert (
        (turned.double() - exact).abs() <= torch.finfo(dtype).eps * exact.abs() + 1e-3 * torch.finfo(dtype).eps
    ).all()
