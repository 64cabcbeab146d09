"""Small batches of text pairs, and encoder-decoders of other libraries with their weights under our names."""

from types import SimpleNamespace
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from graphs.models.encoder_decoder import EncoderDecoder

SIZES: dict[str, Any] = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "intermediate_size": 48, "dropout": 0.0}
VOCAB, PAD, BEGIN, END = 60, 0, 2, 3


def pair_batch(num: int = 5, longest: tuple[int, int] = (9, 7), seed: int = 0) -> Any:
    """A batch of random pairs of different lengths, as a PairBatch has them."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for names, most in zip(
        (("input_ids", "attention_mask", "token_index"), ("target_ids", "target_mask", "target_index")),
        longest,
        strict=True,
    ):
        lengths = torch.randint(1, most + 1, (num,), generator=generator)
        lengths[0] = most
        mask = torch.arange(most) < lengths[:, None]
        ids = torch.randint(5, VOCAB, (num, most), generator=generator) * mask
        found |= dict(zip(names, (ids, mask, mask.flatten().nonzero()[:, 0]), strict=True))
    found["labels"] = torch.randint(5, VOCAB, (len(found["target_index"]),), generator=generator)
    return SimpleNamespace(**found)


def joined(weights: dict[str, Tensor], prefix: str, names: str) -> dict[str, Tensor]:
    """The weight and bias of several maps as those of one."""
    return {
        kind: torch.cat([weights[f"{prefix}{name}.{kind}"] for name in names.split()]) for kind in ("weight", "bias")
    }


def marian(vocab_size: int = VOCAB, spread: float = 0.3, seed: int = 0) -> Any:
    """A Marian model of transformers (post-norm, one table for all) with random weights."""
    torch.manual_seed(seed)
    config = transformers.MarianConfig(
        vocab_size=vocab_size,
        d_model=SIZES["hidden_size"],
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        activation_function="relu",
        dropout=0.0,
        scale_embedding=False,
        max_position_embeddings=64,
        init_std=spread,
        pad_token_id=PAD,
        eos_token_id=END,
        decoder_start_token_id=BEGIN,
        forced_eos_token_id=None,
    )
    model = transformers.MarianMTModel(config).eval()
    with torch.no_grad():
        model.model.shared.weight[END] *= 2.5  # so that some targets end soon, and some never
    model.config.pad_token_id = model.generation_config.pad_token_id = PAD
    return model


def from_marian(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Marian's weights, or their gradients, by our names."""
    found = {"encoders.0.embeddings.token.weight": weights["model.shared.weight"]}
    for side, ours in (("encoder", "encoders.0."), ("decoder", "")):
        found[f"{ours}embeddings.position.weight"] = weights[f"model.{side}.embed_positions.weight"]
        for number in range(2):
            theirs, own = f"model.{side}.layers.{number}.", f"{ours}layers.{number}."
            parts = {"attention.qkv": joined(weights, f"{theirs}self_attn.", "q_proj k_proj v_proj")}
            names = {"attention.output": "self_attn.out_proj", "attention_norm": "self_attn_layer_norm"}
            names |= {"feed_forward.up": "fc1", "feed_forward.down": "fc2", "feed_forward_norm": "final_layer_norm"}
            if side == "decoder":
                parts["cross_attention.key_value"] = joined(weights, f"{theirs}encoder_attn.", "k_proj v_proj")
                names |= {
                    "cross_attention.query": "encoder_attn.q_proj",
                    "cross_attention.output": "encoder_attn.out_proj",
                }
                names["cross_attention_norm"] = "encoder_attn_layer_norm"
            parts |= {name: joined(weights, theirs, other) for name, other in names.items()}
            found |= {f"{own}{name}.{kind}": tensor for name, part in parts.items() for kind, tensor in part.items()}
    return found


def like_marian(theirs: Any) -> EncoderDecoder:
    """Our model with Marian's weights; its fixed sinusoids are our learned positions."""
    model = EncoderDecoder(theirs.config.vocab_size, **SIZES, positions="learned", norm="post", max_positions=64)
    model.load_state_dict(from_marian({name: tensor.detach().clone() for name, tensor in theirs.state_dict().items()}))
    return model.eval()


def torch_transformer() -> nn.Transformer:
    """torch's own encoder-decoder, pre-norm, with random weights."""
    torch.manual_seed(0)
    sizes = {"d_model": 32, "nhead": 4, "dim_feedforward": 48, "num_encoder_layers": 2, "num_decoder_layers": 2}
    return nn.Transformer(**sizes, dropout=0.0, norm_first=True, batch_first=True)


def from_torch(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """nn.Transformer's weights, or their gradients, by our names; it has no tables."""
    found = {}
    for side, ours in (("encoder", "encoders.0."), ("decoder", "")):
        found |= {f"{ours}final_norm.{kind}": weights[f"{side}.norm.{kind}"] for kind in ("weight", "bias")}
        for number in range(2):
            theirs, own = f"{side}.layers.{number}.", f"{ours}layers.{number}."
            names = {
                "attention.output": "self_attn.out_proj",
                "feed_forward.up": "linear1",
                "feed_forward.down": "linear2",
            }
            names |= {"attention_norm": "norm1", "feed_forward_norm": "norm2" if side == "encoder" else "norm3"}
            if side == "decoder":
                names |= {"cross_attention.output": "multihead_attn.out_proj", "cross_attention_norm": "norm2"}
            for name, other in names.items():
                found |= {f"{own}{name}.{kind}": weights[f"{theirs}{other}.{kind}"] for kind in ("weight", "bias")}
            for kind in ("weight", "bias"):
                found[f"{own}attention.qkv.{kind}"] = weights[f"{theirs}self_attn.in_proj_{kind}"]
                if side == "decoder":
                    query, *rest = weights[f"{theirs}multihead_attn.in_proj_{kind}"].chunk(3)
                    found[f"{own}cross_attention.query.{kind}"] = query
                    found[f"{own}cross_attention.key_value.{kind}"] = torch.cat(rest)
    return found
