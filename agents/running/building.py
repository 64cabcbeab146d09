"""The parts of a run from its config: what tasks over texts build alike."""

from typing import Any

import torch
from torch import nn

from datasets import DATASETS, TOKENIZERS
from datasets.rows.corpus import Corpus
from datasets.rows.targets import LabelTarget, Target
from datasets.tokenizers.long_texts import check_fits
from datasets.tokenizers.subword import SubwordTokenizer
from graphs.layers.embedding import Embedding
from graphs.models import ENCODERS
from graphs.models.text_classifier import FeedForward, TextClassifier
from utils.config.config import Config
from utils.config.schema import blamed_on, construct
from utils.optimizers.building import Optimizer, takes_sparse
from utils.optimizers.building import build_optimizer as optimizer_of
from utils.trackers import TRACKERS
from utils.trackers.logger import Logger
from utils.training.freezing import Freezing
from utils.training.weight_average import WeightAverage

CPU = torch.device("cpu")
PADDING = ("[PAD]", "<pad>")


def build_corpus(config: Config, target: type[Target] = LabelTarget) -> Corpus:
    """The data set and how it is read; target: what a row is to be answered with."""
    source = construct(config, "data", DATASETS[config.data.name], config.data)
    answers = construct(config, "data", target, config.data)
    return construct(config, "data", Corpus, config.data, source=source, target=answers)


def build_tokenizer(config: Config) -> Any:
    """The tokenizer, not trained yet. Raises ConfigError for one that has nowhere to come from."""
    if config.tokenizer.name == "pretrained" and config.init_from is None:
        raise config.error("tokenizer.name", "tokenizer.name: pretrained comes with init_from, which is missing")
    return construct(config, "tokenizer", TOKENIZERS[config.tokenizer.name], config.tokenizer)


def check_lengths(config: Config, corpus: Corpus, tokenizer: object) -> None:
    """Raise ConfigError where the tokenizer cannot do what the data's options ask of long texts and pairs."""
    with blamed_on(config, "data", config.data):
        check_fits(tokenizer, pair=corpus.pair, **corpus.length_options)


def check_first_token(config: Config, corpus: Corpus, tokenizer: Any) -> None:
    """Raise ConfigError where a text is to be read off its first token, and that would be its first word instead of [CLS]."""
    special = tokenizer.special
    if config.model.get("pooling") not in ("cls", "pooler") or special is None:  # None: it comes with weights, later
        return
    before, *_ = special.pair if corpus.pair else special.single
    if not before:
        name = config.tokenizer.name if "special_tokens" in config.tokenizer else "wordpiece"
        raise config.error(
            "model.pooling",
            f"model.pooling: {config.model.pooling} needs a token such as [CLS] in front of each text, which this tokenizer "
            f"does not add; write tokenizer: {{name: {name}, special_tokens: true}}, or model.pooling: mean",
        )


def check_padding_row(config: Config, model: nn.Module, tokenizer: Any) -> None:
    """Raise ConfigError where the model keeps the vector of token 0 at zero, as padding's, and texts hold that token."""
    if not isinstance(tokenizer, SubwordTokenizer) or not any(isinstance(part, Embedding) for part in model.modules()):
        return
    if (first := tokenizer.token(0)) not in PADDING and 0 not in tokenizer.tokenizer.get_added_tokens_decoder():
        raise config.error(
            "model.name",
            f"model.name: {config.model.name} takes token 0 for padding, and this tokenizer's is {first!r}; "
            "use model.name: transformer, or a tokenizer whose first token is [PAD]",
        )


def build_model(config: Config, vocab_size: int, num_labels: int, device: torch.device = CPU) -> TextClassifier:
    """One encoder for every field (one in all if the fields are joined, or a pair) and the head; still on the CPU.

    num_labels: the size of the head's output
    """
    num_encoders = 1 if config.data.join_fields or config.data.pair else len(config.data.fields)
    encoders = build_encoders(config, num_encoders, vocab_size, num_labels, device)
    input_size = sum(encoder.output_size for encoder in encoders)
    head = construct(config, "head", FeedForward, config.head, input_size=input_size, num_labels=num_labels)
    return TextClassifier(encoders, head)


def build_encoders(config: Config, count: int, vocab_size: int, num_labels: int, device: torch.device) -> list[Any]:
    """`count` encoders of the section `model`. A table's gradients are sparse where the optimizer can do with that, on a CPU."""
    is_sparse = device.type == "cpu" and takes_sparse(config.optimizer)
    sizes = {"vocab_size": vocab_size, "sparse_gradients": is_sparse, "num_labels": num_labels}
    return [construct(config, "model", ENCODERS[config.model.name], config.model, **sizes) for _ in range(count)]


def build_optimizer(config: Config, model: nn.Module) -> Optimizer:
    """The optimizer over the model's trainable parameters."""
    with blamed_on(config, "optimizer", config.optimizer):
        return optimizer_of(model, config.optimizer)


def build_tracker(config: Config) -> Logger | None:
    """The tracker besides TensorBoard; None where the config has no such section."""
    if "tracker" not in config:
        return None
    tracker: Logger = construct(config, "tracker", TRACKERS[config.tracker.name], config.tracker, run=config.name)
    return tracker


def build_average(config: Config, model: nn.Module) -> WeightAverage | None:
    """The moving average of the model's weights; None where the config has no such section."""
    if "average" not in config:
        return None
    return construct(config, "average", WeightAverage, config.average, model=model)


def build_freezing(config: Config, model: nn.Module) -> Freezing | None:
    """What of the model learns in which epoch; None where the config has no section `freeze`."""
    if "freeze" not in config:
        return None
    return construct(config, "freeze", Freezing, config.freeze, model=model)
