"""A masked language model as a scorer of texts: of a pre-training run, or a published one."""

from pathlib import Path
from typing import Any

import torch

from agents.language_models.scoring import Scorer
from agents.running.abilities import ScoresTokens, require
from agents.running.predictor import Predictor
from agents.running.trained_run import TrainedRun
from agents.weights.published import TABLE, check_weights, load_heads, rows_of_tokens
from datasets.tokenizers.pretrained import read_pretrained_tokenizer
from graphs.conversion.hugging_face import architecture, from_hugging_face, pretraining_heads
from graphs.models.bert import Bert
from graphs.models.masked_language_model import MaskedLanguageModel
from utils.errors import CheckpointError, ConfigError, reason_of
from utils.files.hub import find_model, is_published
from utils.files.model_files import read_model_config, read_model_weights
from utils.machine.device import choose_device


def open_scorer(name: str, device: str, verb: str) -> Scorer:
    """The scorer of a run's folder, or of a published model's name; verb: what is asked of it, for the message.

    Raises ConfigError for a run without a masked language model, CheckpointError for one that cannot be used.
    """
    if is_published(name):
        return published_scorer(find_model(name), device)
    require(TrainedRun(Path(name)), ScoresTokens, verb)
    agent: Any = Predictor(name, device).agent
    scorer: Scorer = agent.scorer()
    return scorer


def published_scorer(folder: Path, device: str) -> Scorer:
    """The scorer of a published model's folder."""
    tokenizer = read_pretrained_tokenizer(folder)
    try:
        place = choose_device(device)
        model = published_language_model(folder, tokenizer.vocab_size).to(place)
        encoder: Any = model.encoders[0]
        return Scorer(model, tokenizer, encoder.max_length, place)
    except ValueError as error:
        raise ConfigError(f"{folder}: {error}") from None


def published_language_model(folder: Path, vocab_size: int) -> MaskedLanguageModel:
    """The masked language model in a published model's folder. Raises CheckpointError where its file holds none."""
    values, file = read_model_config(folder), read_model_weights(folder)
    options = architecture(values) | {"pooling": "mean"}
    is_roberta = values["model_type"] == "roberta"  # whose head has GELU in any case
    with torch.device("meta"):
        encoder = Bert(vocab_size, **options)
        head = {"norm_eps": options["norm_eps"], "activation": "gelu" if is_roberta else options["activation"]}
        model = MaskedLanguageModel(encoder, vocab_size, has_pairs=False, **head)
    check_weights(file, values, encoder.state_dict(), folder)
    weights, _ = from_hugging_face(file, values)
    found = {
        f"encoders.0.{part}": tensor for part, tensor in weights.items() if not part.startswith(("pooler.", "head."))
    }
    found[f"encoders.0.{TABLE}"] = rows_of_tokens(weights[TABLE], vocab_size, folder)
    if missing := load_heads(found, model, pretraining_heads(file, values["model_type"]), vocab_size):
        hint = "its weights have no head that predicts hidden tokens"
        raise CheckpointError(
            f"{folder}: {hint} ({missing[0]}); pre-train it first: init_from in a config of agent pretraining"
        )
    try:
        model.load_state_dict(found, assign=True)
    except RuntimeError as error:
        reason = reason_of(error)
        raise CheckpointError(f"{folder}: its weights are not those of its config.json ({reason})") from None
    return model
