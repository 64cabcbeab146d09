"""An encoder-decoder trained here and by Seq2SeqTrainer: python benchmarks/translation_trainer.py CONFIG [STEPS]

CONFIG: configs/multi30k_de_en.yaml, of which batches of 64 pairs are taken; the peer trains a Marian model of the same sizes on the
same pairs. Real tokens a second, of both sides, in single and in mixed precision; three rounds in turn.
"""

import json
import sys
import tempfile
from pathlib import Path

from side_by_side import ROOT, alternate, header, needs, peer, project, row

REPEATS, BATCH = 3, 64


def main(config: str, num_steps: int) -> None:
    """Measure, and print the table."""
    common = [f"train.batch_size={BATCH}", "train.batch_tokens=null", "scheduler.warmup_steps=10", "num_threads=2"]
    common += [f"train.num_steps={num_steps}", "train.validate_every=100000 steps", "data.limit={valid: 8, test: 8}"]
    header("Seq2SeqTrainer", "transformers", "accelerate")
    with tempfile.TemporaryDirectory() as name:
        write_pairs(config, Path(name))
        for precision in ("single", "mixed"):
            options = [*common, f"train.precision={'float32' if precision == 'single' else 'mixed'}"]
            compare(
                precision,
                project(config, "bench-seq2seq", *options),
                peer("seq2seq_trainer.py", name, BATCH, num_steps, precision),
            )


def compare(precision: str, ours: list[str], theirs: list[str]) -> None:
    """A line of the table."""
    runs = alternate({"ours": lambda i: ours, "Seq2SeqTrainer": lambda i: theirs}, REPEATS)
    speeds = [run.result["train"]["tokens_per_second"] for run in runs["ours"]]
    row(
        f"training, {precision}",
        speeds,
        [run.result["tokens_per_second"] for run in runs["Seq2SeqTrainer"]],
        "at least 1.5",
        "tokens/s",
    )


def write_pairs(config: str, folder: Path) -> None:
    """sizes.json, tokenizer.json and pairs.json for the peer."""
    sys.path.insert(0, str(ROOT))
    from agents import checked_config
    from agents.translating.pair_data import PairData
    from datasets.tokenizers.vocabulary import Vocabulary
    from utils.distributed.worker import Worker

    checked = checked_config(ROOT / config)
    data, options = PairData(checked, Worker()), checked.model
    examples, tokenizer = data.examples["train"], data.artifacts.tokenizer
    begin, end, _ = Vocabulary.of(tokenizer).special
    names = ("hidden_size", "num_layers", "num_heads", "intermediate_size", "max_positions", "dropout")
    sizes = {name: options[name] for name in names} | {"vocab_size": tokenizer.vocab_size, "begin": begin, "end": end}
    (folder / "sizes.json").write_text(json.dumps(sizes))
    (folder / "tokenizer.json").write_text(tokenizer.published())
    pairs = [[side.text(row).tolist() for side in (examples.source, examples.target)] for row in examples.chosen]
    (folder / "pairs.json").write_text(json.dumps(pairs))


if __name__ == "__main__":
    needs(__doc__, arguments=1, packages=["transformers", "accelerate"])
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 60)
