"""The memory that documents take to become tokens and batches: python benchmarks/pretraining_memory.py [MILLION_WORDS ...]

For each corpus (2, 8 and 32 million words, drawn from 50,000 by Zipf's law with a fixed seed, in documents of 20 sentences) a
process trains WordPiece, tokenises, and makes 200 batches of each objective; its peak memory, the part of it that is its
own (the rest are pages of mapped files, which the kernel may drop at any time), and what a second start takes.
"""

import random
import subprocess
import sys
import tempfile
from pathlib import Path

from side_by_side import ROOT

SIZES = [2, 8, 32]
JOB = """
import re, resource, sys, threading, time
sys.path.insert(0, {root!r})
from agents import AGENTS, checked_config
from utils.machine.device import choose_device
from itertools import islice
own = []
def watch():
    while True:
        own.append(int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]))
        time.sleep(0.1)
threading.Thread(target=watch, daemon=True).start()
for pairs in ("none", "next_sentence"):
    config = checked_config("corpus.yaml", ["objective.pairs=" + pairs])
    started = time.perf_counter()
    loader = AGENTS[config.agent](config, choose_device("cpu")).read_data().loaders["train"]
    seconds = time.perf_counter() - started
    for batches in islice(loader.train_batches(0), 200):
        pass
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, max(own) / 1024)
"""
CONFIG = """\
agent: pretraining
data: {train: corpus.txt, format: sentences}
tokenizer: {vocab_size: 8192}
model: {hidden_size: 32, num_layers: 1, num_heads: 2, intermediate_size: 64}
optimizer: {name: AdamW}
train: {num_steps: 1000}
"""


def write_corpus(path: Path, num_words: int) -> None:
    """Sentences of 5 to 25 words."""
    generator = random.Random(0)
    letters = "etaoinshrdlucmfwyp"
    words = ["".join(generator.choices(letters, k=generator.randint(2, 10))) for _ in range(50_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    with path.open("w") as file:
        written = number = 0
        while written < num_words:
            chunk = generator.choices(words, weights, k=20_000)
            start = 0
            while start < len(chunk):
                sentence = chunk[start : start + generator.randint(5, 25)]
                start += len(sentence)
                number += 1
                file.write(" ".join(sentence) + ("\n\n" if number % 20 == 0 else "\n"))
            written += len(chunk)


def main() -> None:
    """Measure, and print the table."""
    print("| million words | words/s | peak memory | its own | a second start |\n| ---: | ---: | ---: | ---: | ---: |")
    for size in map(int, sys.argv[1:] or SIZES):
        with tempfile.TemporaryDirectory() as name:
            write_corpus(Path(name) / "corpus.txt", size * 1_000_000)
            (Path(name) / "corpus.yaml").write_text(CONFIG)
            found = []
            for _ in range(2):
                job = [sys.executable, "-c", JOB.format(root=str(ROOT))]
                output = subprocess.run(job, cwd=name, capture_output=True, text=True, check=True).stdout
                found.append([list(map(float, line.split())) for line in output.splitlines()])
            first, second = found
            peak, own = (max(figures[place] for figures in first) for place in (1, 2))
            speed = f"{size * 1e6 / first[0][0]:,.0f}"
            print(f"| {size} | {speed} | {peak:,.0f} MB | {own:,.0f} MB | {second[0][0]:.2f} s |", flush=True)


if __name__ == "__main__":
    main()
