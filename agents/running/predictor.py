"""A trained run as a function from texts to predictions."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.exports.exported_run import ExportedRun, open_run
from agents.running.abilities import Predicts, require
from agents.running.evaluating import evaluate
from agents.running.given_text import fields_of
from agents.running.trained_run import TrainedRun
from datasets.batches.examples import EVALUATION, Batch, Examples
from datasets.batches.order import cut, ordered_batches
from datasets.formats.rows import Row
from datasets.rows.corpus import Corpus
from datasets.rows.predictions import prediction_line, skipped_line
from datasets.rows.records import Record, RecordReader, Skipped
from datasets.tokenizers.processes import chunked
from utils.distributed.worker import Worker
from utils.errors import CheckpointError, ConfigError
from utils.machine.environment import start_facts

CHUNK, BATCH_SIZE = 1024, 64
BATCH_TOKENS = BATCH_SIZE * 512  # of texts in many windows a batch holds fewer


class Predictor:
    """The best weights of a run's folder, ready to predict. Raises CheckpointError where there is no usable run."""

    def __init__(self, folder: str | Path, device: str = "cpu", worker: Worker | None = None) -> None:
        """worker: this process among several that share the work, each taking every N-th chunk of N processes."""
        self.worker = worker or Worker()
        self.run = self._opened(Path(folder))
        self.folder, self.config = self.run.folder, self.run.config
        is_8_bit = isinstance(self.run, ExportedRun) and self.run.format == "int8"
        self.batch_size = (
            1 if is_8_bit else BATCH_SIZE
        )  # its activations have one scale a batch: others would change an answer
        self.artifacts = self.run.artifacts
        try:
            self.device = self.worker.choose_device(device)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        try:
            self.agent = self.run.agent_type(self.config, self.device, self.worker)
            self.worker.limit(float(self.config.distributed.timeout))
            if "compile_layers" in self.config.get("model", {}):  # a first text would wait for the compiler
                self.config.model["compile_layers"] = False
            self.agent.artifacts = self.artifacts
            self.agent.use_trained(self.run)
            self.agent.model = self.run.load_model(self.agent)
            self.agent.loss = self.agent.build_loss(self.artifacts).to(self.device)
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, ConfigError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise CheckpointError(f"{self.folder}: its config and weights do not fit this version ({reason})") from None
        self.model = self.agent.model.to(self.device).eval()
        if self.worker.size > 1:
            self._refuse_others()
        self.worker.connect()

    def _opened(self, folder: Path) -> TrainedRun:
        """The run or the export of one, before its weights are read."""
        return open_run(folder)

    @property
    def corpus(self) -> Corpus:
        """How rows are read. Raises ConfigError for an agent that answers none."""
        require(self.run, Predicts, "predict")
        return self.agent.corpus

    def _refuse_others(self) -> None:
        """Raise DistributedError where a process has other weights or another version, and so other answers."""
        own = {"the checkpoint": self.run.sha256} | start_facts(self.config)
        self.worker.refuse_different("run", self.run.facts | own)

    def predict(self, texts: Iterable[str | Mapping[str, Any]], *, on_bad_row: str = "error") -> list[dict[str, Any]]:
        """Predict texts, each a mapping of fields or a bare text, which is the last field; -> a line for each, in order.

        on_bad_row: "error" raises DataError at a text that cannot be used; "skip" gives it a line that says why.
        """
        # A text without the columns is a bad row, whatever others come with it.
        reader = self.reader(on_bad_row, needs_columns=False)
        return list(self.predict_records(reader.answers(self.rows(texts))))

    def rows(self, texts: Iterable[str | Mapping[str, Any]]) -> Iterator[Row]:
        """Texts as `predict` takes them, as rows."""
        if isinstance(texts, str | Mapping):  # whose characters or keys would be predicted
            raise TypeError(f"texts must be a list, got one {type(texts).__name__}; write [text]")
        for i, text in enumerate(texts):
            yield Row(str(i), dict(text) if isinstance(text, Mapping) else self._fields_of(text))

    def reader(self, on_bad_row: str, *, has_target: bool = False, **options: Any) -> RecordReader:
        """A reader of texts that are not the run's own: they need no ids, and what the run did with bad rows decides nothing."""
        if on_bad_row not in ("error", "skip"):
            raise ValueError(f"on_bad_row must be error or skip, got {on_bad_row!r}")
        others: dict[str, Any] = {"skip_option": None, "needs_id": False, **options}
        return self.corpus.reader(has_target=has_target, on_bad_row=on_bad_row, **others)

    def _fields_of(self, text: Any) -> dict[str, Any]:
        """A bare text as a row's values."""
        return fields_of(self.corpus, text)

    def predict_records(self, records: Iterable[Record | Skipped]) -> Iterator[dict[str, Any]]:
        """A line of predictions.jsonl for each record, in order; only a chunk of them for each process is in memory."""
        for lines in self.shared(self.lines, chunked(records, CHUNK)):
            yield from lines

    def shared(self, function: Callable[[Any], Any], chunks: Iterable[Any]) -> Iterator[Any]:
        """Map a function over chunks, which the processes share; its results in order."""
        for group in chunked(chunks, self.worker.size):
            for found in self.worker.gathered([function(chunk) for chunk in group[self.worker.rank :][:1]]):
                yield from found

    def lines(self, records: list[Record | Skipped]) -> list[dict[str, Any]]:
        """The lines of some records, made in this process."""
        predicted = self._predicted([record for record in records if isinstance(record, Record)])
        return [next(predicted) if isinstance(record, Record) else skipped_line(record) for record in records]

    def _predicted(self, records: list[Record]) -> Iterator[dict[str, Any]]:
        """The line of each record."""
        if not records:
            return
        examples, found = self.agent.encode(records), dict[int, Any]()
        for batch, outputs in self.outputs(examples):
            found |= zip(batch.rows.tolist(), self.answers(batch, outputs), strict=True)
        for row, (record, is_cut) in enumerate(zip(records, examples.truncated, strict=True)):
            yield prediction_line(self.corpus, record, found[row], truncated=is_cut)

    def answers(self, batch: Any, outputs: Any) -> list[dict[str, Any]]:
        """The keys that the outputs of a batch add to the line of each of its texts."""
        return [self.agent.answer(prediction) for prediction in self.agent.predictions(batch, outputs)]

    @torch.no_grad()
    def outputs(self, examples: Examples) -> Iterator[tuple[Batch, Any]]:
        """Batches of examples, each on the device and with the model's outputs; the longest come first."""
        for batch in batches_of(examples, self.batch_size):
            on_device = batch.to(self.device)
            yield on_device, self.agent.compute_loss(on_device)[1]

    def evaluate(self, records: Iterable[Record]) -> dict[str, Any]:
        """The report of rows with their answers: the loss, and all that the task counts."""
        own = itertools.islice(chunked(records, CHUNK), self.worker.rank, None, self.worker.size)
        return self.measure(
            itertools.chain.from_iterable(batches_of(self.agent.encode(chunk), self.batch_size) for chunk in own)
        )

    def measure(self, batches: Iterable[Batch]) -> dict[str, Any]:
        """The report of batches: the loss, and all that the task counts."""
        metrics = self.agent.new_metrics()
        return evaluate(self.agent, batches, metrics) | metrics.report() | self.agent.evaluation_options()

    @torch.no_grad()
    def attention(self, text: str | Mapping[str, Any]) -> list[dict[str, Any]]:
        """The attention weights of a text -> for every field, or each window of it, its `tokens` (T) and `weights`
        (layers, heads, T, T): row i is how token i shares its attention. Raises ConfigError for a model that has none."""
        model: Any = self.model
        encoders: list[Any] = list(getattr(model, "encoders", []))
        if not encoders:
            raise ConfigError(
                f"{self.folder}: a graph of onnxruntime shows no attention; ask the run it was exported from"
            )
        if not all(hasattr(encoder, "attention_of") for encoder in encoders):
            raise ConfigError(
                f"{self.folder}: model {self.config.model.name} has no attention; transformer and bert have"
            )
        records = [record for record in self.reader("error").read(self.rows([text])) if record is not None]
        batch, found = self.agent.encode(records).collate(np.zeros(1, dtype=np.int64), EVALUATION), []
        fields = batch.to(self.device).fields
        for encoder, field in zip(model.by_field(len(fields)), fields, strict=True):
            ids, mask = field["input_ids"], field["attention_mask"]
            layers = encoder.attention_of(ids, mask, field.get("token_type_ids"))  # each (W, A, T, T)
            weights = torch.stack(layers, dim=1)
            for i, length in enumerate(mask.sum(dim=1).tolist()):
                tokens = [self.artifacts.tokenizer.token(id) for id in ids[i, :length].tolist()]
                found.append({"tokens": tokens, "weights": weights[i, ..., :length, :length].tolist()})
        return found


def batches_of(examples: Examples, batch_size: int = BATCH_SIZE) -> Iterator[Batch]:
    """All examples in batches: see `batch_rows`."""
    for rows in batch_rows(examples.lengths(EVALUATION), batch_size):
        yield examples.collate(rows, EVALUATION)


def batch_rows(lengths: np.ndarray, batch_size: int = BATCH_SIZE) -> Iterator[np.ndarray]:
    """The rows of each batch, the longest first, in batches that fit any device that trained the model."""
    for batch in ordered_batches(lengths, batch_size=batch_size, batch_tokens=None):
        yield from cut(batch, lengths, batch_size, BATCH_TOKENS)
