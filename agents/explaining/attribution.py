"""A score for each word of a text: how much it speaks for a label, or raises a number. N: words, S: steps, L: labels.

What is explained is the model's *evidence*: of a label its log-odds log(p / (1 - p)), of a regression the number itself. Positive
scores speak for it, negative ones against it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import special
from torch import Tensor

from agents.explaining.embedded import EmbeddedText
from agents.explaining.words import Reading
from agents.running.abilities import Explains, require
from agents.running.given_text import given_record
from agents.running.predictor import BATCH_SIZE, Predictor
from datasets.rows.records import Record
from datasets.tokenizers.processes import chunked
from graphs.models.cosine_head import CosineHead
from utils.errors import ConfigError

STEPS = 50  # of integrated gradients
STEP_TOKENS = 16384  # in a forward pass of several steps
Evidence = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Explanation:
    """scores (N,) of `reading.words`; label: what is explained, None of a number; evidence: of the text as the model reads it.

    gap: of integrated gradients, by how much the scores do not add up to the evidence less that of the baseline.
    """

    reading: Reading
    method: str
    label: str | None
    evidence: float
    scores: np.ndarray
    gap: float | None = None


def explain(
    predictor: Predictor, text: str | Mapping[str, Any], *, method: str = "gradient_x_input", label: str | None = None
) -> list[tuple[str, str, float]]:
    """(field, word, score) of each word of a text, or of its fields. See `Explainer.explain` for errors."""
    found = Explainer(predictor, method, label).explain(given_record(predictor.corpus, text, None))
    words = found.reading.words
    pairs = zip(words, found.scores.tolist(), strict=True)
    return [(found.reading.fields[word.field], found.reading.text(word), score) for word, score in pairs]


class Explainer:
    """Explains texts to a trained run by one method. Raises ConfigError for an unknown one, one that the model cannot do, an
    unknown label, and a run that predicts nothing that could be explained."""

    def __init__(self, predictor: Predictor, method: str | None = None, label: str | None = None) -> None:
        """method: None for the run's default."""
        require(predictor.run, Explains, "explain")
        if not has_gradients(predictor):
            raise ConfigError(
                f"{predictor.folder}: a graph of onnxruntime has no gradients; explain the run it was exported from"
            )
        able, method = methods_of(predictor), method or default_method(predictor)
        if method not in able:
            reason = f"model {predictor.config.model.name} has no attention" if method in METHODS else "unknown method"
            raise ConfigError(f"{predictor.folder}: {method}: {reason}; this run can {', '.join(able)}")
        labels = list(predictor.artifacts.labels)
        if label is not None and label not in labels:
            known = f"known: {', '.join(labels)}" if labels else "this run predicts a number: leave it out"
            raise ConfigError(f"command line: unknown label {label!r}; {known}")
        self.predictor, self.method, self.labels, self.label = predictor, method, labels, label

    def explain(self, record: Record) -> Explanation:
        """Score the words of a record. Raises ConfigError where Captum is needed and missing."""
        text = EmbeddedText(self.predictor, record)
        with torch.no_grad():
            outputs = text(*text.rows).reshape(1, -1)
        number = int(outputs.argmax()) if self.label is None else self.labels.index(self.label)
        scores, gap = METHODS[self.method](self.predictor, text, lambda found: self.evidence(found, number))
        label = self.labels[number] if self.labels else None
        return Explanation(text.reading, self.method, label, float(self.evidence(outputs, number)), scores, gap)

    def evidence(self, outputs: Tensor, number: int) -> Tensor:
        """(S, L) outputs -> (S,)."""
        agent: Any = self.predictor.agent
        found: Tensor = agent.evidence(outputs, number)
        return found

    def values(self, evidence: np.ndarray | float) -> np.ndarray:
        """Evidence as what is predicted: the probability of the label, or the number."""
        return np.asarray(special.expit(evidence) if self.labels else evidence)

    def evidence_of(self, records: list[Record], label: str | None) -> np.ndarray:
        """(S,) of records, for one label."""
        number = 0 if label is None else self.labels.index(label)
        return evidence_of(self.predictor, records, lambda found: self.evidence(found, number))


def evidence_of(predictor: Predictor, records: list[Record], evidence: Evidence) -> np.ndarray:
    """(S,) of records."""
    found = np.zeros(len(records))
    for batch, outputs in predictor.outputs(predictor.agent.encode(records)):
        found[batch.rows] = evidence(outputs.reshape(len(batch.rows), -1)).cpu().numpy()
    return found


def gradient_x_input(predictor: Predictor, text: EmbeddedText, evidence: Evidence) -> tuple[np.ndarray, None]:
    """The gradient of the evidence times the embedding, summed over its dimensions (Shrikumar et al. 2016, arXiv 1605.01713)."""
    rows = tuple(own.clone().requires_grad_() for own in text.rows)
    gradients = torch.autograd.grad(evidence(text(*rows)).sum(), rows)
    return text.reading.by_word([_summed(g * own) for g, own in zip(gradients, text.rows, strict=True)]), None


def integrated_gradients(predictor: Predictor, text: EmbeddedText, evidence: Evidence) -> tuple[np.ndarray, float]:
    """Gradients integrated from zero embeddings to those of the words (Sundararajan et al. 2017, arXiv 1703.01365), by Captum."""
    try:
        from captum.attr import IntegratedGradients
    except ImportError:
        raise ConfigError("method integrated_gradients needs the package captum: pip install captum") from None
    at_once = max(1, STEP_TOKENS // max(rows.shape[1] for rows in text.rows))
    found, gap = IntegratedGradients(lambda *rows: evidence(text(*rows))).attribute(
        text.rows, text.baselines, n_steps=STEPS, internal_batch_size=at_once, return_convergence_delta=True
    )
    return text.reading.by_word([_summed(own) for own in found]), float(gap)


def occlusion(predictor: Predictor, text: EmbeddedText, evidence: Evidence) -> tuple[np.ndarray, None]:
    """How much the evidence falls without the word (Li et al. 2016, arXiv 1612.08220); the word is removed from the text."""
    reading, scores = text.reading, np.zeros(len(text.reading.words))
    everything = np.ones(len(scores), dtype=bool)
    read = np.flatnonzero(reading.is_read)
    (whole,) = evidence_of(predictor, [reading.keeping(everything)], evidence)
    for words in chunked(read.tolist(), BATCH_SIZE):
        records = [reading.keeping(np.arange(len(scores)) != word) for word in words]
        scores[words] = whole - evidence_of(predictor, records, evidence)
    return scores, None


def attention_rollout(predictor: Predictor, text: EmbeddedText, evidence: Evidence) -> tuple[np.ndarray, None]:
    """The share of each word in the text's vector if attention were all that mixes tokens: not signed, and of no label."""
    found = []
    model: Any = predictor.model
    for encoder, field in zip(model.by_field(len(text.fields)), text.fields, strict=True):
        mask = field["attention_mask"]
        layers = encoder.attention_of(field["input_ids"], mask, field.get("token_type_ids"))  # each (W, A, T, T)
        flow = rollout(torch.stack([layer.detach().mean(dim=1) for layer in layers], dim=1))  # (W, T, T)
        if encoder.pooling in ("cls", "pooler"):
            shares = flow[:, 0]  # (W, T)
        else:
            shares = (flow * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        found.append((shares[mask] / len(mask)).cpu().numpy())
    return text.reading.by_word(found), None


def rollout(attention: Tensor) -> Tensor:
    """(B, layers, T, T) attention, the mean of the heads -> (B, T, T): how much of token j is in the last state of token i.

    The product of (A + I) / 2 over the layers, where I stands for the residual connection (Abnar and Zuidema 2020, arXiv
    2005.00928, section 3).
    """
    layers = (attention + torch.eye(attention.shape[-1], device=attention.device)) / 2
    layers = layers / layers.sum(dim=-1, keepdim=True)
    flow = layers[:, 0]
    for number in range(1, layers.shape[1]):
        flow = layers[:, number] @ flow
    return flow


def _summed(rows: Tensor) -> np.ndarray:
    """(1, N, E) -> (N,)."""
    return rows[0].sum(dim=-1).detach().double().cpu().numpy()


METHODS: dict[str, Callable[[Predictor, EmbeddedText, Evidence], tuple[np.ndarray, float | None]]] = {
    "integrated_gradients": integrated_gradients,
    "occlusion": occlusion,
    "gradient_x_input": gradient_x_input,
    "attention_rollout": attention_rollout,
}


def has_gradients(predictor: Predictor) -> bool:
    """Whether the model is one of ours, and no graph of another library."""
    return hasattr(predictor.model, "encoders")


def default_method(predictor: Predictor) -> str:
    """Occlusion for a cosine, which is undefined at the zero embeddings where integrated gradients begin, or else these."""
    return "occlusion" if isinstance(getattr(predictor.model, "head", None), CosineHead) else "integrated_gradients"


def methods_of(predictor: Predictor) -> list[str]:
    """Those that the run's model can do."""
    has_attention = all(hasattr(encoder, "attention_of") for encoder in getattr(predictor.model, "encoders", [None]))
    return [name for name in METHODS if has_attention or name != "attention_rollout"]
