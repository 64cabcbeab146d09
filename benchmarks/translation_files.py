"""Write what peers need of a run over text pairs: its weights, sizes and tokenised sources."""

import gzip
import json
import shutil
from pathlib import Path

from side_by_side import ROOT


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, which may be gzipped."""
    text = gzip.decompress(path.read_bytes()).decode() if path.name.endswith(".gz") else path.read_text()
    return text.splitlines()


def write_translation_files(run: Path, lines: list[str], folder: Path) -> None:
    """weights.safetensors, sizes.json, sources.json (the longest first). The run must be post-norm with learned positions."""
    import sys

    sys.path.insert(0, str(ROOT))
    from agents.running.trained_run import TrainedRun
    from datasets.tokenizers.vocabulary import Vocabulary

    trained = TrainedRun(run)
    options, tokenizer = trained.config.model, trained.artifacts.tokenizer
    if (options.norm, options.positions, options.tie_embeddings) != ("post", "learned", "all"):
        sys.exit(f"{run}: peers need model.norm=post, model.positions=learned and model.tie_embeddings=all")
    begin, end, _ = Vocabulary.of(tokenizer).special
    names = ("hidden_size", "num_layers", "num_heads", "intermediate_size", "max_positions", "dropout")
    sizes = {name: options[name] for name in names} | {"vocab_size": tokenizer.vocab_size, "begin": begin, "end": end}
    (folder / "sizes.json").write_text(json.dumps(sizes))
    shutil.copyfile(trained.checkpoint / "model.safetensors", folder / "weights.safetensors")
    tokens = tokenizer.encode(lines, max_length=options.max_positions)
    sources = sorted((tokens.text(row).tolist() for row in range(len(lines))), key=len, reverse=True)
    (folder / "sources.json").write_text(json.dumps(sources))
