"""CTranslate2, the field's fastest: python ctranslate2_generate.py FOLDER BEAM BATCH MAX_LENGTH [COMPUTE_TYPE]

FOLDER: see marian_generate.py. COMPUTE_TYPE: float32 (default) or int8. The last line is JSON.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ctranslate2
from ctranslate2.specs import Activation, TransformerSpec
from safetensors.numpy import load_file

if len(sys.argv) < 5:
    sys.exit(__doc__)


def fill(part: Any, weights: dict[str, Any], name: str) -> None:
    """A linear map or a layer norm."""
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    if hasattr(part, "gamma"):
        part.gamma, part.beta = weight, bias
    else:
        part.weight, part.bias = weight, bias


def specification(folder: Path) -> TransformerSpec:
    """The model as CTranslate2 describes one."""
    weights, sizes = load_file(folder / "weights.safetensors"), json.loads((folder / "sizes.json").read_text())
    layers = (sizes["num_layers"],) * 2
    spec = TransformerSpec.from_config(layers, sizes["num_heads"], pre_norm=False, activation=Activation.RELU)
    table = weights["encoders.0.embeddings.token.weight"]
    for side, ours in ((spec.encoder, "encoders.0."), (spec.decoder, "")):
        embeddings = side.embeddings[0] if isinstance(side.embeddings, list) else side.embeddings
        embeddings.weight, side.scale_embeddings = table, False
        side.position_encodings.encodings = weights[f"{ours}embeddings.position.weight"]
        for number, layer in enumerate(side.layer):
            own = f"{ours}layers.{number}."
            fill(layer.self_attention.linear[0], weights, f"{own}attention.qkv")
            fill(layer.self_attention.linear[1], weights, f"{own}attention.output")
            fill(layer.self_attention.layer_norm, weights, f"{own}attention_norm")
            fill(layer.ffn.linear_0, weights, f"{own}feed_forward.up")
            fill(layer.ffn.linear_1, weights, f"{own}feed_forward.down")
            fill(layer.ffn.layer_norm, weights, f"{own}feed_forward_norm")
            if side is spec.decoder:
                for i, name in enumerate(("query", "key_value", "output")):
                    fill(layer.attention.linear[i], weights, f"{own}cross_attention.{name}")
                fill(layer.attention.layer_norm, weights, f"{own}cross_attention_norm")
    spec.decoder.projection.weight = table
    tokens = [f"t{id}" for id in range(sizes["vocab_size"])]
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.bos_token = spec.config.decoder_start_token = f"t{sizes['begin']}"
    spec.config.eos_token, spec.config.unk_token = f"t{sizes['end']}", "t1"
    spec.config.add_source_bos = spec.config.add_source_eos = False
    return spec


folder, beam, batch, longest = Path(sys.argv[1]), *map(int, sys.argv[2:5])
sources = [[f"t{id}" for id in row] for row in json.loads((folder / "sources.json").read_text())]
with tempfile.TemporaryDirectory() as name:
    spec = specification(folder)
    spec.validate()
    spec.optimize()
    spec.save(name)
    kind = sys.argv[5] if len(sys.argv) > 5 else "float32"
    model = ctranslate2.Translator(name, device="cpu", compute_type=kind, inter_threads=1, intra_threads=2)
    rule = {"beam_size": beam, "max_decoding_length": longest, "length_penalty": 1.0, "max_batch_size": batch}
    model.translate_batch(sources[-batch:], **rule)
    started = time.perf_counter()
    found = model.translate_batch(sources, **rule)
    seconds = time.perf_counter() - started
targets = [[int(token[1:]) for token in each.hypotheses[0]] for each in found]
print(json.dumps({"seconds": seconds, "targets": targets}))
