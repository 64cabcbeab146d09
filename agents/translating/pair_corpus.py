"""Pairs of a source and a target text: how they are read, split and limited."""

from typing import Any, Literal

from datasets.formats.rows import Source
from datasets.rows.corpus import Corpus
from datasets.rows.records import RecordReader
from datasets.rows.targets import Target


class PairCorpus(Corpus):
    """Options of all data sets of text pairs.

    source: the column with the texts that are read
    target: the column with the texts that are written
    id: the column with the row ids for predictions.jsonl; null: FILE:LINE
    split: fractions for training, validation and test, where they have no file; 0 leaves a split out, as in [0.9, 0.1, 0]
    split_seed: random seed of the split
    max_length: maximum number of tokens of each side, including special tokens; null: no limit
    long_pairs: what becomes of a longer training pair: drop it, or cut it; in validation and test it is cut
    bpe_dropout: probability of dropping each merge of byte-level BPE, drawn again in every training epoch; 0: none
    on_bad_row: end the run at an unusable row, or skip and count it
    limit: maximum number of rows used from each file, or {train: 1000} of some; null: all
    num_workers: number of worker processes for tokenisation
    cache_folder: cache of tokens, reused by runs on the same texts
    """

    def __init__(
        self,
        rows: Source,
        *,
        source: str = "source",
        target: str = "target",
        id: str | None = None,
        split: list[float] = (0.98, 0.01, 0.01),  # type: ignore[assignment]  # an immutable default
        split_seed: int = 0,
        max_length: int | None = None,
        long_pairs: Literal["drop", "cut"] = "drop",
        bpe_dropout: float = 0.0,
        on_bad_row: Literal["error", "skip"] = "error",
        limit: int | dict[str, int] | None = None,
        num_workers: int = 2,
        cache_folder: str = ".cache",
    ) -> None:
        if source == target:
            raise ValueError(f"source and target must be two columns, got {source!r} for both")
        if max_length is not None and max_length < 4:
            raise ValueError(f"max_length must be at least 4 tokens, got {max_length}")
        if not 0 <= bpe_dropout < 1:
            raise ValueError(f"bpe_dropout must be in [0, 1), got {bpe_dropout}")
        if bpe_dropout and long_pairs == "cut":
            raise ValueError("bpe_dropout needs long_pairs: drop, because a truncated text cannot be re-segmented")
        super().__init__(
            rows,
            Target(),
            fields=[source, target],
            id=id,
            split=split,
            split_seed=split_seed,
            max_length=max_length,
            on_bad_row=on_bad_row,
            limit=limit,
            num_workers=num_workers,
            cache_folder=cache_folder,
        )
        self.long_pairs, self.bpe_dropout = long_pairs, bpe_dropout

    def reader(self, *, has_target: bool = True, **options: Any) -> RecordReader:
        """Reader of both columns; has_target: False for texts to write a target for, which have the source alone."""
        fields, target = (self.fields, self.target) if has_target else (self.fields[:1], None)
        own = {"id": self.id, "on_bad_row": self.on_bad_row, "column_options": "data.source, data.target"}
        return RecordReader(fields, target, needs_every_text=True, **{**own, **options})
