"""What is watched while a text-to-text model trains: its texts, their cross-attention, and signs of faults."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from agents.translating.translator import Translator
from datasets.batches.pairs import PairBatch
from datasets.tokenizers.pair import sides_of
from utils.runs.run_log import RunLog
from utils.training.run_state import RunState

logger = logging.getLogger("glassbox")
NUM_ROWS = 8
COLUMNS = ["source", "reference", "generated"]
FIRST_EPOCH = 3  # after which healthy runs of every recipe have left these ranges (docs/translation.md)
REPEATED, COPIED = 0.2, 0.3  # above the references' own shares


def show_translations(log: RunLog, translator: Translator, tokenizer: Any, batch: PairBatch, step: int) -> None:
    """A table of the last texts of a batch, the shortest, beside their references, and an image of the attention of one."""
    assert batch.texts is not None
    ids, mask = batch.input_ids[-NUM_ROWS:], batch.attention_mask[-NUM_ROWS:]
    best = [found[0].ids for found in translator.hypotheses(ids, mask, translator.options.searching())]
    rows = [[*pair, translator.text_of(own)] for pair, own in zip(batch.texts[-NUM_ROWS:], best, strict=True)]
    log.table("valid/texts", COLUMNS, rows, step)
    length = int(mask[0].sum())
    targets = torch.tensor([[*translator.start, *best[0]][: translator.model.max_length]], device=ids.device)
    with torch.no_grad():
        weights = translator.model.cross_attention_of(ids[:1, :length], mask[:1, :length], targets)[-1][0].mean(dim=0)
    image = attention_image(weights.float().cpu().numpy())
    log.to_tensorboard(lambda writer: writer.add_image("valid/attention", image, step, dataformats="HWC"))
    source, target = sides_of(tokenizer)
    words = [[" ".join(map(source.token, ids[0, :length].tolist())), " ".join(map(target.token, targets[0].tolist()))]]
    log.table(
        "valid/attention_tokens", ["columns: source tokens", "rows: target tokens, each before the next"], words, step
    )


def attention_image(weights: np.ndarray, cell: int = 16) -> np.ndarray:
    """(T, S) weights -> (T * cell, S * cell, 3) uint8: the darker, the more attention a target's row pays to a source's column."""
    shades = (255 * (1 - weights / max(float(weights.max()), 1e-9))).astype(np.uint8)
    large = shades.repeat(cell, axis=0).repeat(cell, axis=1)
    return np.stack([large, large, np.full_like(large, 255)], axis=-1)


class Signs:
    """Warns once of texts that show a fault of the model or its data."""

    def __init__(self) -> None:
        self.is_told = False

    def look(self, signs: Mapping[str, float], state: RunState) -> None:
        """signs: of a validation's texts and of their references."""
        problem = self.problem(signs, state.epoch)
        if problem and not self.is_told:
            self.is_told = True
            logger.warning("warning: after epoch %d %s; see docs/translation.md", state.epoch, problem)

    def problem(self, signs: Mapping[str, float], epoch: int) -> str | None:
        """What is out of range, and its likely causes; None where all is well, or it is too early to tell."""
        if epoch < FIRST_EPOCH:
            return None
        if signs["repeated"] > signs["gold_repeated"] + REPEATED:
            return (
                f"{100 * signs['repeated']:.0f}% of the generated n-grams repeat (of the references' "
                f"{100 * signs['gold_repeated']:.0f}%); likely causes, in this order: a mask that lets targets see what comes "
                "next, labels that are not shifted by one token, a learning rate too high"
            )
        if signs["copied"] > signs["gold_copied"] + COPIED:
            return (
                f"{100 * signs['copied']:.0f}% of the generated words are copied from their source (of the references' "
                f"{100 * signs['gold_copied']:.0f}%); likely causes, in this order: source and target, or their tokenizers, are "
                "swapped, files whose lines do not belong together"
            )
        return None
