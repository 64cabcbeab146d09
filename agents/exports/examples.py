"""Real texts and a trained run's answers to them: what every form of the run has to answer, too."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agents.running.other_rows import rows_of, used_records
from agents.running.predictor import Predictor
from datasets.rows.records import Record
from utils.errors import CheckpointError, DataError

NUM_TEXTS, NUM_GATED = 100, 1000  # of exact forms; of one that is judged by its labels
LARGEST_DIFFERENCE = 1e-4  # of a probability, or of a number in units of that number
LEAST_SAME, MOST_LOST = 0.99, 0.005  # share of texts with the same answer, and loss of accuracy, in 8 bits


def examples_of(predictor: Predictor, path: Path | None, *, is_gated: bool) -> list[dict[str, Any]]:
    """Lines of predictions.jsonl: texts of a file or else of the run's own data, evenly spread, and at the end one of a single
    character and one of the maximum length. Raises DataError where the run's data is gone."""
    records = _records(predictor, path, NUM_GATED if is_gated else NUM_TEXTS, has_target=is_gated)
    *others, _ = records[0].texts
    shortest = ("a" if predictor.corpus.needs_all_fields else "",) * len(others) + ("a",)
    longest = tuple(" ".join(texts) for texts in zip(*(record.texts for record in records[:NUM_TEXTS]), strict=True))
    extremes = [records[0]._replace(id="shortest", texts=shortest, labels=None)]
    if predictor.corpus.max_length is not None:
        extremes.append(records[0]._replace(id="longest", texts=longest, labels=None))
    return list(predictor.predict_records([*records, *extremes]))


def _records(predictor: Predictor, path: Path | None, number: int, *, has_target: bool) -> list[Record]:
    corpus = predictor.corpus
    if path is not None:
        reader = predictor.reader("skip", has_target=has_target)
        rows = rows_of(predictor, path, has_target=has_target)
        records = list(used_records(reader, rows, path, "rows"))
        return [records[i] for i in spread(len(records), number)]
    return own_records(corpus, number)


def own_records(corpus: Any, number: int) -> list[Record]:
    """Records of the run's own data, evenly spread. Raises DataError where it is gone."""
    split = next(split for split in ("test", "valid", "train") if split in corpus.splits)
    try:
        found = corpus.scan().rows[split]
        return list(corpus.records(split, found[spread(len(found), number)]))
    except DataError as error:
        raise DataError(f"{error}; an export is checked on texts: give some with --data FILE") from None


def spread(length: int, number: int) -> np.ndarray:
    """At most `number` indices from 0 to length - 1, evenly spread: a file may be sorted by its labels."""
    return np.unique(np.linspace(0, length - 1, min(number, length)).astype(np.int64))


def compared(predictor: Predictor, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """How the answers to the examples differ from those that they have; the first and the last two are also asked for alone."""
    texts = [texts_of(predictor.corpus.fields, line) for line in lines]
    alone = [0, *range(max(len(lines) - 2, 0), len(lines))]
    found = predictor.predict(texts) + [predictor.predict([texts[i]])[0] for i in alone]
    pairs = list(zip([*lines, *(lines[i] for i in alone)], found, strict=True))
    result: dict[str, Any] = {
        "texts": len(lines),
        "largest_difference": float(np.max([_difference(wanted, answer) for wanted, answer in pairs])),
        "same_answer": float(np.mean([_is_same(wanted, answer) for wanted, answer in pairs])),
    }
    answered = pairs[: len(lines)]
    if labelled := [(wanted, answer) for wanted, answer in answered if "gold" in wanted and "probabilities" in wanted]:
        before = np.mean([wanted["predicted"] == wanted["gold"] for wanted, _ in labelled])
        after = np.mean([answer["predicted"] == wanted["gold"] for wanted, answer in labelled])
        result |= {"accuracy": float(before), "accuracy_exported": float(after)}
    return result


def texts_of(fields: list[str], line: Mapping[str, Any]) -> dict[str, str]:
    """The text fields of a line of predictions.jsonl."""
    found = line.get("fields", line)
    return {field: found[field] for field in fields}


def _difference(wanted: Mapping[str, Any], answer: Mapping[str, Any]) -> float:
    """The largest difference of probabilities, or of a number relative to it where that is above 1."""
    before, after = _numbers(wanted), _numbers(answer)
    return float(np.max(np.abs(after - before) / np.maximum(1, np.abs(before))))


def _is_same(wanted: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
    """Whether two answers are the same labels, or numbers that differ by no more than an export's may."""
    if "probabilities" in wanted:
        return bool(wanted["predicted"] == answer["predicted"])
    return _difference(wanted, answer) <= LARGEST_DIFFERENCE


def _numbers(line: Mapping[str, Any]) -> np.ndarray:
    return np.array([*line["probabilities"].values()] if "probabilities" in line else [line["predicted"]])


def refuse_different(result: Mapping[str, Any], *, is_gated: bool, place: str) -> None:
    """Raise CheckpointError unless the answers are the run's, or in 8 bits nearly always its labels."""
    said = f"{place}: does not answer as the run does on {result['texts']} texts: "
    if not is_gated:
        if not result["largest_difference"] <= LARGEST_DIFFERENCE:
            raise CheckpointError(
                f"{said}a probability differs by {result['largest_difference']:.2g}, more than {LARGEST_DIFFERENCE:g}"
            )
        return
    lost = result.get("accuracy", 0.0) - result.get("accuracy_exported", 0.0)
    if result["same_answer"] < LEAST_SAME or lost > MOST_LOST:
        raise CheckpointError(
            f"{said}the same label for {100 * result['same_answer']:.1f}% (at least {100 * LEAST_SAME:g}% needed), "
            f"{100 * lost:.1f} points of accuracy lost (at most {100 * MOST_LOST:g})"
        )


def describe(result: Mapping[str, Any]) -> str:
    """A comparison in words."""
    said = (
        f"{result['texts']} texts, the same answer for {100 * result['same_answer']:.1f}%, "
        f"largest difference {result['largest_difference']:.2g}"
    )
    if "accuracy" not in result:
        return said
    return f"{said}; accuracy {100 * result['accuracy_exported']:.1f}%, that of the run {100 * result['accuracy']:.1f}%"
