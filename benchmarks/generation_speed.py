"""Generation here, by transformers and by CTranslate2, the same weights: python benchmarks/generation_speed.py RUN FILE [ROUNDS]

RUN: of configs/multi30k_de_en.yaml with model.norm=post model.positions=learned; FILE: sources, one a line. Sentences a second,
greedy and with a beam of 5, in batches of 64 on two threads; how many targets are the same; what the cache saves over 100 tokens.
"""

import sys
import tempfile
from pathlib import Path

from side_by_side import ROOT, alternate, header, needs, peer, row
from translation_files import read_lines, write_translation_files

BATCH, MAX_LENGTH = 64, 100


def main(run: str, file: str, repeats: int) -> None:
    """Measure, and print the tables."""
    lines = read_lines(Path(file))
    with tempfile.TemporaryDirectory() as name:
        write_translation_files(ROOT / run, lines, Path(name))
        header("transformers and CTranslate2", "transformers", "ctranslate2")
        ours = [sys.executable, "benchmarks/our_generation.py", name, run]
        for beam in (1, 5):
            compare(lines, beam, name, [*ours, str(beam), str(BATCH), str(MAX_LENGTH)], repeats)
        write_translation_files(ROOT / run, lines[:128], Path(name))
        long = [*ours, "1", str(BATCH), "101", "100"]
        runs = alternate({"cached": lambda i: long, "without": lambda i: [*long, "no-cache"]}, 1)
        speed = {system: [128 / one.result["seconds"] for one in each] for system, each in runs.items()}
        row("cache, 100 tokens", speed["cached"], speed["without"], "at least 5", "sentences/s")
        is_same = runs["cached"][0].result["targets"] == runs["without"][0].result["targets"]
        print(
            f"with the cache and without it the targets are {'the same' if is_same else 'NOT the same'}",
            file=sys.stderr,
        )


def compare(lines: list[str], beam: int, folder: str, ours: list[str], repeats: int) -> None:
    """Two lines of the table, and how many targets are the same."""
    rule = (folder, beam, BATCH, MAX_LENGTH)
    runs = alternate(
        {
            "ours": lambda i: ours,
            "transformers": lambda i: peer("marian_generate.py", *rule),
            "CTranslate2": lambda i: peer("ctranslate2_generate.py", *rule),
        },
        repeats,
    )
    targets = {system: each[0].result["targets"] for system, each in runs.items()}
    speed = {system: [len(lines) / one.result["seconds"] for one in each] for system, each in runs.items()}
    for system, aim in (("transformers", "at least 1.5"), ("CTranslate2", "at least 0.5")):
        row(f"beam {beam}, {system}", speed["ours"], speed[system], aim, "sentences/s")
        same = sum(own == other for own, other in zip(targets["ours"], targets[system], strict=True))
        print(f"beam {beam}: {same} of {len(lines)} targets are those of {system}", file=sys.stderr)


if __name__ == "__main__":
    needs(__doc__, arguments=2, packages=["transformers", "ctranslate2"])
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 3)
