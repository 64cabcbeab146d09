"""A generation run as the folder of a Hugging Face model: the same logits, and the same search by default."""

from typing import Any

import safetensors.torch
import torch

from agents.exports.exported_run import WEIGHTS
from agents.exports.hugging_face import special_tokens, to_json, tokenizer_files
from agents.running.predictor import Predictor
from datasets.tokenizers.pair import sides_of
from graphs.conversion.encoder_decoder import to_config, to_theirs
from graphs.generation.options import GenerationOptions
from graphs.layers.positions import sinusoids
from utils.errors import ConfigError
from utils.files.hub import CONFIG
from utils.files.model_files import with_sums
from utils.files.sealed import sealed
from utils.runs.saved import REPORT

GENERATION, INPUTS = "generation_config.json", ["input_ids", "attention_mask"]


def encoder_decoder_files(predictor: Predictor, _: list[dict[str, Any]]) -> dict[str, bytes]:
    """{name: content}. Raises ConfigError for what no class of transformers computes."""
    run, agent, config = predictor.run, predictor.agent, predictor.config
    tokenizer, target = sides_of(predictor.artifacts.tokenizer)
    if tokenizer is not target:
        raise ConfigError(f"{run.folder}: export as hf needs one tokenizer for both sides; leave out target_tokenizer")
    options: GenerationOptions = agent.translator().options  # type: ignore[attr-defined]
    ends = tokenizer.special.single
    if [*map(len, ends)] != [1, 1]:
        raise ConfigError(f"{run.folder}: export as hf needs a tokenizer with one token before a text and one after it")
    padding = tokenizer.tokenizer.token_to_id(special_tokens(tokenizer).get("pad_token", ""))
    ids = {"start": ends[0][0], "end": ends[1][0], "padding": padding or 0}
    longest = max(config.model.max_positions, config.data.max_length or 0, options.max_length + 1)
    try:
        values = to_config(config.model, tokenizer.vocab_size, longest, **ids)
    except ValueError as error:
        raise ConfigError(f"{run.folder}: export as hf {error}; train it with that") from None
    waves = sinusoids(torch.arange(longest), config.model.hidden_size)
    weights = to_theirs(run.weights(), values["model_type"], waves)
    files = {
        CONFIG: to_json(values),
        WEIGHTS: safetensors.torch.save(weights, metadata={"format": "pt"}),
        GENERATION: to_json(generation_values(options, **ids)),
        **tokenizer_files(tokenizer, config.data.max_length, INPUTS),
    }
    if run.report:  # which knows the length penalty that was chosen
        files[REPORT] = to_json(sealed(run.report))
    return with_sums(files)


def generation_values(options: GenerationOptions, start: int, end: int, padding: int) -> dict[str, Any]:
    """generation_config.json; its lengths count the token that a target begins with, ours do not."""
    values = {
        "decoder_start_token_id": start,
        "bos_token_id": start,
        "eos_token_id": end,
        "pad_token_id": padding,
        "num_beams": 1 if options.sample else options.beam_size,
        "length_penalty": options.exponent,
        "early_stopping": options.early_stop,
        "max_length": options.max_length + 1,
        "min_length": options.min_length + 1 if options.min_length else 0,
        "no_repeat_ngram_size": options.no_repeat_ngram,
        "do_sample": options.sample,
    }
    if options.sample:
        values |= {"temperature": options.temperature, "top_k": options.top_k or 0, "top_p": options.top_p}
    return values
