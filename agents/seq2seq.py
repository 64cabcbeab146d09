"""Text -> text, such as a translation or a title: an encoder-decoder Transformer (Vaswani et al. 2017). N: target tokens."""

import functools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from agents.base import BaseAgent
from agents.running.checking import check_has_valid
from agents.running.text_data import trains_tokenizer
from agents.running.trained_run import TrainedRun
from agents.translating.other_pairs import StreamedPairs, given_pair, pair_records
from agents.translating.pair_corpus import PairCorpus
from agents.translating.pair_data import (
    FREE,
    PairArtifacts,
    PairData,
    build_pair_corpus,
    check_pairs,
    encode_pairs,
    pair_shape,
)
from agents.translating.translator import Translator, seeds_of
from agents.translating.watching import Signs, show_translations
from datasets import PAIR_DATASETS, TOKENIZERS
from datasets.batches.examples import EVALUATION
from datasets.batches.pairs import PairBatch
from datasets.store.store import data_hash
from datasets.tokenizers.pair import sides_of
from graphs.generation.options import GenerationOptions
from graphs.losses.token_cross_entropy import TokenCrossEntropy
from graphs.models.encoder_decoder import EncoderDecoder
from utils.config.config import Config
from utils.config.schema import Section, construct
from utils.distributed.fsdp import whole_weights
from utils.metrics.sacrebleu_scores import ScoringOptions
from utils.metrics.translation import Generated, TranslationCounts

logger = logging.getLogger("glassbox")
MODELS = {"encoder_decoder": EncoderDecoder}
LOSSES = {"token_cross_entropy": TokenCrossEntropy}
SUBWORDS = {name: TOKENIZERS[name] for name in ("byte_bpe", "wordpiece", "saved")}


class Seq2SeqAgent(BaseAgent):
    """Trains a sequence-to-sequence model, text to text, and evaluates the text that it generates."""

    monitor = "+bleu"
    metrics = ("bleu", "chrf", "nll", "perplexity", "token_accuracy")
    artifacts_type = PairArtifacts
    sections: ClassVar[dict[str, Section]] = {
        "data": Section(PAIR_DATASETS, shared=PairCorpus, default="parallel", free=FREE),
        "tokenizer": Section(SUBWORDS, default="byte_bpe"),
        "target_tokenizer": Section(SUBWORDS, default="byte_bpe", is_optional=True),
        "model": Section(MODELS, default="encoder_decoder"),
        "loss": Section(LOSSES, default="token_cross_entropy"),
        "generation": Section(
            shared=GenerationOptions,
            free=(
                "beam_size",
                "length_penalty",
                "with_greedy",
                "early_stop",
                "sample",
                "temperature",
                "top_k",
                "top_p",
            ),
        ),
        "scoring": Section(shared=ScoringOptions),
        **BaseAgent.sections,
    }

    @classmethod
    def complete(cls, config: Config) -> None:
        """Add the special tokens with which generation begins and ends."""
        super().complete(config)
        for key in ("tokenizer", "target_tokenizer"):
            given = config.get(key)
            if (given is None and key == "tokenizer") or (isinstance(given, dict) and given.get("name") != "saved"):
                config[key] = {"special_tokens": True, **(given or {})}

    def build_model(self, artifacts: PairArtifacts) -> nn.Module:
        source, target = sides_of(artifacts.tokenizer)
        sizes = {"vocab_size": source.vocab_size, "target_vocab_size": None if source is target else target.vocab_size}
        part = MODELS[self.config.model.name]
        model: nn.Module = construct(self.config, "model", part, self.config.model, **sizes)
        return model

    def build_loss(self, artifacts: PairArtifacts) -> nn.Module:
        loss: nn.Module = construct(self.config, "loss", LOSSES[self.config.loss.name], self.config.loss)
        return loss

    def compute_loss(self, batch: PairBatch) -> tuple[dict[str, Tensor], Generated]:
        loss, nll, right = self.model(batch, self.loss)
        is_written = not self.model.training and batch.texts is not None and self.has_scores
        return {"loss": loss}, Generated(nll, right, self.generate(batch) if is_written else None)

    def count(self, batch: PairBatch) -> dict[str, float]:
        return {"loss": float(len(batch.labels))}

    def new_metrics(self) -> TranslationCounts:
        self._counts = TranslationCounts(self.chosen_metrics(self.metrics), self.scoring, self.device)
        return self._counts

    def summarize(self, values: dict[str, float]) -> dict[str, float]:
        """Add the perplexity, which is that of the loss without label smoothing."""
        found = values | {"perplexity": math.exp(min(values["nll"], 700.0))}
        chosen = {"loss", "nll", *self.chosen_metrics(self.metrics)}
        return {name: value for name, value in found.items() if name in chosen}

    # Generation.

    @functools.cached_property
    def scoring(self) -> ScoringOptions:
        found: ScoringOptions = construct(self.config, "scoring", ScoringOptions, self.config.scoring)
        return found

    @functools.cached_property
    def options(self) -> GenerationOptions:
        """How texts are generated, after the training."""
        found: GenerationOptions = construct(self.config, "generation", GenerationOptions, self.config.generation)
        return found

    def translator(self) -> Translator:
        """What writes texts."""
        return Translator(self.model, self.artifacts.tokenizer, self.options)

    def generate(self, batch: PairBatch) -> list[str]:
        """The text for each source of a batch."""
        options = self.options
        if self.is_validating:
            options = options.searching(beam_size=self.scoring.valid_beam_size)
        seeds = seeds_of(self.config.seed, batch.rows.tolist())
        with whole_weights(self.model):
            return self.translator().texts(batch.input_ids, batch.attention_mask, options, seeds)

    # True during validations in training, which decode with scoring.valid_beam_size (by default greedily).
    is_validating = False

    @property
    def has_scores(self) -> bool:
        """Whether texts are to be generated: in the training's validations only for BLEU and chrF."""
        return not self.is_validating or bool({"bleu", "chrf"} & set(self.chosen_metrics(self.metrics)))

    def validate(self) -> bool:
        self.is_validating = True
        try:
            return super().validate()
        finally:
            self.is_validating = False

    def test(self) -> tuple[dict[str, Any], list[Any]]:
        """Test with the length penalty that is best on validation, if there are several."""
        penalties = self.options.length_penalties
        if len(penalties) > 1 and "valid" in self.data.loaders and not self.options.sample:
            self.checkpointer.load_weights(self.state.best_step or self.state.step)
            self.options = replace(self.options, length_penalty=max(penalties, key=self._bleu_with))
        return super().test()

    def evaluation_options(self) -> dict[str, Any]:
        return {"generation": self.options.in_use()}

    def _bleu_with(self, penalty: float) -> float:
        """BLEU on validation."""
        self.options = replace(self.options, length_penalty=penalty)
        metrics = TranslationCounts(["bleu"], self.scoring, self.device)
        self.evaluate("valid", metrics)
        return metrics.compute()["bleu"]  # whether or not it is among the config's metrics

    def predictions(self, batch: PairBatch, outputs: Generated) -> list[str]:
        return outputs.texts or []

    def show_validation(self, values: dict[str, float]) -> None:
        """Some translations, and the cross-attention of one, in TensorBoard; a warning where they show a fault."""
        batch: Any = next(self.data.loaders["valid"].eval_batches()).to(self.device)
        with whole_weights(self.model):
            self.model.eval()
            show_translations(self.log, self.translator(), self.artifacts.tokenizer, batch, self.state.step)
            self.model.train()
        self.signs.look(self._counts.signs(), self.state)

    @functools.cached_property
    def signs(self) -> Signs:
        return Signs()

    # Data.

    @functools.cached_property
    def corpus(self) -> PairCorpus:
        return build_pair_corpus(self.config)

    def read_data(self) -> PairData:
        return PairData(self.config, self.worker)

    encode = None  # type: ignore[assignment]  # it writes instead of predicting: see agents/running/abilities.py

    def example(self, text: str | Mapping[str, Any], answer: str | None = None) -> tuple[PairBatch, bool]:
        """Without an answer, the target is the model's own greedy output, or "-" where that is empty."""
        examples = encode_pairs(self.corpus, self.artifacts.tokenizer, [given_pair(self.corpus, text, answer or "-")])
        batch = examples.collate(np.zeros(1, dtype=np.int64), EVALUATION)
        if answer is not None:
            return replace(batch, texts=None), True  # the texts ask for a translation
        options = self.options.searching(beam_size=1, min_length=0, max_length=20)
        on_device = batch.to(self.device)
        (written,) = self.translator().texts(on_device.input_ids, on_device.attention_mask, options)
        return self.example(text, written if written.strip() else "-")[0], False

    def test_data(self, paths: Sequence[Path], **reading: str | None) -> tuple[Any, Callable[[], dict[str, Any]]]:
        if not paths and self.trained is not None:
            shape = pair_shape(self.config, self.corpus)
            trained = None if trains_tokenizer(self.config) else self.artifacts.tokenizer
            self.trained.warn_of_other_data(data_hash(self.corpus, shape, trained))
        records, counts = pair_records(self.corpus, paths, **reading)
        return StreamedPairs(self, records), counts

    def use_trained(self, run: TrainedRun) -> None:
        """Keep the length penalty that was best on validation."""
        super().use_trained(run)
        chosen = ((run.report.get("valid") or {}).get("generation") or {}).get("length_penalty")
        if len(self.options.length_penalties) > 1 and isinstance(chosen, float):
            self.options = replace(self.options, length_penalty=chosen)

    def check_data(self) -> None:
        config, options = self.config, self.options
        check_has_valid(config, self.corpus.splits)
        check_pairs(config, self.corpus)
        if config.model.positions == "learned" and options.min_length >= config.model.max_positions:
            room = config.model.max_positions
            raise config.error(
                "generation.min_length", f"generation.min_length must be less than model.max_positions {room}"
            )
        if len(options.length_penalties) > 1 and "valid" not in self.corpus.splits:
            raise config.error(
                "generation.length_penalty",
                "generation.length_penalty: of several the best on validation is taken, and there is no validation split; "
                f"give one, got {list(options.length_penalties)}",
            )
        _ = TranslationCounts(self.chosen_metrics(self.metrics), self.scoring, self.device)
