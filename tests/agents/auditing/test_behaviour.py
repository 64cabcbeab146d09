"""Tests of behaviour on a classifier made by hand: what fails, by how much, and which examples are shown."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.auditing.answers import Answers
from agents.auditing.audited_file import AuditedFile
from agents.auditing.behaviour import Behaviour, compare_files
from agents.auditing.terms import Swap
from datasets.rows.records import Record
from utils.errors import DataError


class Weights:
    """Answers "bad" with the largest weight of the words of a text."""

    labels, positive = ("good", "bad"), "bad"

    def __init__(self, **weights: float) -> None:
        self.weights = weights

    def answers(self, records: list[Record]) -> Answers:
        bad = np.array([max(self.weights.get(word.lower(), 0.1) for word in r.texts[0].split()) for r in records])
        gold = None if records[0].labels is None else np.array([self.labels.index(r.labels[0]) for r in records])  # type: ignore[index]
        return Answers(list(self.labels), (bad > 0.5).astype(int), np.stack([1 - bad, bad], axis=1), gold)


def records(*texts: str, labels: Any = None) -> list[Record]:
    return [
        Record(f"f:{i}", f"id{i}", (text,), None if labels is None else (labels[i],)) for i, text in enumerate(texts)
    ]


def test_a_swap() -> None:
    judge: Any = Weights(she=0.8, he=0.2)
    found = Behaviour(judge, records("he ran", "she ran", "it ran", "he saw it")).swap(Swap("gender", [["he", "she"]]))
    assert (found.num_texts, found.num_cases, found.failures.value) == (3, 3, 1.0)
    assert found.change.value == pytest.approx((0.6 - 0.6 + 0.6) / 3)
    assert found.size == pytest.approx(0.6)
    assert {note: (num, round(change.value, 6)) for note, (num, change) in found.by_note.items()} == {
        "he → she": (2, 0.6),
        "she → he": (1, -0.6),
    }
    example = found.examples[0]
    assert (example.before, example.after, example.predicted) == ("he ran", "she ran", ("good", "bad"))
    assert example.probability == pytest.approx((0.2, 0.8))


def test_a_text_with_several_variants_counts_once_and_the_worst_comes_first() -> None:
    judge: Any = Weights(a=0.1, b=0.6, c=0.9, d=0.2)
    found = Behaviour(judge, records("a x", "d x", "d y")).swap(Swap("s", [["a", "b", "c"], ["d", "x1"]]))
    assert (found.num_texts, found.num_cases) == (3, 4)
    assert found.failures.value == pytest.approx(1 / 3)
    assert [(e.before, e.after) for e in found.examples] == [("a x", "c x")]
    assert found.size == pytest.approx((((0.6 - 0.1) + (0.9 - 0.1)) / 2 + 0.1 + 0.1) / 3)


def test_a_negation_must_not_make_surer_of_the_label_predicted_before() -> None:
    judge: Any = Weights(awful=0.6, **{"not": 0.9})
    (found,) = Behaviour(judge, records("it is awful", "it is fine", "nothing")).direction()
    assert (found.name, found.kind, found.num_texts) == ("negation", "not surer", 2)
    assert found.failures.value == 0.5, "awful: bad rises from 0.6 to 0.9; fine: good falls"
    assert found.examples[0].after == "it is not awful"


def test_a_rise_within_the_tolerance_passes() -> None:
    judge: Any = Weights(awful=0.6, **{"not": 0.69})
    (found,) = Behaviour(judge, records("it is awful")).direction()
    assert found.failures.value == 0


def test_tests_that_apply_to_no_text_are_left_out() -> None:
    judge: Any = Weights()
    names = [outcome.name for outcome in Behaviour(judge, records("oh", "ox")).invariance()]
    assert names == ["upper case", "punctuation"]


def test_the_sample_is_drawn_by_the_seed() -> None:
    judge: Any = Weights()
    own = records(*(f"text {i}" for i in range(50)))
    one, two, other = (Behaviour(judge, own, seed).sampled(10).records for seed in (0, 0, 1))
    assert one == two != other
    assert one == sorted(one, key=lambda record: int(record.id[2:]))
    assert Behaviour(judge, own).sampled(50).records == own


def file(name: str, rows: list[Record], *, has_ids: bool = True, skipped: dict[str, int] | None = None) -> AuditedFile:
    return AuditedFile(Path(name), rows, {}, has_ids=has_ids, counts={"skipped": skipped or {}})


def test_paired_files() -> None:
    judge: Any = Weights(gay=0.9, tall=0.2)
    gold = ["good", "good", "bad"]
    one = file("one", records("a gay man", "a man", "gay", labels=gold))
    other = file("other", records("a tall man", "a man", "tall", labels=gold))
    found = compare_files(Behaviour(judge, one.records), one, other)
    assert (found.num_texts, found.failures.value) == (2, 1.0), "equal texts are not counted"
    assert found.change.value == pytest.approx(-0.7)
    assert found.notes == ["accuracy on all 3 rows: 0.667 → 0.667 (McNemar's exact test: p = 1)"]


def test_paired_files_need_the_same_rows() -> None:
    judge: Any = Weights()
    one = file("one", records("a", "b"))
    with pytest.raises(DataError, match="other: has 1 rows, one has 2"):
        compare_files(Behaviour(judge, one.records), one, file("other", records("a")))
    skipping = file("other", records("a", "b"), has_ids=False, skipped={"no text": 1})
    with pytest.raises(DataError, match=r"other: bad rows are skipped, and without ids .* nobody knows"):
        compare_files(Behaviour(judge, one.records), one, skipping)
    blank = file("other", records("a", "c"), has_ids=False, skipped={"blank line": 1})
    assert compare_files(Behaviour(judge, one.records), one, blank).num_texts == 1
    with pytest.raises(DataError, match="f:1: has the id id1, and f:0 has id0"):
        compare_files(Behaviour(judge, one.records), one, file("other", records("a", "b")[::-1]))
