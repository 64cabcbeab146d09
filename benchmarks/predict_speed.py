"""Texts per second of `predict`, end to end, on BBC News: python benchmarks/predict_speed.py BOE [BILSTM MINILM]

Folders of runs of boe.yaml, bilstm.yaml, and bert_minilm.yaml with model.pooling=pooler, which transformers has. All articles go
through `predict --input -` again and again; measured is from the line after the first chunk to the last. The bag takes
turns with fastText (words and pairs, 10 dimensions, which reads a file and writes nothing), in one process and with --jobs 2;
MiniLM with a transformers pipeline over its export with batches of 32, on as many threads.
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
    """Texts per second of `predict`, after the first chunk of each of its processes."""
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


def main(runs: Sequence[str]) -> None:
    """Print the table."""
    rows = articles()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = [" ".join(f"{row['title']} {row['text']}".split()) for row in rows]
        labelled = [f"__label__{row['label']} {text}\n" for row, text in zip(rows, texts, strict=True)]
        (folder / "train.txt").write_text("".join(labelled), encoding="utf-8")
        (folder / "lines.txt").write_text("\n".join(texts * 5) + "\n", encoding="utf-8")
        (folder / "few.txt").write_text("\n".join(texts[:512]) + "\n", encoding="utf-8")

        def speed_of(script: str, *arguments: object) -> Callable[[], float]:
            return lambda: float(start(peer(script, *arguments)).result["texts_per_second"])

        print("| run | texts/s | peer, texts/s | ratio | must reach |\n| --- | ---: | ---: | ---: | --- |")
        fasttext = speed_of("fasttext_predict.py", folder / "train.txt", folder / "lines.txt")
        compare("bag of embeddings, fastText", lambda: ours(runs[0], rows, 10_000), fasttext, "0.5")
        compare("bag of embeddings, --jobs 2, fastText", lambda: ours(runs[0], rows, 10_000, jobs=2), fasttext, "0.5")
        if len(runs) > 1:
            compare("BiLSTM", lambda: ours(runs[1], rows, 3_000), None, "300 texts/s")
        if len(runs) > 2:
            export = [sys.executable, "main.py", "export", runs[2], "--out", str(folder / "hf")]
            subprocess.run(export, cwd=ROOT, check=True, stdout=sys.stderr)
            pipeline = speed_of("transformers_pipeline.py", folder / "hf", folder / "few.txt")
            compare("MiniLM, transformers", lambda: ours(runs[2], rows, CHUNK + 512), pipeline, "1.5")


if __name__ == "__main__":
    needs(__doc__, arguments=1, packages=("fasttext", "transformers"))
    main(sys.argv[1:4])
