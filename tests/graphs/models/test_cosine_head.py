"""The siamese head: logits by hand, and one encoder for both texts."""

import math

import pytest
import torch

from graphs.models.bilstm import BiLSTM
from graphs.models.cosine_head import CosineHead
from graphs.models.text_classifier import TextClassifier

# Cosines 1, 0 and 0.6: parallel, orthogonal, and 3-4-5.
VECTORS = torch.tensor([[1.0, 0.0, 2.0, 0.0], [1.0, 0.0, 0.0, 3.0], [5.0, 0.0, 3.0, 4.0]])


@pytest.mark.parametrize(("positive", "column"), [(None, 1), ("same", 1), ("other", 0)])
def test_the_logits_are_those_of_the_cosine(positive: str | None, column: int) -> None:
    head = CosineHead(["other", "same"], scale=10.0, threshold=0.5, positive=positive)
    logits = head(VECTORS)
    assert torch.allclose(logits[:, column], torch.tensor([5.0, -5.0, 1.0]), atol=1e-5)
    assert torch.equal(logits[:, 1 - column], torch.zeros(3))


@pytest.mark.parametrize("speed", [1.0, 20.0])
def test_scale_and_threshold_learn(speed: float) -> None:
    head = CosineHead(["a", "b"], scale=2.0, threshold=0.1, speed=speed)
    head(VECTORS)[:, 1].sum().backward()
    # d/d log scale = scale * sum(cosine - threshold) = 2 * (1.6 - 0.3); d/d threshold = -3 * scale
    assert head.log_scale.grad is not None
    assert head.threshold.grad is not None
    assert head.log_scale.grad.item() == pytest.approx(2.6 * speed)
    assert head.threshold.grad.item() == pytest.approx(-6.0 * speed)


def test_both_texts_go_through_one_encoder() -> None:
    torch.manual_seed(0)
    encoder = BiLSTM(20, embedding_size=6, hidden_size=5)
    model = TextClassifier([encoder], CosineHead(["a", "b"])).eval()
    first, second = (
        {"input_ids": torch.randint(1, 20, (3, n)), "attention_mask": torch.ones(3, n).bool()} for n in (4, 7)
    )
    cosine = torch.cosine_similarity(encoder(**first), encoder(**second), dim=-1)
    assert torch.allclose(model([first, second])[:, 1], 10 * (cosine - 0.5), atol=1e-5)
    assert torch.allclose(model([first, second]), model([second, first]), atol=1e-6)
    assert (
        sum(parameter.numel() for parameter in model.parameters()) == sum(p.numel() for p in encoder.parameters()) + 2
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": 0.0}, "scale"),
        ({"speed": 0.0}, "speed"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": math.nan}, "threshold"),
    ],
)
def test_bad_options(options: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words} must be"):
        CosineHead(["a", "b"], **options)  # type: ignore[arg-type]
