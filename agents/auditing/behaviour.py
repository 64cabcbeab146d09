"""How answers change with a text: counterfactual swaps, invariance and directional tests, a file of paired texts.

A *case* is a text beside a changed version of it. A test's failure rate counts texts: one of several variants that fails is enough.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from agents.auditing.answers import Answers, Judge
from agents.auditing.audited_file import AuditedFile
from agents.auditing.intervals import Estimate, of_mean, of_share
from agents.auditing.perturbations import DIRECTIONAL, INVARIANT, perturbed
from agents.auditing.terms import Swap
from datasets.rows.records import Record
from utils.analysis.paired import mcnemar
from utils.errors import DataError

TOLERANCE = 0.1  # by which the probability may rise after a negation (as in CheckList's directional tests)
NUM_EXAMPLES = 3


class Case(NamedTuple):
    """row: of the text among the records; changed: the record with the other text; note: what was exchanged."""

    row: int
    changed: Record
    note: tuple[str, ...] = ()


class Example(NamedTuple):
    """A failed case: the texts, the answers, and the probability of the label of interest, before and after."""

    id: str
    before: str
    after: str
    predicted: tuple[str, str]
    probability: tuple[float, float]


@dataclass(frozen=True)
class Outcome:
    """A test's result over its texts: how many fail, and how the probability changes on average and in absolute value.

    by_note: {what was exchanged: its texts and mean change}.
    """

    name: str
    kind: str
    num_texts: int
    num_cases: int
    failures: Estimate
    change: Estimate
    size: float
    examples: list[Example]
    by_note: dict[str, tuple[int, Estimate]]
    notes: list[str] = field(default_factory=list)


class Behaviour:
    """Asks a run about changed texts. records: those of the file, or a sample; seed: of the changes."""

    def __init__(self, judge: Judge, records: Sequence[Record], seed: int = 0) -> None:
        self.judge, self.records, self.seed = judge, list(records), seed
        self.before = judge.answers(self.records)

    def sampled(self, size: int) -> "Behaviour":
        """A behaviour of at most `size` of the texts, drawn by the seed."""
        if size >= len(self.records):
            return self
        rows = np.sort(np.random.default_rng(self.seed).choice(len(self.records), size, replace=False))
        return Behaviour(self.judge, [self.records[row] for row in rows], self.seed)

    def invariance(self) -> list[Outcome]:
        """The label should stay; tests that apply to no text are left out."""
        found = [self._test(name, "same label", self._perturbed(name), _is_other_label) for name in INVARIANT]
        return [outcome for outcome in found if outcome.num_texts]

    def direction(self) -> list[Outcome]:
        """The probability of the label should not rise by more than TOLERANCE."""
        found = [
            self._test(name, "not surer", self._perturbed(name), _is_surer, is_of_predicted=True)
            for name in DIRECTIONAL
        ]
        return [outcome for outcome in found if outcome.num_texts]

    def swap(self, swap: Swap) -> Outcome:
        """Counterfactuals: the label should stay with other terms."""
        cases = [
            Case(row, record._replace(texts=variant.texts), tuple(variant.exchanged))
            for row, record in enumerate(self.records)
            for variant in swap.variants(record.texts)
        ]
        return self._test(swap.name, "same label", cases, _is_other_label)

    def pairs(self, name: str, others: Sequence[Record]) -> Outcome:
        """The texts of another file in place of these, where they differ."""
        cases = [Case(row, other) for row, other in enumerate(others) if other.texts != self.records[row].texts]
        return self._test(name, "same label", cases, _is_other_label)

    def _perturbed(self, name: str) -> list[Case]:
        change = {**INVARIANT, **DIRECTIONAL}[name]
        found = [
            perturbed(record.texts, change, f"{self.seed} {name} {row}") for row, record in enumerate(self.records)
        ]
        return [
            Case(row, record._replace(texts=texts))
            for row, (record, texts) in enumerate(zip(self.records, found, strict=True))
            if texts != record.texts
        ]

    def _test(
        self,
        name: str,
        kind: str,
        cases: Sequence[Case],
        fails: Callable[["Comparison"], np.ndarray],
        *,
        is_of_predicted: bool = False,
    ) -> Outcome:
        rows = np.array([case.row for case in cases], dtype=np.int64)
        after = self.judge.answers([case.changed for case in cases]) if cases else self.before
        compared = Comparison(self.before, after, rows, None if is_of_predicted else self.judge.positive)
        failed, changes = fails(compared), compared.after - compared.before
        texts, of_text = np.unique(rows, return_inverse=True)
        return Outcome(
            name=name,
            kind=kind,
            num_texts=len(texts),
            num_cases=len(cases),
            failures=of_share(len(np.unique(rows[failed])), len(texts)),
            change=of_mean(_by_text(changes, of_text)),
            size=of_mean(_by_text(np.abs(changes), of_text)).value,
            examples=self._examples(cases, compared, failed),
            by_note=self._by_note(cases, changes),
        )

    def _examples(self, cases: Sequence[Case], compared: "Comparison", failed: np.ndarray) -> list[Example]:
        """The failed cases with the largest change of probability, one of each text."""
        by_change = np.argsort(-np.abs(compared.after - compared.before), kind="stable")
        found: dict[int, Example] = {}
        for i in by_change[failed[by_change]].tolist():
            case, record = cases[i], self.records[cases[i].row]
            if case.row not in found and len(found) < NUM_EXAMPLES:
                labels = (compared.label_before(i), compared.label_after(i))
                probability = (float(compared.before[i]), float(compared.after[i]))
                texts = (" | ".join(record.texts), " | ".join(case.changed.texts))
                found[case.row] = Example(record.id, *texts, labels, probability)
        return list(found.values())

    def _by_note(self, cases: Sequence[Case], changes: np.ndarray) -> dict[str, tuple[int, Estimate]]:
        places: dict[str, list[int]] = {}
        for i, case in enumerate(cases):
            for note in case.note:
                places.setdefault(note, []).append(i)
        return {note: (len(own), of_mean(changes[own])) for note, own in sorted(places.items())}


class Comparison:
    """Answers to cases: before and after, (C,), the probability of the label of interest, or else of the label predicted before."""

    def __init__(self, before: Answers, after: Answers, rows: np.ndarray, positive: str | None) -> None:
        self.labels = before.labels
        self.old = before.predicted[rows]
        self.new = after.predicted[: len(rows)]
        place = self.old if positive is None else np.full(len(rows), self.labels.index(positive))
        self.before = before.probabilities[rows, place]
        self.after = after.probabilities[np.arange(len(rows)), place]

    def label_before(self, case: int) -> str:
        return self.labels[self.old[case]]

    def label_after(self, case: int) -> str:
        return self.labels[self.new[case]]


def _by_text(values: np.ndarray, of_text: np.ndarray) -> np.ndarray:
    """The mean over the cases of each text."""
    return np.bincount(of_text, values) / np.bincount(of_text) if len(values) else values


def _is_other_label(compared: Comparison) -> np.ndarray:
    return np.asarray(compared.old != compared.new)


def _is_surer(compared: Comparison) -> np.ndarray:
    return np.asarray(compared.after - compared.before > TOLERANCE)


def compare_files(behaviour: Behaviour, file: AuditedFile, other: AuditedFile) -> Outcome:
    """The texts of `other` in place of those of `file`. Raises DataError unless they have the same rows, in the same order."""
    if len(file.records) != len(other.records):
        raise DataError(f"{other.path}: has {len(other.records):,} rows, {file.path} has {len(file.records):,}")
    if file.has_ids and other.has_ids:
        for one, two in zip(file.records, other.records, strict=True):
            if one.id != two.id:
                raise DataError(
                    f"{two.place}: has the id {two.id}, and {one.place} has {one.id}: the rows must be the same"
                )
    elif left_out := [each for each in (file, other) if each.has_left_out]:
        raise DataError(
            f"{left_out[0].path}: bad rows are skipped, and without ids (--columns id=COLUMN) nobody knows which rows are the "
            "same in both files"
        )
    outcome = behaviour.pairs(other.path.name, other.records)
    return replace(outcome, notes=_accuracies(behaviour.before, behaviour.judge.answers(other.records)))


def _accuracies(one: Answers, other: Answers) -> list[str]:
    """The accuracy on both files, where both have labels."""
    if one.gold is None or other.gold is None:
        return []
    first, second = one.predicted == one.gold, other.predicted == other.gold
    p = mcnemar(first, second)
    return [
        f"accuracy on all {len(first):,} rows: {first.mean():.3f} → {second.mean():.3f} (McNemar's exact test: p = {p:.2g})"
    ]
