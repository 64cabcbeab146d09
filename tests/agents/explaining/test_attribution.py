"""Scores against what they must be: closed forms of a linear model, sums by hand, completeness, two layers of attention by hand."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from explained_runs import TEXT, VARIANTS, embedded, opened, record_of
from torch import Tensor

from agents.explaining.attribution import METHODS, Explainer, explain, methods_of, rollout
from agents.running.predictor import Predictor
from commands.explain import METHODS as PROMISED
from utils.errors import ConfigError

SENTENCE = "salt the soup and bake a fresh loaf again"


def linear(predictor: Predictor, text: str, label: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Of a bag of embeddings with a linear head: the embeddings (T, E) of a text, the label's weights (E,) and bias."""
    (ids,) = predictor.agent.encode([record_of(predictor, text)]).fields  # type: ignore[attr-defined]
    state = {name: tensor.double().numpy() for name, tensor in predictor.model.state_dict().items()}
    vectors = state["encoders.0.embedding.weight"][ids.text(0)]
    return vectors, state["head.layers.0.weight"][label], state["head.layers.0.bias"][label]


def scores(predictor: Predictor, method: str, text: Any = TEXT, label: str | None = None) -> Any:
    return Explainer(predictor, method, label).explain(record_of(predictor, text))


@pytest.mark.parametrize("name", VARIANTS)
def test_the_embedded_text_is_the_text(name: str) -> None:
    """With its own rows the model says what it says of the text, of each of several copies, too."""
    predictor = opened(name)
    text = embedded(predictor)
    with torch.no_grad():
        found = text(*(torch.cat([rows, rows, 0 * rows]) for rows in text.rows))
    ((_, outputs),) = predictor.outputs(predictor.agent.encode([record_of(predictor)]))  # type: ignore[attr-defined]
    torch.testing.assert_close(found[:2], outputs.reshape(1, -1).expand(2, -1), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found[2], found[0], atol=1e-5)


@pytest.mark.parametrize("name", ["several labels", "number"])
def test_a_linear_model_has_the_scores_of_its_weights(name: str) -> None:
    """The mean of T embeddings times the weights: each word's share is known, and what is left without it."""
    predictor = opened(name)
    label = None if name == "number" else "chess"
    number = 0 if label is None else list(predictor.artifacts.labels).index(label)
    vectors, weights, bias = linear(predictor, SENTENCE, number)
    products, size = vectors @ weights, len(vectors)
    for method in ("gradient_x_input", "integrated_gradients"):
        found = scores(predictor, method, SENTENCE, label)
        np.testing.assert_allclose(found.scores, products / size, rtol=1e-3, atol=1e-6)
        assert found.evidence == pytest.approx(products.mean() + bias, abs=1e-5)
    left = (products.sum() - products) / (size - 1)
    found = scores(predictor, "occlusion", SENTENCE, label)
    np.testing.assert_allclose(found.scores, products.mean() - left, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["two fields", "windows", "pair", "bert"])
def test_integrated_gradients_are_the_integral(name: str) -> None:
    """Against the midpoint rule with many steps, one step at a time; and they add up to what the words change."""
    predictor = opened(name)
    found, text = scores(predictor, "integrated_gradients", label="cooking"), embedded(predictor)
    number, steps = list(predictor.artifacts.labels).index("cooking"), 300
    totals = [torch.zeros_like(rows) for rows in text.rows]
    for step in range(steps):
        share = (step + 0.5) / steps
        pairs = zip(text.baselines, text.rows, strict=True)
        between = [(base + share * (rows - base)).requires_grad_() for base, rows in pairs]
        probability = text(*between).softmax(dim=-1)[0, number]
        gradients = torch.autograd.grad(probability.logit(), between)
        totals = [total + gradient / steps for total, gradient in zip(totals, gradients, strict=True)]
    by_token = [
        ((rows - base) * total)[0].sum(dim=-1).detach().numpy()
        for rows, base, total in zip(text.rows, text.baselines, totals, strict=True)
    ]
    np.testing.assert_allclose(found.scores, text.reading.by_word(by_token), rtol=0.02, atol=2e-3)

    def evidence(rows: tuple[Tensor, ...]) -> float:
        with torch.no_grad():
            return float(text(*rows).softmax(dim=-1)[0, number].logit())

    assert found.scores.sum() == pytest.approx(evidence(text.rows) - evidence(text.baselines), abs=5e-3)
    assert abs(found.gap) < 5e-3


@pytest.mark.parametrize("name", ["two fields", "several labels"])
def test_evidence_is_the_log_odds_of_the_predicted_probability(name: str) -> None:
    predictor = opened(name)
    text = TEXT if name == "two fields" else SENTENCE
    (line,) = predictor.predict([text])
    for label, probability in line["probabilities"].items():
        found = scores(predictor, "gradient_x_input", text, label)
        assert found.evidence == pytest.approx(math.log(probability / (1 - probability)), abs=1e-4)
        assert float(Explainer(predictor, "occlusion").values(found.evidence)) == pytest.approx(probability, abs=1e-5)
    assert scores(predictor, "occlusion", text).label == max(line["probabilities"], key=line["probabilities"].get)


def test_occlusion_is_the_fall_when_the_word_is_removed() -> None:
    predictor = opened("two fields")
    found = scores(predictor, "occlusion", TEXT, "chess")

    def log_odds(text: dict[str, str]) -> float:
        probability = predictor.predict([text])[0]["probabilities"]["chess"]
        return math.log(probability / (1 - probability))

    for number, field in ((1, "title"), (4, "text")):  # "the" of the title, "the" of the text
        without = TEXT | {field: " ".join(word for i, word in enumerate(TEXT[field].split()) if i != 1)}
        assert found.scores[number] == pytest.approx(log_odds(TEXT) - log_odds(without), abs=1e-4)


def test_rollout_of_two_layers_by_hand() -> None:
    first, second = [[1.0, 0.0], [0.5, 0.5]], [[0.2, 0.8], [0.0, 1.0]]
    # (A + I) / 2: [[1, 0], [.25, .75]] and [[.6, .4], [0, 1]]; their product, the second layer's on the left
    expected = [[0.6 + 0.4 * 0.25, 0.4 * 0.75], [0.25, 0.75]]
    found = rollout(torch.tensor([[first, second]]))
    torch.testing.assert_close(found, torch.tensor([expected]))


def test_rollout_scores_are_shares_of_the_vector() -> None:
    """Of [CLS] pooling its row, of mean pooling the mean row; what special tokens have is left out. By predict's own weights."""
    for name in ("pair", "bytes", "windows"):
        predictor = opened(name)
        found, text = scores(predictor, "attention_rollout"), embedded(predictor)
        parts, expected = iter(predictor.attention(TEXT)), []
        for field in text.fields:
            shares = []
            for part in itertools.islice(parts, len(field["input_ids"])):  # its windows
                flow = np.eye(len(part["tokens"]))
                for layer in np.array(part["weights"]).mean(axis=1):
                    flow = (layer + np.eye(len(layer))) / 2 @ flow
                shares.append(flow[0] if name == "pair" else flow.mean(axis=0))
            expected.append(np.concatenate(shares) / len(shares))
        np.testing.assert_allclose(found.scores, text.reading.by_word(expected), atol=1e-5)
        if name == "bytes":  # two fields without special tokens
            assert found.scores.sum() == pytest.approx(2, abs=1e-4)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_method_scores_every_word(name: str) -> None:
    predictor = opened(name)
    for method in methods_of(predictor):
        found = explain(predictor, TEXT, method=method)
        fields = predictor.corpus.fields
        assert [word for _, word, _ in found] == [word for field in fields for word in TEXT[field].split()]
        assert {field for field, _, _ in found} == set(fields)
        assert any(score for _, _, score in found)
        assert all(math.isfinite(score) for _, _, score in found)


def test_a_text_of_one_word_and_one_that_the_tokenizer_does_not_know() -> None:
    for name in ("bert", "several labels"):
        predictor = opened(name)
        for text in ("sail", "\u4e2d", "?"):
            assert [word for _, word, _ in explain(predictor, text, method="occlusion")] == [text]


def test_what_cannot_be_explained_is_said() -> None:
    predictor = opened("two fields")
    with pytest.raises(
        ConfigError, match=r"model bilstm has no attention; .* integrated_gradients, occlusion, gradient"
    ):
        Explainer(predictor, "attention_rollout")
    with pytest.raises(ConfigError, match="magic: unknown method; this run can"):
        Explainer(predictor, "magic")
    with pytest.raises(ConfigError, match="unknown label 'tennis'; known: chess, cooking, sailing"):
        Explainer(predictor, "occlusion", "tennis")
    with pytest.raises(ConfigError, match="unknown label 'chess'; this run predicts a number"):
        Explainer(opened("number"), "occlusion", "chess")


def test_the_command_promises_the_methods_that_there_are() -> None:
    assert list(PROMISED) == list(METHODS)


@pytest.mark.parametrize(("name", "method"), [("siamese", "occlusion"), ("two fields", "integrated_gradients")])
def test_the_default_is_a_method_that_says_something_of_the_model(name: str, method: str) -> None:
    assert Explainer(opened(name)).method == method
