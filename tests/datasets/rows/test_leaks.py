"""A label in its text is found where it gives the class away, and not where a text merely speaks of its subject."""

import numpy as np
import pytest
from corpora import ANY
from hypothesis import given
from hypothesis import strategies as st

from datasets.rows.leaks import LabelWatch, count_leaks, describe_leaks, holds_all
from datasets.rows.records import Record

WORDS = [
    ("the art of war", "art", True),
    ("a start, a party", "art", False),
    ("art", "art", True),
    ("start art", "art", True),
    ("corpus/art/1.txt", "art", True),
    ("Newsgroups: comp.graphics\n", "comp.graphics", True),
    ("Art", "art", False),
    ("class 12", "1", False),
    ("", "art", False),
]


@pytest.mark.parametrize(("text", "label", "is_there"), WORDS)
def test_a_label_counts_as_a_word_alone(text: str, label: str, is_there: bool) -> None:
    assert holds_all(text, (label,)) is is_there
    assert not holds_all(text, ())
    assert holds_all(text, (label, "art")) is (is_there and holds_all(text, ("art",)))


def found(pairs: list[tuple[str, str]]) -> dict[str, float]:
    watch = LabelWatch(["text"])
    for text, label in pairs:
        watch.see(Record("f:1", "1", (text,), (label,)))
    return watch.found()


def test_a_label_that_every_text_holds_gives_nothing_away() -> None:
    subjects = ["no", "yes"] * 20
    assert found([("yes or no", label) for label in subjects]) == {}
    assert found([(f"{label}, that is it", label) for label in subjects]) == {"text": 1.0}
    assert found([(f"{label}, that is it", label) for label in sorted(subjects)]) == {"text": 1.0}  # a folder per class
    assert found([("a no to that", "no")] * 38 + [("a no from him", "yes")] * 2) == {}  # what most texts hold anyway
    assert found([("sport" if i % 3 else "a match", "sport") for i in range(20)] + [("a vote", "politics")] * 20) == {}
    assert found([(label, label) for label in subjects[:10]]) == {}  # too few to say


def keys(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.uint64)


def lines(**splits: np.ndarray) -> list[str]:
    leaks = count_leaks(splits, LabelWatch(["text"]))
    return describe_leaks(leaks, {split: len(rows) for split, rows in splits.items()})


def test_texts_on_two_sides_are_counted_by_pair() -> None:
    assert lines(train=keys(1, 2, 3), valid=keys(4, 5), test=keys(6)) == []
    assert lines(train=keys(1, 2, 3), valid=keys(3, 3, 4, 5, 7), test=keys(5, 6, 1)) == [
        "2 of 5 texts of valid are also in train: they inflate its score",
        "1 of 3 texts of test are also in train: they inflate its score",
        "1 of 3 texts of test are also in valid: they inflate its score",
    ]
    (line,) = lines(train=keys(1, 2, 3), valid=keys(4), test=keys(3, 1, 2))
    assert line == "test holds the same texts as train: its score measures memorisation"
    (line,) = lines(train=keys(1, 1, 1, 2), valid=keys(4), test=keys(5))
    assert line == "train has 2 different texts in 4 rows: the others are duplicates"


NUMBERS = st.lists(st.integers(0, 9), max_size=12).map(lambda numbers: keys(*numbers))


@ANY
@given(train=NUMBERS, valid=NUMBERS, test=NUMBERS)
def test_counts_are_those_of_sets(train: np.ndarray, valid: np.ndarray, test: np.ndarray) -> None:
    leaks = count_leaks({"train": train, "valid": valid, "test": test}, LabelWatch([]))
    assert leaks["texts"].get("test in train", 0) == sum(key in set(train.tolist()) for key in test.tolist())
    assert leaks["repeats"]["valid"] == len(valid) - len(set(valid.tolist()))
    assert ("test" in leaks["equal"]) == (set(test.tolist()) == set(train.tolist()))
