"""Records of a data set and their assignment to three splits, the same in every pass."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from datasets.formats.rows import Source
from datasets.rows.leaks import LabelWatch, count_leaks, describe_leaks
from datasets.rows.records import Record, RecordReader
from datasets.rows.repeats import describe_repeats
from datasets.rows.split import BEYOND, SPLITS, UNUSED, assign, check_shares, limits_of, text_key
from datasets.rows.targets import LabelTarget, Target
from utils.errors import DataError, in_words


@dataclass
class Scan:
    """Result of one pass over all rows.

    rows[split]: indices of its rows in their file; label_sets: the distinct sets of gold labels, indexed by label_numbers;
    used[split]: indices of the rows that were not skipped, for a split with a file of its own.
    """

    labels: list[str]
    rows: dict[str, np.ndarray]
    label_numbers: dict[str, np.ndarray]
    label_sets: list[tuple[str, ...]]
    used: dict[str, np.ndarray] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)

    def labels_of(self, split: str) -> set[str]:
        """Labels that occur in a split."""
        return {label for n in np.unique(self.label_numbers[split]) for label in self.label_sets[n]}


@dataclass
class _FileScan:
    keys: np.ndarray
    numbers: np.ndarray  # of the rows' label sets, -1 for a skipped row
    ids: "array[int]"  # hashes of the row ids, if the rows have ids
    reader: RecordReader
    assigned: np.ndarray


class Corpus:
    """Options of all data sets: columns, splits, maximum length, bad rows.

    fields: the text columns, one or more
    id: the column with the row ids for predictions.jsonl; null: FILE:LINE
    join_fields: join the fields into one text; false: each field has its own encoder
    pair: encode the two fields as one input with two segments, as in BERT
    split: fractions for training, validation and test, where they have no file; 0 leaves a split out, as in [0.9, 0.1, 0]
    split_seed: random seed of the split
    max_length: maximum number of tokens per text, including special tokens but not word n-grams; null: no limit
    long_texts: which part of a longer text to keep; head_tail: a quarter head, the rest tail; windows: all, vectors averaged
    stride: number of tokens by which adjacent windows overlap
    on_bad_row: end the run at an unusable row, or skip and count it
    limit: maximum number of rows used from each file, stratified by label, or {train: 1000} of some; null: all
    train_limit: maximum number of training rows; a smaller set is part of a larger one, other splits stay as they are; null: all
    num_workers: number of worker processes for tokenisation
    cache_folder: cache of tokens and teacher predictions, reused by runs on the same texts
    """

    def __init__(
        self,
        source: Source,
        target: Target,
        *,
        fields: list[str] = ("text",),  # type: ignore[assignment]  # an immutable default
        id: str | None = None,
        join_fields: bool = False,
        pair: bool = False,
        split: list[float] = (0.8, 0.1, 0.1),  # type: ignore[assignment]
        split_seed: int = 0,
        max_length: int | None = None,
        long_texts: Literal["head", "head_tail", "windows"] = "head",
        stride: int = 0,
        on_bad_row: Literal["error", "skip"] = "error",
        limit: int | dict[str, int] | None = None,
        train_limit: int | None = None,
        num_workers: int = 2,
        cache_folder: str = ".cache",
    ) -> None:
        if not fields or len(set(fields)) != len(fields):
            raise ValueError(f"fields must name one or more columns, each once, got {list(fields)}")
        check_shares(split)
        if target.column in fields:
            raise ValueError(f"fields must not include {target.column!r}, the label column")
        limits = limits_of(limit, source)
        least = min((value for value in limits.values() if value is not None), default=None)
        numbers = {"max_length": max_length, "limit": least, "train_limit": train_limit, "num_workers": num_workers}
        for name, value in numbers.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if split_seed < 0:
            raise ValueError(f"split_seed must not be negative, got {split_seed}")
        if pair and (len(fields) != 2 or join_fields):
            raise ValueError(f"pair needs two fields and join_fields: false, got {list(fields)} and {join_fields}")
        _check_long_texts(long_texts, max_length, stride, pair=pair)
        self.source, self.target = source, target
        self.fields, self.id = list(fields), id
        self.join_fields, self.pair = join_fields, pair
        self.needs_all_fields = pair  # whether a text given by hand must have them all
        self.max_length, self.long_texts, self.stride = max_length, long_texts, stride
        self.shares, self.split_seed = dict(zip(SPLITS, split, strict=True)), split_seed
        self.on_bad_row, self.limits, self.train_limit = on_bad_row, limits, train_limit
        self.num_workers, self.cache_folder = num_workers, cache_folder

    @property
    def splits(self) -> list[str]:
        """Splits with a file of their own or a fraction of the training file."""
        return [split for split in SPLITS if split in self.source.splits or self.shares[split] > 0]

    @property
    def num_encoder_texts(self) -> int:
        """Number of texts that `encoder_texts` returns for a record."""
        return 1 if self.join_fields or self.pair else len(self.fields)

    @property
    def length_options(self) -> dict[str, Any]:
        """Options for long texts, as a tokenizer's `encode` takes them."""
        return {"max_length": self.max_length, "long_texts": self.long_texts, "stride": self.stride}

    def reader(self, *, has_target: bool = True, **options: Any) -> RecordReader:
        """Reader of this corpus' columns, without the target's for prediction; options: of RecordReader, before the corpus' own."""
        target = self.target if has_target else None
        return RecordReader(self.fields, target, **{"id": self.id, "on_bad_row": self.on_bad_row, **options})

    def encoder_texts(self, record: Record) -> tuple[Any, ...]:
        """The input of each encoder: one field, all fields joined, or the pair."""
        if self.pair:
            return (record.texts,)
        return (" ".join(record.texts),) if self.join_fields else record.texts

    def records(self, split: str, rows: np.ndarray) -> Iterator[Record]:
        """Records of a split by row index, in file order."""
        origin = split if split in self.source.splits else "train"
        wanted = iter(rows.tolist())
        next_row = next(wanted, None)
        reader = self.reader(on_bad_row="skip")  # the scan has already raised for bad rows
        for number, record in enumerate(reader.read(self.source.rows(origin))):
            if number == next_row and record is not None:
                yield record
                if (next_row := next(wanted, None)) is None:
                    return  # the rest of a file may be long
        if next_row is not None:
            raise DataError(f"{self.source.files(origin)[0]}: changed while it was being read")

    def scan(self, take: Callable[[str, Iterator[Record]], np.ndarray] | None = None) -> Scan:
        """Read every row once for labels, splits and counts. Raises DataError for data that cannot be trained on.

        take: called with each split that has a file and its records, all of which it must consume; -> their text keys.
        """
        label_sets: dict[tuple[str, ...], int] = {}
        watch = LabelWatch(self.fields)

        scans = {each: self._scan_file(each, label_sets, watch, take or read_all) for each in self.source.splits}
        scan = Scan([], {}, {}, list(label_sets))
        scan.used = {origin: np.flatnonzero(file.numbers >= 0) for origin, file in scans.items()}
        for split in SPLITS:
            file = scans.get(split, scans["train"])
            scan.rows[split] = np.flatnonzero(file.assigned == SPLITS.index(split))
            scan.label_numbers[split] = file.numbers[scan.rows[split]]
            scan.report[split] = _report(scans.get(split), len(scan.rows[split]))
        found = {split: scan.labels_of(split) for split in SPLITS}
        scan.labels = self.target.vocabulary(found["train"])
        keys = {split: scans.get(split, scans["train"]).keys[rows] for split, rows in scan.rows.items()}
        leaks = count_leaks(keys, watch)
        scan.report["overlap"] = {split: leaks["texts"].get(f"{split} in train", 0) for split in ("valid", "test")}
        scan.report["leaks"] = leaks
        scan.report["warnings"] = describe_leaks(leaks, {split: len(scan.rows[split]) for split in SPLITS})
        scan.report["warnings"] += describe_repeats(list(scans.values()), scan.label_sets, self.source)
        skipped = [file.reader.skipped for file in scans.values()]
        measured = {split: names for split, names in found.items() if split == "train" or len(scan.rows[split])}
        scan.report["warnings"] += self.target.describe(measured, scan.label_sets, skipped)
        self._check(scan, found)
        return scan

    def _scan_file(
        self,
        origin: str,
        label_sets: dict[tuple[str, ...], int],
        watch: LabelWatch,
        take: Callable[[str, Iterator[Record]], np.ndarray],
    ) -> _FileScan:
        reader, numbers, ids = self.reader(), array("q"), array("q")

        def noted() -> Iterator[Record]:
            for record in reader.read(self.source.rows(origin)):
                numbers.append(label_sets.setdefault(record.labels or (), len(label_sets)) if record else -1)
                if self.id is not None:
                    ids.append(hash((origin, record.id if record else len(ids))))  # ids are unique within a file only
                if record is not None:
                    watch.see(record)
                    yield record

        used_keys = take(origin, noted())
        sets_of_rows = np.frombuffer(numbers, dtype=np.int64)
        is_used = sets_of_rows >= 0
        files = {*self.source.splits} - {"train"}
        shares = {split: share for split, share in self.shares.items() if split not in files}
        shares = shares if origin == "train" else {origin: 1.0}
        keys, assigned = np.zeros(len(is_used), np.uint64), np.full(len(is_used), UNUSED, np.int8)
        keys[is_used] = used_keys
        strata, sets = self.target.strata(list(label_sets))
        used_strata, limit = strata[sets_of_rows[is_used]], self.limits.get(origin)
        assigned[is_used] = assign(used_keys, used_strata, shares, self.split_seed, limit, sets, self.train_limit)
        return _FileScan(keys, sets_of_rows, ids, reader, assigned)

    def _check(self, scan: Scan, found: Mapping[str, set[str]]) -> None:
        files = {split: self.source.files(split if split in self.source.splits else "train")[0] for split in SPLITS}
        self.target.check_names(scan.label_sets, str(files["train"]))
        for split in self.splits:
            if len(scan.rows[split]) == 0:
                skipped = scan.report[split]["skipped"]
                same_file = [s for s in SPLITS if s == split or not {s, split} & set(self.source.splits) - {"train"}]
                num_read = sum(scan.report[s]["read"] for s in same_file)
                reasons = f" ({in_words(skipped)} skipped)" if skipped else ""
                num_labels = len(scan.label_sets) if isinstance(self.target, LabelTarget) else 0
                is_odd = 0 < num_read < 2 * num_labels and num_labels > 2
                hint = f", with {num_labels} labels: is data.label the right column?" if is_odd else ""
                raise DataError(
                    f"{files[split]}: has no rows left for {split}{reasons}; {num_read} rows were read{hint}"
                )
        self.target.check(found, scan.label_sets, files)


def _report(file: _FileScan | None, used: int) -> dict[str, Any]:
    """read = used + skipped; rows skipped in a file that is split count as read for training. file: the split's own, or None."""
    if file is None:
        return {"read": used, "used": used, "skipped": {}}
    given_away = int((file.assigned >= 0).sum()) - used
    skipped = Counter(file.reader.skipped)
    if num_cut := int((file.assigned == BEYOND).sum()):
        skipped["beyond data.train_limit"] = num_cut
    if num_beyond := file.reader.num_read - sum(skipped.values()) - given_away - used:
        skipped["beyond data.limit"] = num_beyond
    return {"read": file.reader.num_read - given_away, "used": used, "skipped": dict(skipped)}


def _check_long_texts(long_texts: str, max_length: int | None, stride: int, *, pair: bool) -> None:
    if pair and long_texts != "head":
        raise ValueError(f"long_texts must be head with pair: true, got {long_texts}")
    if long_texts != "head" and max_length is None:
        raise ValueError(f"long_texts: {long_texts} needs a max_length, got null")
    if stride < 0 or (stride > 0 and long_texts != "windows"):
        raise ValueError(f"stride must be 0, or at least 1 with long_texts: windows, got {stride} with {long_texts}")


def read_all(origin: str, records: Iterator[Record]) -> np.ndarray:
    """A `take` for `Corpus.scan` that only computes the text keys, (N,) uint64."""
    return np.fromiter((text_key(record.texts) for record in records), np.uint64)
