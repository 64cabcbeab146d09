"""WikiText-2 here and by a plain transformers loop: python benchmarks/pretraining_loop.py CONFIG [SECONDS STEPS key=value ...]

The loop (benchmarks/peers/mlm_loop.py) trains for SECONDS (1,800) on the sequences of CONFIG, then CONFIG trains for STEPS; both
are measured on the same masked tokens. Says after how many seconds of training ours had the loop's last loss.
"""

import json
import sys
import tempfile
from pathlib import Path

from sequence_files import write_sequence_files
from side_by_side import ROOT, needs, peer, project, start


def main(config: str, seconds: float, num_steps: int, options: list[str]) -> None:
    """Measure, and print both curves."""
    with tempfile.TemporaryDirectory() as name:
        train, valid, tokenizer, _ = write_sequence_files(ROOT / config, ["name=bench-loop", *options], Path(name))
        vocab = json.loads(tokenizer.read_text())["model"]["vocab"]
        sizes = (max(vocab.values()) + 1, vocab["[MASK]"])
        output = Path(name) / "loop.jsonl"
        theirs = start(peer("mlm_loop.py", train, valid, *sizes, seconds, output))
        print("| system | seconds | million tokens | loss | accuracy |\n| --- | ---: | ---: | ---: | ---: |")
        for line in map(json.loads, output.read_text().splitlines()):
            print(
                "| loop | {seconds:.0f} | {:.1f} | {loss:.3f} | {accuracy:.3f} |".format(line["tokens"] / 1e6, **line)
            )
    ours = start(project(config, "bench-loop", *options, f"train.num_steps={num_steps}", "num_threads=2"))
    report, reached = ours.result["train"], None
    for line in map(json.loads, (ROOT / "experiments/bench-loop/metrics.jsonl").read_text().splitlines()):
        if line["split"] == "valid":
            spent = report["seconds"] * line["step"] / report["steps"]
            tokens = report["tokens_per_second"] * spent / 1e6
            print(f"| ours | {spent:.0f} | {tokens:.1f} | {line['mlm']:.3f} | {line['mlm_accuracy']:.3f} |")
            if reached is None and line["mlm"] <= theirs.result["loss"]:
                reached = spent
    print(
        f"\nours had the loop's last loss, {theirs.result['loss']:.3f}, after {reached or float('nan'):.0f} of {seconds:.0f} s"
    )


if __name__ == "__main__":
    needs(__doc__, arguments=1, packages=["transformers"])
    given = [*sys.argv[2:4], *["1800", "2400"][len(sys.argv[2:4]) :]]
    main(sys.argv[1], float(given[0]), int(given[1]), sys.argv[4:])
