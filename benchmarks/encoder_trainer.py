"""A BERT trained here and by the Hugging Face Trainer: python benchmarks/encoder_trainer.py [AG_NEWS.csv.gz] [STEPS] [DEVICE]

On cpu (default) hidden size 256, 4 layers, 4 heads, 1,024, dropout 0.1, and 32 texts a step; on cuda BERT-base in bfloat16, without
dropout of attention, and 256 texts a step; here on average, since batches are cut by tokens. WordPiece of 16,000; AG News up to 128
tokens, the same ones for both. STEPS is a multiple of 50, as the grouped sampling goes from long texts to short ones within 50
batches. Real tokens a second in training, texts a second in evaluation, peak memory; cuda_steps.py says what the device does.
"""

import json
import sys
import tempfile
from pathlib import Path

from side_by_side import ROOT, Run, alternate, header, needs, peer, project, row
from token_files import write_token_files

CONFIGS = {"cpu": "benchmarks/configs/ag_bert.yaml", "cuda": "benchmarks/configs/ag_bert_base.yaml"}
REPEATS = 5  # the machine is noisy
TARGETS = {
    "cpu": {"random": "at least 2.2", "group_by_length": "at least 1.3"},
    "cuda": {"random": "at least 2", "group_by_length": "at least 1.3"},
}


def figures(runs: list[Run], *keys: str) -> list[float]:
    """One figure of every run; the keys lead to it."""
    results = [run.result for run in runs]
    for key in keys:
        results = [result[key] for result in results]
    return results  # type: ignore[return-value]


def main(data: str, num_steps: int, device: str) -> None:
    """Measure, and print a table for each sampling."""
    config, option = CONFIGS[device], f"data.train={data}"
    with tempfile.TemporaryDirectory() as name:
        files = write_token_files(ROOT / config, ["name=bench-ag", option], Path(name))
        tokenizer = json.loads((ROOT / "experiments" / "bench-ag" / "tokenizer.json").read_bytes())
        vocab_size = 1 + max(tokenizer["tokenizer"]["model"]["vocab"].values())
        evaluation = [sys.executable, "benchmarks/evaluation_speed.py", config, "name=bench-ag-eval", option]
        commands = {
            "ours": lambda i: project(config, "bench-ag", option, f"train.num_steps={num_steps}"),
            "ours, evaluation": lambda i: evaluation,
        }
        for sampling in TARGETS[device]:
            arguments = [*files, sampling, num_steps, vocab_size, device]
            commands[sampling] = lambda i, arguments=arguments: peer("hf_trainer.py", *arguments)  # type: ignore[misc]
        runs = alternate(commands, REPEATS)
    print_tables(runs, TARGETS[device])


def print_tables(runs: dict[str, list[Run]], targets: dict[str, str]) -> None:
    """Ours against either sampling."""
    ours = runs["ours"]
    for sampling, target in targets.items():
        theirs = runs[sampling]
        header(f"Trainer, {sampling}", "transformers", "accelerate")
        tokens = figures(ours, "train", "tokens_per_second")
        row("training", tokens, figures(theirs, "tokens_per_second"), target, "tokens/s")
        texts = figures(runs["ours, evaluation"], "texts_per_second")
        row("evaluation", texts, figures(theirs, "eval_texts_per_second"), "at least 1.5", "texts/s")
        row("peak memory", [run.peak_mb for run in ours], [run.peak_mb for run in theirs], "at most 1", "MB")
        print(f"\n{100 * figures(theirs, 'padding')[0]:.0f}% of the peer's places are padding\n")
    train = ours[0].result["train"]
    size = train["texts_per_second"] * train["seconds"] / train["steps"]
    print(f"{size:.1f} texts a step here")


if __name__ == "__main__":
    given = [*sys.argv[1:], *["data/ag_news/test.csv.gz", "100", "cpu"][len(sys.argv) - 1 :]]
    needs(__doc__, given[0])
    main(given[0], int(given[1]), given[2])
