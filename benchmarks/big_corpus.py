"""A million documents of 50 words, read and tokenised: python benchmarks/big_corpus.py [NUMBER ...]

For each number of documents: words per second, the peak memory of the process and of its workers together, and the seconds until a
second start has the data. Words are drawn from 50,000 by Zipf's law, with a fixed seed.
"""

import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from side_by_side import ROOT

NUM_WORDS, VOCABULARY = 50, 50_000
# reads and tokenises, or opens what is there; prints the seconds between the claim of the run and the data at hand
PROGRAM = """
import json, sys, time
from agents import build
started = time.perf_counter()
agent = build(sys.argv[1], {"data.train": sys.argv[2], "data.cache_folder": sys.argv[3], "name": "bench-big"}, is_fresh=True)
print(json.dumps({"seconds": time.perf_counter() - started, "data": agent.data.report["seconds"]}))
"""
CONFIG = """\
agent: classification
data:
  name: files
  train: overridden
tokenizer:
  name: word
  ngrams: {ngrams}
model:
  name: bag_of_embeddings
optimizer:
  name: Adagrad
  lr: 0.1
"""


def generate(path: Path, num_documents: int) -> None:
    """Documents with one of four labels, as JSON lines."""
    generator = random.Random(0)
    weights = list(itertools.accumulate(1 / (i + 10) for i in range(VOCABULARY)))
    words = [f"w{i:x}" for i in range(VOCABULARY)]
    with path.open("w", encoding="utf-8") as file:
        for i in range(num_documents):
            text = " ".join(generator.choices(words, cum_weights=weights, k=NUM_WORDS))
            file.write(json.dumps({"text": text, "label": f"c{i % 4}"}) + "\n")


def watched(command: list[str]) -> tuple[dict[str, float], float, float]:
    """(what the command prints, the largest memory in MB that it and its children held at once, the same with mapped files).

    Pages of files that are mapped are given back when the system needs them; shared pages count once.
    """
    process = psutil.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    peak = peak_mapped = 0.0
    while process.poll() is None:
        sizes = [_sizes(each) for each in [process, *_children(process)]]
        peak = max(peak, sum(size["Pss_Anon"] for size in sizes))
        peak_mapped = max(peak_mapped, sum(size["Pss"] for size in sizes))
        time.sleep(0.2)
    if process.returncode != 0:
        raise RuntimeError(f"exit code {process.returncode}: {' '.join(command)}")
    return json.loads(process.stdout.read()), peak, peak_mapped


def _sizes(process: psutil.Process) -> dict[str, float]:
    """MB of memory by kind."""
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:  # it has ended
        lines = []
    sizes = {name: float(rest.split()[0]) / 1024 for name, _, rest in (line.partition(":") for line in lines)}
    return {"Pss": 0.0, "Pss_Anon": 0.0} | sizes


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def main(sizes: list[int]) -> None:
    """Measure, and print the table."""
    print("| documents | n-grams | words/s | peak memory | with mapped files | second start |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for num_documents, ngrams in [*((size, 1) for size in sizes), (sizes[0], 2)]:  # pairs once, to see what they cost
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            generate(folder / "big.jsonl", num_documents)
            (folder / "big.yaml").write_text(CONFIG.format(ngrams=ngrams), encoding="utf-8")
            command = [
                sys.executable,
                "-c",
                PROGRAM,
                *(str(folder / part) for part in ("big.yaml", "big.jsonl", "cache")),
            ]
            first, peak, peak_mapped = watched(command)
            second, _, _ = watched(command)
        speed = num_documents * NUM_WORDS / first["data"]
        memory = f"{peak:,.0f} MB | {peak_mapped:,.0f} MB"
        print(f"| {num_documents:,} | {ngrams} | {speed:,.0f} | {memory} | {second['data']:.2f} s |", flush=True)
    print("target, words alone: at least 400,000 words/s, at most 1,000 MB, flat; second start under 1 s")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [250_000, 1_000_000])
