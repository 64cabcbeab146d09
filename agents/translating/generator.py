"""A trained run that writes texts: sources in, what was generated for each out."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.running.abilities import Generates, require
from agents.running.predictor import Predictor, batch_rows
from agents.running.trained_run import TrainedRun
from agents.translating.pair_corpus import PairCorpus
from agents.translating.pair_data import pair_line
from agents.translating.translator import Translator, seeds_of
from datasets.rows.records import Record, Skipped
from datasets.tokenizers.pair import sides_of
from datasets.tokenizers.tokens import Tokens
from graphs.generation.options import OF_SAMPLE, OF_SEARCH, GenerationOptions, Hypothesis
from graphs.generation.sampling import Watch
from utils.config.schema import did_you_mean, options_of
from utils.distributed.worker import Worker
from utils.errors import ConfigError

Numbered = tuple[int, Record | Skipped]  # a record and its place in the input


class Generator(Predictor):
    """The best weights of a run's folder, ready to write. Raises ConfigError for a run that cannot, or bad options."""

    def __init__(
        self,
        folder: str | Path,
        device: str = "cpu",
        worker: Worker | None = None,
        *,
        prefix: str = "",
        num_best: int = 1,
        seed: int = 0,
        **options: Any,
    ) -> None:
        """prefix: the text that each target begins with; num_best: targets for each source; seed: of sampling;
        options: instead of the run's own, see GenerationOptions."""
        for name in options.keys() - (known := options_of(GenerationOptions)).keys():
            raise ConfigError(f"generate: {name} is not an option{did_you_mean(name, known)}")
        if isinstance(given := options.get("length_penalty"), list):
            raise ConfigError(
                f"generate: length_penalty must be one number, got {given}; of several a run's test chooses one"
            )
        super().__init__(folder, device, worker)
        agent: Any = self.agent
        try:
            self.translator = Translator(self.model, self.artifacts.tokenizer, _changed(agent.options, options))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"generate: {error}") from None
        self.source_tokenizer, target = sides_of(self.artifacts.tokenizer)
        self.prefix = target.bare([prefix], may_be_empty=True).ids.tolist() if prefix else []
        self.num_best, self.seed, self.num_truncated = num_best, seed, 0
        self._check()

    def _opened(self, folder: Path) -> TrainedRun:
        run = super()._opened(folder)
        require(run, Generates, "generate")
        return run

    def _check(self) -> None:
        options = self.translator.options
        if len(self.prefix) >= options.max_length:
            raise ConfigError(
                f"generate: the prefix has {len(self.prefix)} tokens, and max_length {options.max_length} leaves none to generate"
            )
        if self.num_best < 1 or (not options.sample and self.num_best > options.beam_size):
            raise ConfigError(
                f"generate: num_best must be at least 1 and at most beam_size {options.beam_size}, got {self.num_best}; "
                "with sample there may be more"
            )

    @property
    def corpus(self) -> PairCorpus:
        """How sources are read."""
        corpus: PairCorpus = self.agent.corpus  # type: ignore[assignment]
        return corpus

    def generate(self, texts: Iterable[str | Mapping[str, Any]], *, on_bad_row: str = "error") -> list[dict[str, Any]]:
        """A line for each text, in order: its `predicted` text, the log-probability, and with num_best all `hypotheses`."""
        return self.predict(texts, on_bad_row=on_bad_row)

    def predict_records(self, records: Iterable[Record | Skipped]) -> Iterator[dict[str, Any]]:
        return super().predict_records(enumerate(records))  # type: ignore[arg-type]

    def stream(self, text: str, watch: Watch) -> dict[str, Any]:
        """The line of one text; watch: gets each token as it is chosen, which greedy search and sampling can do."""
        (record,) = [each for each in self.reader("error").read(self.rows([text])) if each is not None]
        return self._written([(0, record)], watch)[0]

    def _fields_of(self, text: Any) -> dict[str, Any]:
        return {self.corpus.fields[0]: text}

    def lines(self, records: list[Numbered]) -> list[dict[str, Any]]:  # type: ignore[override]
        written = iter(self._written([(i, each) for i, each in records if isinstance(each, Record)]))
        return [
            next(written) if isinstance(each, Record) else {"id": each.id, "predicted": None, "problem": each.problem}
            for _, each in records
        ]

    def _written(self, records: list[tuple[int, Record]], watch: Watch | None = None) -> list[dict[str, Any]]:
        """The line of each record; the longest sources come first."""
        if not records:
            return []
        tokens: Tokens = self.source_tokenizer.encode(
            [each.texts[0] for _, each in records], **self.corpus.length_options
        )
        found, lengths = dict[int, list[Hypothesis]](), tokens.lengths
        for rows in batch_rows(lengths):
            ids, mask = (torch.from_numpy(array).to(self.device) for array in tokens.pad(rows))
            seeds = seeds_of(self.seed, [records[row][0] for row in rows.tolist()])
            rest: dict[str, Any] = {"prefix": self.prefix, "num_best": self.num_best, "seeds": seeds, "watch": watch}
            found |= zip(rows.tolist(), self.translator.hypotheses(ids, mask, **rest), strict=True)
        self.num_truncated += int(np.sum(tokens.truncated))
        return [
            pair_line(record, self._answer(found[row]), truncated=bool(tokens.truncated[row]))
            for row, (_, record) in enumerate(records)
        ]

    def _answer(self, hypotheses: list[Hypothesis]) -> dict[str, Any]:
        texts = [
            {
                "text": self.translator.text_of([*self.prefix, *each.ids]),
                "log_probability": each.log_probability,
                "score": each.score,
                "is_complete": each.is_complete,
            }
            for each in hypotheses
        ]
        best = texts[0]
        answer = {
            "predicted": best["text"],
            "log_probability": best["log_probability"],
            "is_complete": best["is_complete"],
        }
        return answer | ({"hypotheses": texts} if self.num_best > 1 else {})


def _changed(own: GenerationOptions, given: dict[str, Any]) -> GenerationOptions:
    """A run's options with those that are given. Raises ConfigError for those that its way to generate does not use."""
    is_drawn = given.get("sample", own.sample)
    if not is_drawn and (unused := [name for name in OF_SAMPLE if name in given]):
        raise ConfigError(f"generate: {unused[0]} is of drawing tokens at random; give sample (--sample), too")
    if is_drawn and (unused := [name for name in ("beam_size", *OF_SEARCH) if given.get(name)]):
        raise ConfigError(f"generate: {unused[0]} is of searching; give sample: false (--no-sample), too")
    changes = {name: value for name, value in given.items() if name != "sample"}
    return own.sampling(**changes) if is_drawn else own.searching(**changes)
