"""A Marian model of transformers with the weights of a post-norm run of ours whose positions are learned."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import MarianConfig, MarianMTModel


def marian(folder: Path) -> Any:
    """Of weights.safetensors and sizes.json, as benchmarks/translation_files.py writes them; without weights random ones."""
    sizes = json.loads((folder / "sizes.json").read_text())
    config = MarianConfig(
        vocab_size=sizes["vocab_size"],
        d_model=sizes["hidden_size"],
        encoder_layers=sizes["num_layers"],
        decoder_layers=sizes["num_layers"],
        encoder_attention_heads=sizes["num_heads"],
        decoder_attention_heads=sizes["num_heads"],
        encoder_ffn_dim=sizes["intermediate_size"],
        decoder_ffn_dim=sizes["intermediate_size"],
        activation_function="relu",
        dropout=sizes["dropout"],
        scale_embedding=False,
        max_position_embeddings=sizes["max_positions"],
        pad_token_id=0,
        eos_token_id=sizes["end"],
        decoder_start_token_id=sizes["begin"],
        forced_eos_token_id=None,
    )
    model = MarianMTModel(config)
    if (folder / "weights.safetensors").exists():
        missing = model.load_state_dict(
            renamed(load_file(folder / "weights.safetensors"), sizes["num_layers"]), strict=False
        )
        assert set(missing.missing_keys) <= {"final_logits_bias", "lm_head.weight", *COPIES}, missing.missing_keys
        assert not missing.unexpected_keys
    return model


COPIES = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")  # of the one table


def renamed(weights: dict[str, torch.Tensor], num_layers: int) -> dict[str, torch.Tensor]:
    """Our weights by Marian's names."""
    table = weights["encoders.0.embeddings.token.weight"]
    found = dict.fromkeys(("model.shared.weight", "lm_head.weight", *COPIES), table)
    for side, ours in (("encoder", "encoders.0."), ("decoder", "")):
        found[f"model.{side}.embed_positions.weight"] = weights[f"{ours}embeddings.position.weight"]
        for number in range(num_layers):
            own, theirs = f"{ours}layers.{number}.", f"model.{side}.layers.{number}."
            names = {"attention.output": "self_attn.out_proj", "attention_norm": "self_attn_layer_norm"}
            names |= {"feed_forward.up": "fc1", "feed_forward.down": "fc2", "feed_forward_norm": "final_layer_norm"}
            cut = {"attention.qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]}
            if side == "decoder":
                names |= {
                    "cross_attention.output": "encoder_attn.out_proj",
                    "cross_attention_norm": "encoder_attn_layer_norm",
                }
                names["cross_attention.query"] = "encoder_attn.q_proj"
                cut["cross_attention.key_value"] = ["encoder_attn.k_proj", "encoder_attn.v_proj"]
            for kind in ("weight", "bias"):
                found |= {f"{theirs}{other}.{kind}": weights[f"{own}{name}.{kind}"] for name, other in names.items()}
                for name, others in cut.items():
                    parts = weights[f"{own}{name}.{kind}"].chunk(len(others))
                    found |= {f"{theirs}{other}.{kind}": part for other, part in zip(others, parts, strict=True)}
    return found


if __name__ == "__main__":
    sys.exit(f"marian_model.py: {__doc__}")
