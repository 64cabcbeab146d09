"""Conversion of our encoder-decoder to the classes of transformers that compute the same, and back.

    model.norm  model.positions  class
    post        sinusoidal       MarianMTModel
    pre         sinusoidal       PegasusForConditionalGeneration
    pre         learned          BlenderbotForConditionalGeneration

They differ in nothing else: one table for source, target and output, and ReLU, GELU or SiLU. Marian and Pegasus have the sines of
a position in the first half of its dimensions and the cosines in the second, ours alternate. A Transformer without such
vectors is the same function in any order of its hidden dimensions, so all weights are put into their order.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from graphs.conversion.hugging_face import to_activation

CLASSES = {
    ("post", "sinusoidal"): ("marian", "MarianMTModel"),
    ("pre", "sinusoidal"): ("pegasus", "PegasusForConditionalGeneration"),
    ("pre", "learned"): ("blenderbot", "BlenderbotForConditionalGeneration"),
}
KINDS = {kind for kind, _ in CLASSES.values()}
NEEDED = {"tie_embeddings": "all", "norm_eps": 1e-5}
LEARNED = "blenderbot"  # the kind whose positions are
ENCODER, TABLE, THEIR_TABLE = "encoders.0.", "encoders.0.embeddings.token.weight", "model.shared.weight"
POSITIONS = "embeddings.position.weight"
NAMES = {  # ours -> theirs, several where ours are joined
    "embeddings.position": ["embed_positions"],
    "attention.qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "attention.output": ["self_attn.out_proj"],
    "attention_norm": ["self_attn_layer_norm"],
    "cross_attention.query": ["encoder_attn.q_proj"],
    "cross_attention.key_value": ["encoder_attn.k_proj", "encoder_attn.v_proj"],
    "cross_attention.output": ["encoder_attn.out_proj"],
    "cross_attention_norm": ["encoder_attn_layer_norm"],
    "feed_forward.up": ["fc1"],
    "feed_forward.down": ["fc2"],
    "feed_forward_norm": ["final_layer_norm"],
    "final_norm": ["layer_norm"],
}
OURS = {theirs: (ours, place) for ours, names in NAMES.items() for place, theirs in enumerate(names)}
READERS = (
    "qkv",
    "query",
    "key_value",
    "up",
)  # maps from hidden states; others, but for tables of them, give hidden states
TABLES = ("token", "position")


def to_config(
    options: Mapping[str, Any], vocab_size: int, longest: int, start: int, end: int, padding: int
) -> dict[str, Any]:
    """The config.json for the options of our EncoderDecoder. Raises ValueError, which names the option, where no class computes it.

    longest: number of sinusoidal positions; start, end, padding: ids of the tokens around a target
    """
    for name, needed in NEEDED.items():
        if options[name] != needed:
            raise ValueError(f"needs model.{name} {needed}, this run has {options[name]}")
    is_learned = options["positions"] == "learned"
    if (options["norm"], options["positions"]) not in CLASSES:
        needed = "model.norm pre" if is_learned else "model.positions sinusoidal"
        raise ValueError(f"needs {needed}, this run has norm {options['norm']} with positions {options['positions']}")
    kind, architecture = CLASSES[options["norm"], options["positions"]]
    sizes = {
        f"{side}_{theirs}": options[ours]
        for side in ("encoder", "decoder")
        for theirs, ours in {
            "attention_heads": "num_heads",
            "ffn_dim": "intermediate_size",
            "layers": "num_layers",
        }.items()
    }
    return sizes | {
        "architectures": [architecture],
        "model_type": kind,
        "is_encoder_decoder": True,
        "vocab_size": vocab_size,
        "d_model": options["hidden_size"],
        "decoder_layers": options["num_decoder_layers"] or options["num_layers"],
        "max_position_embeddings": options["max_positions"] if is_learned else longest,
        "activation_function": to_activation(options["activation"]),
        "scale_embedding": not is_learned,
        "dropout": options["dropout"],
        "attention_dropout": options["attention_dropout"],
        "tie_word_embeddings": True,
        "decoder_start_token_id": start,
        "bos_token_id": start,
        "eos_token_id": end,
        "forced_eos_token_id": None,
        "pad_token_id": padding,
    }


def to_theirs(weights: Mapping[str, Tensor], kind: str, sinusoids: Tensor) -> dict[str, Tensor]:
    """Our EncoderDecoder's tensors under the names of a class, and in the order of its dimensions.

    sinusoids (P, H): of all positions, where they are not learned: transformers computes the same, but Pegasus would report them
    as missing
    """
    found = dict[str, Tensor]()
    if kind != LEARNED:
        weights = {**weights, POSITIONS: sinusoids, f"{ENCODER}{POSITIONS}": sinusoids}
    for name, tensor in _reordered(weights, kind, is_back=False).items():
        names = _their_names(name)
        found |= {theirs: part.contiguous() for theirs, part in zip(names, tensor.chunk(len(names)), strict=True)}
    return found


def from_theirs(weights: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """The inverse of `to_theirs`. Raises KeyError for a tensor that it does not write."""
    parts = dict[str, dict[int, Tensor]]()
    for name, tensor in weights.items():
        ours, place = _our_name(name)
        parts.setdefault(ours, {})[place] = tensor
    joined = {
        name: torch.cat([found[place] for place in sorted(found)])
        for name, found in parts.items()
        if kind == LEARNED or not name.endswith(POSITIONS)
    }
    return _reordered(joined, kind, is_back=True)


def _their_names(name: str) -> list[str]:
    if name == TABLE:
        return [THEIR_TABLE]
    side = "encoder" if name.startswith(ENCODER) else "decoder"
    layer, part, kind = _parts(name.removeprefix(ENCODER))
    return [f"model.{side}.{layer}{theirs}.{kind}" for theirs in NAMES[part]]


def _our_name(name: str) -> tuple[str, int]:
    if name == THEIR_TABLE:
        return TABLE, 0
    _, side, rest = name.split(".", 2)
    layer, part, kind = _parts(rest)
    ours, place = OURS[part]
    return f"{ENCODER if side == 'encoder' else ''}{layer}{ours}.{kind}", place


def _parts(name: str) -> tuple[str, str, str]:
    """layers.0.attention.output.weight -> "layers.0.", "attention.output", "weight"."""
    found = re.fullmatch(r"(layers\.\d+\.)?(.+)\.(weight|bias)", name)
    if found is None:
        raise KeyError(name)
    return found[1] or "", found[2], found[3]


def _reordered(weights: Mapping[str, Tensor], kind: str, *, is_back: bool) -> dict[str, Tensor]:
    """Weights for hidden states whose even dimensions come first, or back: see above."""
    if kind == LEARNED:
        return dict(weights)
    dimensions = torch.arange(weights[TABLE].shape[1])
    order = torch.cat([dimensions[0::2], dimensions[1::2]])
    order = order.argsort() if is_back else order
    found = {}
    for name, tensor in weights.items():
        part, tensor_kind = name.split(".")[-2:]
        if part in READERS:
            found[name] = tensor[:, order] if tensor_kind == "weight" else tensor
        else:
            found[name] = tensor[:, order] if part in TABLES else tensor[order]
    return found
