"""The loss computed a few rows at a time is torch's of all logits, and so are its gradients."""

import pytest
import torch
from torch.nn import functional

from graphs.losses import token_cross_entropy
from graphs.losses.token_cross_entropy import TokenCrossEntropy


@pytest.mark.parametrize("rows_at_a_time", [1, 5, 1000])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_the_cross_entropy_of_the_product(
    smoothing: float, rows_at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_cross_entropy, "LOGITS", rows_at_a_time * 101)
    torch.manual_seed(0)
    hidden, table = torch.randn(37, 16, requires_grad=True), torch.randn(101, 16, requires_grad=True)
    labels = (hidden @ table.T).argmax(dim=1).where(torch.arange(37) % 3 == 0, torch.randint(0, 101, (37,)))
    found = TokenCrossEntropy(label_smoothing=smoothing)(hidden, table, labels)
    own = torch.autograd.grad(0.3 * found.loss, [hidden, table])
    logits = hidden @ table.T
    expected = functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="sum")
    torch.testing.assert_close(found.loss, expected, atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(
        found.nll, functional.cross_entropy(logits, labels, reduction="sum"), atol=1e-3, rtol=1e-5
    )
    assert int(found.num_right) == int((logits.argmax(dim=1) == labels).sum()) >= 13
    assert not found.nll.requires_grad
    for ours, theirs in zip(own, torch.autograd.grad(0.3 * expected, [hidden, table]), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    formula = TokenCrossEntropy(label_smoothing=smoothing).of_logits(hidden @ table.T, labels)
    torch.testing.assert_close(formula, found, atol=1e-3, rtol=1e-5)


def test_sixteen_bits_are_near() -> None:
    torch.manual_seed(0)
    hidden, table, labels = torch.randn(64, 32), torch.randn(300, 32) / 8, torch.randint(0, 300, (64,))
    exact = TokenCrossEntropy()(hidden, table, labels).loss
    with torch.autocast("cpu", torch.bfloat16):
        rough = TokenCrossEntropy()(hidden, table, labels).loss
    torch.testing.assert_close(rough, exact, rtol=1e-2, atol=0)
    assert rough.dtype == torch.float32


def test_without_gradients_none_are_computed() -> None:
    with torch.no_grad():
        assert not TokenCrossEntropy()(torch.randn(3, 4), torch.randn(9, 4), torch.tensor([1, 2, 3])).loss.requires_grad


def test_a_bad_smoothing_is_named() -> None:
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\), got 1"):
        TokenCrossEntropy(label_smoothing=1)
