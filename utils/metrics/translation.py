"""What generated text is measured by: BLEU and chrF by sacrebleu, the loss without smoothing, and signs of faults."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from utils.metrics.sacrebleu_scores import ScoringOptions, scorers

NGRAM = 3  # words, of which a healthy text rarely holds the same ones twice
NUM_SIGNS = 8  # counts of texts and of references, by which faults are seen


class Generated(NamedTuple):
    """The outputs of a batch: nll and num_right: summed over its target tokens; texts: what was generated, in evaluation."""

    nll: Tensor
    num_right: Tensor
    texts: list[str] | None


class TranslationCounts:
    """Counts over target tokens and over generated texts, from which every value follows.

    BLEU (Papineni et al. 2002) and chrF (Popovic 2015) are those of the whole corpus, by sacrebleu (Post 2018), from the text as it
    was read, never from sub-words.
    """

    def __init__(self, names: Sequence[str], options: ScoringOptions, device: torch.device) -> None:
        """names: of the values to compute; with bleu or chrf, sacrebleu is needed."""
        self.names = list(names)
        self.scores = scorers(options) if {"bleu", "chrf"} & set(names) else {}
        self.sizes = {name: len(_statistics(score, [("", "")])) for name, score in self.scores.items()}
        wide = torch.float32 if device.type == "mps" else torch.float64
        self.counts = torch.zeros(3 + NUM_SIGNS + sum(self.sizes.values()), dtype=wide, device=device)

    def update(self, outputs: Generated, batch: Any) -> None:
        """batch: a PairBatch."""
        size = torch.full_like(outputs.num_right, len(batch.labels))
        self.counts[:3] += torch.stack([outputs.nll.to(self.counts.dtype), outputs.num_right, size])
        if outputs.texts is not None:
            found = [*self._signs(outputs.texts, batch.texts)]
            pairs = [(text, reference) for text, (_, reference) in zip(outputs.texts, batch.texts, strict=True)]
            for score in self.scores.values():
                found += _statistics(score, pairs)
            self.counts[3:] += torch.tensor(found, dtype=self.counts.dtype).to(self.counts.device)

    def _signs(self, texts: list[str], pairs: Sequence[tuple[str, str]]) -> list[int]:
        """Of texts and of their references: n-grams that repeat, all n-grams, words that their source has, all words."""
        signs = [Counter[str](), Counter[str]()]
        for text, (source, reference) in zip(texts, pairs, strict=True):
            known = set(source.lower().split())
            for sign, words in zip(signs, (text.lower().split(), reference.lower().split()), strict=True):
                ngrams = [tuple(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)]
                sign["repeated"] += len(ngrams) - len(set(ngrams))
                sign["ngrams"] += len(ngrams)
                spoken = [word for word in words if any(map(str.isalpha, word))]
                sign["copied"] += sum(word in known for word in spoken)
                sign["words"] += len(spoken)
        return [sign[name] for sign in signs for name in ("repeated", "ngrams", "copied", "words")]

    def compute(self) -> dict[str, float]:
        nll, right, size = self.counts[:3].tolist()
        values = {"nll": nll / max(size, 1.0), "token_accuracy": right / max(size, 1.0)}
        return {name: value for name, value in (values | self._scores()).items() if name == "nll" or name in self.names}

    def _scores(self) -> dict[str, float]:
        """BLEU and chrF, in percent; none where nothing was generated."""
        found, start = dict[str, float](), 3 + NUM_SIGNS
        for name, score in self.scores.items():
            counts = [round(count) for count in self.counts[start : start + self.sizes[name]].tolist()]
            start += self.sizes[name]
            if any(counts):
                found[name] = float(score._aggregate_and_compute([counts]).score)
        return found

    def signs(self) -> dict[str, float]:
        """Shares of repeated n-grams and of copied words, of the generated texts and of their references."""
        own, gold = self.counts[3 : 3 + NUM_SIGNS].tolist()[:4], self.counts[3 : 3 + NUM_SIGNS].tolist()[4:]
        found = dict[str, float]()
        for name, (repeated, ngrams, copied, words) in {"": own, "gold_": gold}.items():
            found |= {f"{name}repeated": repeated / max(ngrams, 1.0), f"{name}copied": copied / max(words, 1.0)}
        return found

    def report(self) -> dict[str, Any]:
        if not self.counts[3:].any():
            return {}
        signatures = {f"{name}_signature": _signature(score) for name, score in self.scores.items()}
        return signatures | {"signs": self.signs()}  # nested, so that the table on the screen stays narrow


def _statistics(score: Any, pairs: Sequence[tuple[str, str]]) -> list[int]:
    """Summed over pairs of a text and its reference: what sacrebleu itself sums over a corpus' sentences."""
    texts, references = zip(*pairs, strict=True)
    found = score._extract_corpus_statistics(list(texts), [list(references)])
    return [sum(column) for column in zip(*found, strict=True)]


def _signature(score: Any) -> str:
    score._extract_corpus_statistics(["a"], [["a"]])  # which tells it that each text has one reference
    return str(score.get_signature())
