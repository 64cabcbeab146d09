"""A trained classifier or a pre-trained BERT as the folder of a Hugging Face model: the same label names, the same logits."""

import json
from pathlib import Path
from typing import Any

import safetensors.torch
import tokenizers

from agents.exports.exported_run import ENCODER, HEADS, WEIGHTS
from agents.running.building import build_corpus
from agents.running.predictor import Predictor
from datasets.tokenizers.subword import SubwordTokenizer
from datasets.tokenizers.vocabulary import is_byte_level
from graphs.conversion.hugging_face import to_config, to_hugging_face
from utils.config.config import Config
from utils.errors import ConfigError
from utils.files.hub import CONFIG
from utils.files.model_files import with_sums

ARCHITECTURES = {  # by the agent, and whether the model tells pairs apart
    ("classification", False): "BertForSequenceClassification",
    ("pretraining", False): "BertForMaskedLM",
    ("pretraining", True): "BertForPreTraining",
}
INPUTS = ["input_ids", "token_type_ids", "attention_mask"]  # some versions leave out segments that are not named
WITHOUT_SEGMENTS = ["input_ids", "attention_mask"]


def hugging_face_files(predictor: Predictor, _: list[dict[str, Any]]) -> dict[str, bytes]:
    """{name: content} of a published model's folder. Raises ConfigError for what BERT has no place for."""
    run = predictor.run
    config, tokenizer, labels = run.config, run.artifacts.tokenizer, list(run.artifacts.labels)
    _check(config, run.folder)
    weights, is_classifier = run.weights(), config.agent == "classification"
    architecture = _own_class(config, tokenizer) or ARCHITECTURES[config.agent, "pairs.weight" in weights]
    padding = tokenizer.tokenizer.token_to_id(special_tokens(tokenizer).get("pad_token", ""))
    try:
        values = to_config(config.model, tokenizer.vocab_size, labels, architecture, padding or 0)
    except ValueError as error:
        raise ConfigError(f"{run.folder}: export {error}; train it with that") from None
    if config.data.get("multi_label"):
        values["problem_type"] = "multi_label_classification"
    for ours, theirs in HEADS[values["model_type"]].items():
        weights = {name.replace(ours, theirs).removeprefix(ENCODER): tensor for name, tensor in weights.items()}
    inputs = INPUTS if values["model_type"] == "bert" else WITHOUT_SEGMENTS
    return with_sums(
        {
            CONFIG: to_json(values),
            WEIGHTS: safetensors.torch.save(to_hugging_face(weights, values), metadata={"format": "pt"}),
            **tokenizer_files(tokenizer, config.data.max_length, inputs, is_split=is_classifier),
        }
    )


def _own_class(config: Config, tokenizer: SubwordTokenizer) -> str | None:
    """DistilBERT's or RoBERTa's class where it computes what the run does, as of a run that began with their weights."""
    if config.agent != "classification":
        return None
    if _is_distilbert(config):
        return "DistilBertForSequenceClassification"
    begin = tokenizer.tokenizer.token_to_id("<s>")
    is_roberta = begin is not None and tokenizer.special.single[0] == (begin,)
    if is_roberta and config.model.type_vocab_size == 1 and special_tokens(tokenizer).get("pad_token") == "<pad>":
        return "RobertaForSequenceClassification"
    return None


def _is_distilbert(config: Config) -> bool:
    """No segments, and a head of one hidden layer with a ReLU on the first token's state."""
    options = config.model
    is_encoder = options.type_vocab_size == 0 and options.norm_eps == 1e-12
    return is_encoder and options.pooling == "cls" and config.head.hidden_sizes == [options.hidden_size]


def tokenizer_files(
    tokenizer: SubwordTokenizer, max_length: int | None, inputs: list[str], *, is_split: bool = True
) -> dict[str, bytes]:
    """The files of PreTrainedTokenizerFast; is_split: "[SEP]" in a text is five characters there, too."""
    special, own = special_tokens(tokenizer), tokenizers.Tokenizer.from_str(tokenizer.published())
    if not is_split and is_byte_level(tokenizer):
        # A gap takes the place of a token with the space before it, as in `fill`.
        own.add_special_tokens([tokenizers.AddedToken(special["mask_token"], lstrip=True, special=True)])
    values = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "model_input_names": inputs,
        "split_special_tokens": is_split,
        "clean_up_tokenization_spaces": False,
        **special,
    }
    return {"tokenizer.json": own.to_str().encode(), "tokenizer_config.json": to_json(values)}


def _check(config: Config, folder: Path) -> None:
    """Refuse a model that BertForSequenceClassification is not, and texts that transformers would cut in another way.

    The tokenizer is one that transformers knows: only such a one has the [CLS] that the pooler reads.
    """
    if config.agent not in [agent for agent, _ in ARCHITECTURES]:
        raise ConfigError(
            f"{folder}: is a run of agent {config.agent}, and export as hf writes classifiers, pre-trained and text-to-text models"
        )
    if config.model.name != "bert":
        other = "" if config.agent == "pretraining" else ", or export it as it is with --format onnx"
        raise ConfigError(
            f"{folder}: export needs model.name bert, this run has {config.model.name}; train it with that{other}"
        )
    if config.agent == "pretraining":
        if config.objective.pairs != "none" and config.model.pooling != "pooler":
            raise ConfigError(
                f"{folder}: export of pairs needs model.pooling pooler, this run has {config.model.pooling}"
            )
        return
    needed = {
        "model.pooling": (config.model.get("pooling"), "pooler"),
        "head.hidden_sizes": (config.head.hidden_sizes, []),
        "one encoder (data.join_fields, data.pair or one field)": (build_corpus(config).num_encoder_texts, 1),
    }
    for name, (found, wanted) in needed.items():
        if found != wanted and not (_is_distilbert(config) and name in ("model.pooling", "head.hidden_sizes")):
            raise ConfigError(f"{folder}: export needs {name} {wanted}, this run has {found}; train it with that")
    if config.data.long_texts != "head":
        raise ConfigError(
            f"{folder}: export needs data.long_texts head, this run has {config.data.long_texts}; transformers cuts a long text to "
            "its head and would give it other logits; train it with head"
        )


def special_tokens(tokenizer: SubwordTokenizer) -> dict[str, str]:
    """{role: token} as transformers calls them: RoBERTa's, or BERT's where the vocabulary has those."""
    roberta = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
    names = [(role, name) for role in roberta for name in (roberta[role], f"[{role.upper()}]")]
    return {f"{role}_token": name for role, name in names if tokenizer.tokenizer.token_to_id(name) is not None}


def to_json(values: Any) -> bytes:
    """The content of a JSON file."""
    return json.dumps(values, indent=1, ensure_ascii=False).encode()
