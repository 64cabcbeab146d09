"""Real pairs of a generation run and what it answers to them: what every form of the run has to answer, too."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.exports.examples import LARGEST_DIFFERENCE, LEAST_SAME, NUM_TEXTS, own_records, spread
from agents.running.predictor import Predictor, batches_of
from agents.translating.other_pairs import given_pair, pair_records
from agents.translating.pair_data import encode_pairs
from datasets.rows.records import Record
from utils.errors import CheckpointError


def examples_of(predictor: Predictor, path: Path | None, **_: bool) -> list[dict[str, Any]]:
    """Pairs of a file or else of the run's own data, evenly spread, and at the end one of single characters and one of the maximum
    length, each with the run's answer. Raises DataError where the run's data is gone."""
    corpus: Any = predictor.agent.corpus
    if path is None:
        records = own_records(corpus, NUM_TEXTS)
    else:
        found = list(pair_records(corpus, [path], on_bad_row="skip")[0])
        records = [found[i] for i in spread(len(found), NUM_TEXTS)]
    extremes = [records[0]._replace(id="shortest", texts=("a", "a"))]
    if corpus.max_length is not None:
        longest = tuple(" ".join(side) for side in zip(*(record.texts for record in records), strict=True))
        extremes.append(records[0]._replace(id="longest", texts=longest))
    records = [*records, *extremes]
    pairs = [{"id": record.id, "source": record.texts[0], "reference": record.texts[1]} for record in records]
    return [pair | answer for pair, answer in zip(pairs, _answers(predictor, records), strict=True)]


@torch.no_grad()
def _answers(predictor: Predictor, records: list[Record]) -> list[dict[str, Any]]:
    """For each pair the log-probability of every token of its reference, given those before, and the ids of greedy search."""
    agent: Any = predictor.agent
    translator, found = agent.translator(), dict[int, dict[str, Any]]()
    greedy = agent.options.searching(beam_size=1)
    for batch in batches_of(encode_pairs(agent.corpus, agent.artifacts.tokenizer, records)):
        pairs: Any = batch.to(predictor.device)
        log_probs = predictor.model(pairs).log_softmax(dim=-1).gather(1, pairs.labels[:, None])[:, 0]  # (N,)
        lengths = pairs.target_mask.sum(dim=1).tolist()
        written = translator.hypotheses(pairs.input_ids, pairs.attention_mask, greedy)
        for row, values, (best, *_) in zip(batch.rows.tolist(), log_probs.split(lengths), written, strict=True):
            found[row] = {"log_probabilities": values.tolist(), "greedy_ids": best.ids}
    return [found[row] for row in range(len(records))]


def compared(predictor: Predictor, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """How the answers to the examples differ from those that they have; the first and the last two are also asked for alone."""
    corpus: Any = predictor.agent.corpus
    records = [given_pair(corpus, line["source"], line["reference"]) for line in lines]
    alone = [0, *range(max(len(lines) - 2, 0), len(lines))]
    found = _answers(predictor, records) + [_answers(predictor, [records[i]])[0] for i in alone]
    pairs = list(zip([*lines, *(lines[i] for i in alone)], found, strict=True))
    return {
        "texts": len(lines),
        "largest_difference": float(max(_difference(wanted, answer) for wanted, answer in pairs)),
        "same_answer": float(np.mean([wanted["greedy_ids"] == answer["greedy_ids"] for wanted, answer in pairs])),
    }


def _difference(wanted: Mapping[str, Any], answer: Mapping[str, Any]) -> float:
    """The largest difference of a token's log-probability."""
    before, after = (np.array(line["log_probabilities"]) for line in (wanted, answer))
    return float(np.max(np.abs(after - before))) if before.shape == after.shape else np.inf


def refuse_different(result: Mapping[str, Any], *, place: str, **_: bool) -> None:
    """Raise CheckpointError unless the answers are the run's."""
    if not (result["largest_difference"] <= LARGEST_DIFFERENCE and result["same_answer"] >= LEAST_SAME):
        raise CheckpointError(
            f"{place}: does not answer as the run does on {result['texts']} pairs: a log-probability differs by "
            f"{result['largest_difference']:.2g} (at most {LARGEST_DIFFERENCE:g}), greedy search writes the same for "
            f"{100 * result['same_answer']:.1f}% (at least {100 * LEAST_SAME:g}% needed)"
        )
