"""Every loss is a sum over counted labels, so that cutting a batch changes nothing; and equals torch's own mean."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from graphs.losses import LOSSES
from graphs.losses.binary_cross_entropy import BinaryCrossEntropy
from graphs.losses.cross_entropy import CrossEntropy
from graphs.losses.distillation import Distillation
from graphs.losses.focal import Focal

LABELS = ["a", "b", "c"]
WEIGHTS = {"a": 0.5, "c": 3.0}
VARIANTS: dict[str, nn.Module] = {
    "plain": CrossEntropy(LABELS),
    "weights": CrossEntropy(LABELS, class_weights=WEIGHTS),
    "smoothing": CrossEntropy(LABELS, label_smoothing=0.2),
    "focal": Focal(LABELS, gamma=1.5, class_weights=WEIGHTS),
    "distillation": Distillation(LABELS, teacher="x", class_weights=WEIGHTS),
    "binary": BinaryCrossEntropy(LABELS, class_weights=WEIGHTS),
}


def batch(loss: nn.Module) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(10, 3, generator=generator)
    if loss.is_multi_label:
        return logits, torch.randint(0, 2, (10, 3), generator=generator).float()
    labels = torch.randint(0, 3, (10,), generator=generator)
    labels[3] = -100
    return logits, labels


def test_every_loss_is_tested() -> None:
    assert {type(loss) for loss in VARIANTS.values()} == set(LOSSES.values())


@pytest.mark.parametrize("name", VARIANTS)
def test_parts_add_up_to_the_whole(name: str) -> None:
    loss = VARIANTS[name]
    logits, labels = batch(loss)
    parts = sum(loss(logits[rows], labels[rows]) for rows in (slice(0, 4), slice(4, 5), slice(5, 10)))
    torch.testing.assert_close(parts, loss(logits, labels))
    counts = sum(loss.count(labels[rows]) for rows in (slice(0, 4), slice(4, 5), slice(5, 10)))
    assert counts == pytest.approx(loss.count(labels))


@pytest.mark.parametrize("name", ["plain", "weights", "smoothing"])
def test_cross_entropy_is_torchs_mean(name: str) -> None:
    loss = VARIANTS[name]
    logits, labels = batch(loss)
    weight = torch.tensor([0.5, 1.0, 3.0]) if name == "weights" else None
    expected = functional.cross_entropy(logits, labels, weight, label_smoothing=0.2 if name == "smoothing" else 0.0)
    torch.testing.assert_close(loss(logits, labels) / loss.count(labels), expected)


def test_focal_with_gamma_zero_is_cross_entropy_and_easy_texts_count_less() -> None:
    plain = CrossEntropy(LABELS)
    logits, labels = batch(plain)
    torch.testing.assert_close(Focal(LABELS, gamma=0.0)(logits, labels), plain(logits, labels))
    easy, hard = torch.tensor([[5.0, 0, 0]]), torch.tensor([[0.0, 5, 0]])
    gold = torch.tensor([0])
    ratio = Focal(LABELS)(easy, gold) / Focal(LABELS)(hard, gold)
    assert ratio < (plain(easy, gold) / plain(hard, gold)) / 100


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 0.9, 1.0, 2.0, 5.0])
def test_focal_is_its_formula_in_float64_and_finite_at_any_margin(gamma: float) -> None:
    """Lin et al. 2017, eq. 4, of logits whose softmax is 1.0 or 0.0 in float32; 1 - p is summed from the others, not subtracted."""
    margins = torch.tensor([-200.0, -90, -20, -1, 0, 1, 16, 17, 20, 90, 200])
    logits = torch.stack([margins, torch.zeros(11), torch.full((11,), -3.0)], dim=1).requires_grad_()
    loss = Focal(LABELS, gamma=gamma)(logits, torch.zeros(11, dtype=torch.int64))
    wide = logits.detach().double().requires_grad_()
    rest = wide.softmax(dim=1)[:, 1:].sum(dim=1)
    expected = (-wide.log_softmax(dim=1)[:, 0] * rest**gamma).sum()
    for each in (loss, expected):
        each.backward()
    assert logits.grad is not None
    assert wide.grad is not None
    assert logits.grad.isfinite().all()
    torch.testing.assert_close(loss.double(), expected)
    torch.testing.assert_close(logits.grad.double(), wide.grad, rtol=1e-5, atol=1e-7)


def test_binary_cross_entropy_is_torchs_mean() -> None:
    loss = BinaryCrossEntropy(LABELS)
    logits, labels = batch(loss)
    expected = functional.binary_cross_entropy_with_logits(logits, labels)
    torch.testing.assert_close(loss(logits, labels) / loss.count(labels), expected)


def test_ignored_labels_give_no_gradient() -> None:
    for loss in (CrossEntropy(LABELS), Focal(LABELS)):
        logits = torch.randn(2, 3, requires_grad=True)
        loss(logits, torch.tensor([-100, 1])).backward()
        assert logits.grad is not None
        assert logits.grad[0].abs().sum() == 0
        assert logits.grad[1].abs().sum() > 0


def test_no_class_weights_are_weights_of_one() -> None:
    assert CrossEntropy(LABELS, class_weights={}).weight is None


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (lambda: CrossEntropy(LABELS, class_weights={"d": 1.0}), "class_weights names 'd'"),
        (  # which look the same
            lambda: CrossEntropy(["b", "cafe\u0301"], class_weights={"caf\u00e9": 1.0}),
            r"names 'caf\u00e9', which is not a label \('caf\\xe9' is not 'cafe\\u0301'\); known: b, cafe\u0301$",
        ),
        (lambda: CrossEntropy(LABELS, class_weights={"a": -1.0}), "class_weights"),
        (
            lambda: CrossEntropy(LABELS, class_weights=dict.fromkeys(LABELS, 0.0)),
            "class_weights must not be 0 for every",
        ),
        (lambda: CrossEntropy(LABELS, label_smoothing=1.0), "label_smoothing"),
        (lambda: Focal(LABELS, gamma=-1.0), "gamma"),
    ],
)
def test_bad_values_are_refused(build: object, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        build()  # type: ignore[operator]
