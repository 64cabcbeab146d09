"""Pre-training of an encoder on raw text: guess masked tokens, and whether two segments belong together (Devlin et al. 2019)."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from agents.base import BaseAgent
from agents.language_models.document_data import DocumentData, on_files
from agents.language_models.options import DocumentOptions, Objective
from agents.language_models.scoring import Scorer
from agents.language_models.watching import COLUMNS, Plateau, guesses, unigram_entropy
from agents.running.checking import check_has_valid
from agents.running.text_data import TextArtifacts
from datasets import TOKENIZERS
from datasets.batches.loader import Loader
from datasets.batches.pretraining import PretrainingBatch
from datasets.sources.documents import Documents
from datasets.store.file_hashes import files_hash
from datasets.tokenizers.vocabulary import Vocabulary
from graphs.models import ENCODERS
from graphs.models.masked_language_model import MaskedLanguageModel
from utils.config.config import Config
from utils.config.schema import Section, construct
from utils.errors import ConfigError, DataError
from utils.metrics.language_model import PretrainingCounts

MODELS = {name: ENCODERS[name] for name in ("bert", "transformer")}  # those with a hidden state for each token
SUBWORDS = {name: TOKENIZERS[name] for name in ("wordpiece", "byte_bpe", "pretrained", "saved")}


class PretrainingAgent(BaseAgent):
    """Trains an encoder on documents without labels; `init_from` its run to fine-tune it."""

    monitor = "-mlm"
    metrics = ("mlm_accuracy", "mlm", "perplexity", "bits_per_byte", "pair_accuracy", "pairs")
    sections: ClassVar[dict[str, Section]] = {
        "data": Section(
            {"documents": Documents},
            shared=DocumentOptions,
            default="documents",
            free=("cache_folder", "max_row_bytes"),
        ),
        "tokenizer": Section(SUBWORDS, default="wordpiece"),
        "model": Section(MODELS, default="bert"),
        "objective": Section(shared=Objective),
        **BaseAgent.sections,
    }

    @classmethod
    def complete(cls, config: Config) -> None:
        """Add [CLS] and [SEP], which fine-tuning needs, and a pooler only for pairs, which train it."""
        super().complete(config)
        tokenizer, model, objective = (config.get(key) for key in ("tokenizer", "model", "objective"))
        is_trained = isinstance(tokenizer, Mapping) and tokenizer.get("name") not in ("pretrained", "saved")
        if tokenizer is None or is_trained:
            config["tokenizer"] = {"special_tokens": True, **(tokenizer or {})}
        has_pairs = isinstance(objective, Mapping) and objective.get("pairs", "none") != "none"
        if model is None or isinstance(model, Mapping):
            config["model"] = {"pooling": "pooler" if has_pairs else "mean", **(model or {})}

    @classmethod
    def known_metrics(cls, config: Config) -> Sequence[str]:
        return [name for name in cls.metrics if config.objective.pairs != "none" or not name.startswith("pair")]

    @property
    def has_pairs(self) -> bool:
        """Whether the model tells pairs of segments apart."""
        return str(self.config.objective.pairs) != "none"

    def build_model(self, artifacts: TextArtifacts) -> nn.Module:
        size, options = artifacts.tokenizer.vocab_size, self.config.model
        encoder: Any = construct(self.config, "model", MODELS[options.name], options, vocab_size=size)
        head: dict[str, Any] = {"norm_eps": options.norm_eps, "activation": options.activation}
        return MaskedLanguageModel(encoder, size, has_pairs=self.has_pairs, **head)

    def build_loss(self, artifacts: TextArtifacts) -> nn.Module:
        return nn.CrossEntropyLoss(reduction="sum")

    def compute_loss(self, batch: PretrainingBatch) -> tuple[dict[str, Tensor], Any]:
        tokens, pairs = self.model(batch)
        tokens = tokens.float()
        terms = {"mlm": self.loss(tokens, batch.ids)}
        if pairs is not None:
            terms["pairs"] = self.loss(pairs.float(), batch.pair_labels)
        return terms, (tokens, pairs)

    def count(self, batch: PretrainingBatch) -> dict[str, float]:
        counts = {"mlm": float(len(batch.ids))}
        return counts | ({"pairs": float(len(batch.rows))} if self.has_pairs else {})

    def new_metrics(self) -> PretrainingCounts:
        return PretrainingCounts(self.bytes_of, self.device, has_pairs=self.has_pairs)

    @functools.cached_property
    def bytes_of(self) -> Tensor:
        """(V,) int64: how many bytes of text each token stands for."""
        return torch.from_numpy(Vocabulary.of(self.artifacts.tokenizer).num_bytes).to(self.device)

    def summarize(self, values: dict[str, float]) -> dict[str, float]:
        """Add the perplexity and the bits per byte; keep the losses, and of the rest what the config chooses."""
        bits = values["mlm"] / math.log(2) / max(values["bytes_per_token"], 1e-9)
        found = values | {"perplexity": math.exp(min(values["mlm"], 700.0)), "bits_per_byte": bits}
        chosen = {"loss", "mlm", "pairs", *self.chosen_metrics(self.metrics)}
        return {name: value for name, value in found.items() if name in chosen}

    def content(self) -> str:
        source = construct(self.config, "data", Documents, self.config.data)
        return files_hash(source, self.config.data.cache_folder)

    def read_data(self) -> DocumentData:
        return DocumentData(self.config, self.worker)

    def show_validation(self, values: dict[str, float]) -> None:
        """Some guesses as a table in TensorBoard, and a warning where nothing is learnt."""
        with torch.no_grad():
            self.model.eval()
            batch: Any = next(self.data.loaders["valid"].eval_batches()).to(self.device)
            logits = self.compute_loss(batch)[1][0]  # on every process: with FSDP all have to take part
            self.model.train()
        self.log.table("valid/guesses", COLUMNS, guesses(self.artifacts.tokenizer, batch, logits), self.state.step)
        self.plateau.look(values, self.state.num_tokens, logits.argmax(dim=-1))

    @functools.cached_property
    def plateau(self) -> Plateau:
        """The detector of the initial plateau, whose loss is the unigram entropy of these documents."""
        data: Any = self.data
        return Plateau(unigram_entropy(data.store.token_counts, data.vocabulary))

    encode = None  # type: ignore[assignment]  # it answers no rows: see agents/running/abilities.py

    def scorer(self) -> Scorer:
        """A scorer of texts, for `fill` and `minimal-pairs`."""
        model: Any = self.model
        return Scorer(model, self.artifacts.tokenizer, model.encoders[0].max_length, self.device)

    def example(self, text: str | Mapping[str, Any], answer: str | None = None) -> tuple[PretrainingBatch, bool]:
        batch, has_answer = self.scorer().example(str(text), answer)
        labels = torch.zeros(1, dtype=torch.int64) if self.has_pairs else None  # as of a pair that belongs together
        return replace(batch, pair_labels=labels), has_answer

    def test_data(self, paths: Sequence[Path], **reading: str | None) -> tuple[Loader, Callable[[], dict[str, Any]]]:
        tokenizer = self.artifacts.tokenizer if paths else None
        config = on_files(self.config, paths, reading) if paths else self.config
        data = DocumentData(config, self.worker, tokenizer)
        split = "train" if paths else "test"
        if split not in data.loaders:
            raise ConfigError("this run has no test split (data.split, data.test); give a file with --data")
        if data.artifacts.hashes != self.artifacts.hashes:
            raise DataError(
                "the documents have changed since the run was trained, and so has the tokenizer that they give"
            )
        if not paths and self.trained is not None:
            self.trained.warn_of_other_data(data.facts["data"])
        return data.loaders[split], lambda: {key: data.report[split][key] for key in ("read", "used", "skipped")}

    def check_data(self) -> None:
        config = self.config
        source: Documents = construct(config, "data", Documents, config.data)
        options: DocumentOptions = construct(config, "data", DocumentOptions, config.data)
        construct(config, "objective", Objective, config.objective)
        construct(config, "tokenizer", TOKENIZERS[config.tokenizer.name], config.tokenizer)
        has_share = options.split[1] > 0
        check_has_valid(config, [*source.splits, *(["valid"] if has_share else [])])
