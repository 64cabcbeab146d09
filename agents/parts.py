"""The parts of a text classifier from its config: what training and prediction build alike."""

from typing import Any

import torch
from torch import Tensor, nn

from datasets import DATASETS, TOKENIZERS
from datasets.corpus import Corpus
from datasets.long_texts import check_fits
from graphs.losses import LOSSES
from graphs.models import ENCODERS
from graphs.models.text_classifier import FeedForward, TextClassifier
from utils.config import Config
from utils.errors import counted
from utils.freezing import Freezing
from utils.metrics import ConfusionMatrix, MultiLabelCounts
from utils.optim import Optimizer, takes_sparse
from utils.optim import build_optimizer as optimizer_of
from utils.schema import blamed_on, construct
from utils.weight_average import WeightAverage

CPU = torch.device("cpu")


def build_corpus(config: Config) -> Corpus:
    """The data set and how it is read."""
    source = construct(config, "data", DATASETS[config.data.name], config.data)
    return construct(config, "data", Corpus, config.data, source=source)


def build_tokenizer(config: Config) -> object:
    """The tokenizer, not trained yet."""
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


def build_model(config: Config, vocab_size: int, num_labels: int, device: torch.device = CPU) -> TextClassifier:
    """One encoder for every field (one in all if the fields are joined, or a pair) and the head; still on the CPU.

    A table's gradients are sparse where the optimizer can do with that, and the device is a CPU.
    """
    num_encoders = build_corpus(config).num_encoder_texts
    is_sparse = device.type == "cpu" and takes_sparse(config.optimizer)
    sizes = {"vocab_size": vocab_size, "sparse_gradients": is_sparse, "num_labels": num_labels}
    encoders: list[Any] = [
        construct(config, "model", ENCODERS[config.model.name], config.model, **sizes) for _ in range(num_encoders)
    ]
    input_size = sum(encoder.output_size for encoder in encoders)
    head = construct(config, "head", FeedForward, config.head, input_size=input_size, num_labels=num_labels)
    return TextClassifier(encoders, head)


def describe_plan(config: Config) -> str:
    """What is known of a run before its data is read, in words: its parameters and its length."""
    steps = config.train.num_steps
    length = counted(steps or config.train.num_epochs, "step" if steps else "epoch")
    if "head" not in config or config.get("model", {}).get("name") not in ENCODERS:
        return length  # an agent with a model of its own
    with torch.device("meta"):
        sizes = [(1000, 2), (1001, 2), (1000, 3)]  # of the vocabulary and of the labels
        n, one_token, one_label = (sum(p.numel() for p in build_model(config, *each).parameters()) for each in sizes)
    token, label = one_token - n, one_label - n
    return (
        f"{n - 1000 * token - 2 * label:,} parameters + {token:,} per vocabulary token + {label:,} per label, {length}"
    )


def build_loss(config: Config, labels: list[str]) -> nn.Module:
    """The loss over the labels."""
    return construct(config, "loss", LOSSES[config.loss.name], config.loss, labels=labels)


def build_metrics(
    config: Config, labels: list[str], device: torch.device | None = None
) -> ConfusionMatrix | MultiLabelCounts:
    """Empty counts that give the config's `metrics`, and the one that is monitored."""
    kind = MultiLabelCounts if config.data.multi_label else ConfusionMatrix
    names = dict.fromkeys(config.get("metrics") or kind.scalars)
    monitored = (config.train.monitor or "")[1:]  # none in a saved run of another version
    if monitored not in ("", "loss"):
        names |= {monitored: None}
    return kind(labels, device, list(names))


def build_optimizer(config: Config, model: nn.Module) -> Optimizer:
    """The optimizer over the model's trainable parameters."""
    with blamed_on(config, "optimizer", config.optimizer):
        return optimizer_of(model, config.optimizer)


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


def probabilities_of(logits: Tensor, *, is_multi_label: bool) -> Tensor:
    """(B, L) logits -> (B, L) probabilities: of the labels that exclude each other, or of each label by itself."""
    return torch.sigmoid(logits) if is_multi_label else torch.softmax(logits, dim=-1)
