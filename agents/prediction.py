"""A trained classifier as a function: texts in, labels and probabilities out."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.initial import best_checkpoint, best_weights, open_run
from agents.parts import build_corpus, build_loss, build_metrics, build_model, probabilities_of
from agents.text_data import saved_tokenizer
from datasets.batches import Batch, collate
from datasets.order import cut, ordered_batches
from datasets.parallel import chunked
from datasets.predictions import prediction
from datasets.records import Record, RecordReader, Skipped
from datasets.rows import Row
from datasets.tokens import Tokens
from utils.checkpoint import MANIFEST, check_fits
from utils.distributed import Worker
from utils.environment import start_facts
from utils.errors import CheckpointError, ConfigError, DataError
from utils.experiment import saved_labels
from utils.metrics import LossMeter, decide

CHUNK, BATCH_SIZE = 1024, 64
BATCH_TOKENS = BATCH_SIZE * 512  # of texts in many windows a batch holds fewer


class Predictor:
    """The best weights of a run's folder, ready to predict. Raises CheckpointError where there is no usable run."""

    def __init__(self, folder: str | Path, device: str = "cpu", worker: Worker | None = None) -> None:
        """worker: this process among several that share the work, each taking every so manieth chunk."""
        self.worker = worker or Worker()
        self.folder = Path(folder)
        self.config = open_run(self.folder)
        if self.config.agent != "classification":
            raise CheckpointError(
                f"{self.folder}: is a run of agent {self.config.agent}; test, predict and load know those of classification"
            )
        self.labels = saved_labels(self.folder)
        self.tokenizer = saved_tokenizer(self.folder)
        weights, self.facts = best_weights(self.folder, self.tokenizer, self.labels)
        try:
            self.device = self.worker.choose_device(device)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        try:
            self.corpus = build_corpus(self.config)
            self.worker.limit(float(self.config.distributed.timeout))
            self.is_multi_label = bool(self.config.data.multi_label)
            if "compile_layers" in self.config.model:  # a first text would wait for the compiler, which may not be here
                self.config.model["compile_layers"] = False
            sizes = (self.tokenizer.vocab_size, len(self.labels))
            if len(self.corpus.fields) > len(weights):  # thousands of encoders take their time, even on meta
                raise ValueError(f"{len(self.corpus.fields):,} fields, {len(weights):,} weights")
            with torch.device("meta"):  # sizes are not believed before the weights have shown them
                check_fits(weights, build_model(self.config, *sizes).state_dict(), self.folder)
            self.model = build_model(self.config, *sizes)
            self.model.load_state_dict(weights)
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, ConfigError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise CheckpointError(f"{self.folder}: its config and weights do not fit this version ({reason})") from None
        self.model.to(self.device).eval()
        if self.worker.size > 1:
            self._refuse_others()
        self.worker.connect()

    def _refuse_others(self) -> None:
        """Raise DistributedError where a process has other weights or another version, and so other answers."""
        manifest = (best_checkpoint(self.folder) / MANIFEST).read_bytes()  # it holds the hashes of the files
        own = {"the checkpoint": hashlib.sha256(manifest).hexdigest()} | start_facts(self.config)
        self.worker.refuse_different("run", self.facts | own)

    def predict(self, texts: Iterable[str | Mapping[str, Any]], *, on_bad_row: str = "error") -> list[dict[str, Any]]:
        """Predict texts, each a mapping of fields or a bare text, which is the last field; -> a line for each, in order.

        on_bad_row: "error" raises DataError at a text that cannot be used; "skip" gives it a line that says why.
        """
        return list(self.predict_records(self.reader(on_bad_row).answers(self._rows(texts))))

    def _rows(self, texts: Iterable[str | Mapping[str, Any]]) -> Iterator[Row]:
        if isinstance(texts, str | Mapping):  # whose characters or keys would be predicted
            raise TypeError(f"predict takes a list of texts, got one {type(texts).__name__}; write [text]")
        for i, text in enumerate(texts):
            yield Row(str(i), dict(text) if isinstance(text, Mapping) else self._fields_of(text))

    def reader(self, on_bad_row: str, *, skip_option: str = "", has_labels: bool = False) -> RecordReader:
        """A reader of texts that are not the run's own: they need no ids, and what the run did with bad rows decides nothing."""
        if on_bad_row not in ("error", "skip"):
            raise ValueError(f"on_bad_row must be error or skip, got {on_bad_row!r}")
        reader = self.corpus.reader(has_labels=has_labels)
        reader.on_bad_row, reader.skip_option, reader.needs_id = on_bad_row, skip_option, False
        return reader

    def _fields_of(self, text: Any) -> dict[str, Any]:
        """A bare text, or what stands in place of one, as the last field. Raises DataError where that leaves half of a pair out."""
        *others, last = self.corpus.fields
        if self.corpus.pair:
            raise DataError(
                f'this run reads pairs: give each text as {{"{others[0]}": "...", "{last}": "..."}}, or --input'
            )
        return {**dict.fromkeys(others, ""), last: text}

    def predict_records(self, records: Iterable[Record | Skipped]) -> Iterator[dict[str, Any]]:
        """A line of predictions.jsonl for each record, in order; only a chunk of them for each process is in memory."""
        for chunks in chunked(chunked(records, CHUNK), self.worker.size):
            own = [self._lines(chunk) for chunk in chunks[self.worker.rank : self.worker.rank + 1]]
            for found in self.worker.gathered(own):
                for lines in found:
                    yield from lines

    def _lines(self, records: list[Record | Skipped]) -> list[dict[str, Any]]:
        usable = [record for record in records if isinstance(record, Record)]
        predicted = iter(self._predictions(usable) if usable else [])
        return [
            next(predicted)
            if isinstance(record, Record)
            else {"id": record.id, "predicted": None, "problem": record.problem}
            for record in records
        ]

    def _predictions(self, records: list[Record]) -> list[dict[str, Any]]:
        logits, truncated = self.logits(records)
        probabilities = probabilities_of(logits, is_multi_label=self.is_multi_label).numpy()
        decisions = decide(logits, is_multi_label=self.is_multi_label).numpy()
        line = partial(prediction, fields=self.corpus.fields, labels=self.labels, is_multi_label=self.is_multi_label)
        rows = zip(records, probabilities, decisions, truncated, strict=True)
        return [line(r, probabilities=p, decision=d, truncated=is_cut) for r, p, d, is_cut in rows]

    def evaluate(self, records: Iterable[Record]) -> dict[str, Any]:
        """The report of labelled records: loss, metrics, counts by label."""
        metrics = build_metrics(self.config, self.labels)
        losses, loss = LossMeter(), build_loss(self.config, self.labels)
        for chunk in itertools.islice(chunked(records, CHUNK), self.worker.rank, None, self.worker.size):
            logits, _ = self.logits(chunk)
            gold = torch.from_numpy(np.stack([self._gold(record) for record in chunk]))
            metrics.update(logits, gold)
            losses.update({"loss": loss(logits, gold)}, {"loss": loss.count(gold)})  # type: ignore[operator]
        losses, metrics.counts = losses.over(self.worker), self.worker.summed(metrics.counts)
        return losses.compute() | metrics.report()

    def _gold(self, record: Record) -> np.ndarray:
        labels = record.labels or ()
        for label in labels:
            if label not in self.labels:
                raise DataError(
                    f"{record.place}: the label {label!r} is not a label of this run: {', '.join(self.labels[:20])}"
                )
        ids = [self.labels.index(label) for label in labels]
        if not self.is_multi_label:
            return np.array(ids[0])
        return np.isin(np.arange(len(self.labels)), ids).astype(np.float32)

    @torch.no_grad()
    def attention(self, text: str | Mapping[str, Any]) -> list[dict[str, Any]]:
        """What each token of a text looks at -> for every field, or each window of it, its `tokens` (T) and `weights`
        (layers, heads, T, T): row i is how token i shares its attention. Raises ConfigError for a model that has none."""
        encoders: list[Any] = list(self.model.encoders)
        if not all(hasattr(encoder, "attention_of") for encoder in encoders):
            raise ConfigError(
                f"{self.folder}: model {self.config.model.name} has no attention; transformer and bert have"
            )
        first, found = np.zeros(1, dtype=np.int64), []
        records = self.reader("error").read(self._rows([text]))
        batch = collate(self._encoded([record for record in records if record is not None]), first, first)
        for encoder, field in zip(encoders, batch.to(self.device).fields, strict=True):
            ids, mask = field["input_ids"], field["attention_mask"]
            layers = encoder.attention_of(ids, mask, field.get("token_type_ids"))  # each (W, A, T, T)
            weights = torch.stack(layers, dim=1)
            for i, length in enumerate(mask.sum(dim=1).tolist()):
                tokens = [self.tokenizer.token(id) for id in ids[i, :length].tolist()]
                found.append({"tokens": tokens, "weights": weights[i, ..., :length, :length].tolist()})
        return found

    @torch.no_grad()
    def logits(self, records: list[Record]) -> tuple[torch.Tensor, np.ndarray]:
        """(N, L) logits on the CPU and (N,) whether a text was cut, in the order of the records."""
        fields = self._encoded(records)
        logits = torch.empty(len(records), len(self.labels))
        lengths = np.sum([tokens.padded_lengths for tokens in fields], axis=0)
        batches = ordered_batches(lengths, batch_size=BATCH_SIZE, batch_tokens=None)
        for rows in [rows for batch in batches for rows in cut(batch, lengths, BATCH_SIZE, BATCH_TOKENS)]:
            padded: Batch = collate(fields, np.zeros(len(records), dtype=np.int64), rows).to(self.device)
            logits[rows] = self.model(padded.fields).cpu()
        return logits, np.any([tokens.truncated for tokens in fields], axis=0)

    def _encoded(self, records: list[Record]) -> list[Tokens]:
        """The tokens of every field."""
        texts = [self.corpus.encoder_texts(record) for record in records]
        columns = map(list, zip(*texts, strict=True))
        return [self.tokenizer.encode(column, **self.corpus.length_options) for column in columns]
