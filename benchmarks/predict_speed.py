"""Texts per second of `predict`, end to end, on BBC News: python benchmarks/predict_speed.py BOE [BILSTM MINILM [TEXTS]]

Folders of runs of boe.yaml, bilstm.yaml, and bert_minilm.yaml with model.pooling=pooler, which transformers has; - leaves one out.
All articles go through `predict --input -` again and again; measured is from the line after the first chunk to the last. The bag
takes turns with fastText (bigrams, 10 dimensions, which reads a file and writes nothing), in one process and with --jobs 2;
MiniLM with a transformers pipeline over its export with batches of 32, on as many threads if OMP_NUM_THREADS is num_threads of the
run: its first chunk is of short texts, and then there are TEXTS articles, 512 by default.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from side_by_side import ROOT, needs, peer, start

sys.path.insert(0, str(ROOT))
from datasets.sources.bbc_news import BBCNews

ROUNDS, CHUNK = 3, 1024
Article = dict[str, str]


def articles() -> list[Article]:
    """All of BBC News, in the order of a hash: by class, a chunk would hold one of them."""
    rows = [row.values for row in BBCNews().rows("train")]
    return sorted(rows, key=lambda row: hash_of(row["text"]))


def hash_of(text: str) -> int:
    """A number that is the same in every process."""
    return sum(ord(character) * (i + 1) for i, character in enumerate(text[:200])) % 10007


def ours(run: str, rows: Sequence[Article], number: int, jobs: int = 1) -> float:
    """Texts per second of `predict`, after the first chunk of each of its processes; number: of all lines."""
    command = [sys.executable, "main.py", "predict", run, "--input", "-", "--jobs", str(jobs)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    threading.Thread(target=feed, args=(process.stdin, rows, number), daemon=True).start()
    for i, _ in enumerate(process.stdout):
        if i == jobs * CHUNK - 1:
            started = time.perf_counter()
    seconds = time.perf_counter() - started
    if process.wait() != 0 or i + 1 != number:
        raise RuntimeError(f"{i + 1} of {number} lines; exit code {process.returncode}")
    return (number - jobs * CHUNK) / seconds


def feed(pipe: IO[bytes], rows: Sequence[Article], number: int) -> None:
    """Write the articles as JSON lines."""
    lines = [json.dumps({"title": row["title"], "text": row["text"]}).encode() + b"\n" for row in rows]
    with pipe:
        for i in range(number):
            pipe.write(lines[i % len(lines)])


def compare(name: str, mine: Callable[[], float], theirs: Callable[[], float] | None, wanted: str) -> None:
    """A row of the table: medians of runs that take turns, and their ratio."""
    found = [(mine(), theirs() if theirs is not None else float("nan")) for _ in range(ROUNDS)]
    own, other = (statistics.median(column) for column in zip(*found, strict=True))
    ratios = [first / second for first, second in found]
    print(f"| {name} | {own:,.0f} | {other:,.0f} | {statistics.median(ratios):.2f} | {wanted} |", flush=True)


def main(runs: Sequence[str], few: int) -> None:
    """Print the table. few: number of texts for MiniLM."""
    rows = articles()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = [" ".join(f"{row['title']} {row['text']}".split()) for row in rows]
        labelled = [f"__label__{row['label']} {text}\n" for row, text in zip(rows, texts, strict=True)]
        (folder / "train.txt").write_text("".join(labelled), encoding="utf-8")
        (folder / "lines.txt").write_text("\n".join(texts * 5) + "\n", encoding="utf-8")
        (folder / "few.txt").write_text("\n".join(texts[:few]) + "\n", encoding="utf-8")

        def speed_of(script: str, *arguments: object) -> Callable[[], float]:
            return lambda: float(start(peer(script, *arguments)).result["texts_per_second"])

        print("| run | texts/s | peer, texts/s | ratio | target |\n| --- | ---: | ---: | ---: | --- |")
        boe, bilstm, minilm = [*runs, *["-"] * 3][:3]
        if boe != "-":
            fasttext = speed_of("fasttext_predict.py", folder / "train.txt", folder / "lines.txt")
            compare("bag of embeddings, fastText", lambda: ours(boe, rows, 10_000), fasttext, "0.5")
            compare("bag of embeddings, --jobs 2, fastText", lambda: ours(boe, rows, 10_000, jobs=2), fasttext, "0.5")
        if bilstm != "-":
            compare("BiLSTM", lambda: ours(bilstm, rows, 3_000), None, "300 texts/s")
        if minilm != "-":
            export = [sys.executable, "main.py", "export", minilm, "--out", str(folder / "hf")]
            subprocess.run(export, cwd=ROOT, check=True, stdout=sys.stderr)
            pipeline = speed_of("transformers_pipeline.py", folder / "hf", folder / "few.txt")
            lines = [*({"title": "", "text": "a"} for _ in range(CHUNK)), *rows[:few]]
            compare(f"MiniLM, {few} texts, transformers", lambda: ours(minilm, lines, CHUNK + few), pipeline, "1.5")


if __name__ == "__main__":
    needs(__doc__, arguments=1, packages=("fasttext", "transformers"))
    main(sys.argv[1:4], int(sys.argv[4]) if len(sys.argv) > 4 else 512)
