"""`predict` of a million lines through a pipe: python benchmarks/predict_stream.py [NUMBER]

Trains a small bag of embeddings, feeds lines to `predict --input -` and reads what comes out: the order is checked line by line and
memory is looked at ten times on the way. Then a fifth of the lines, here and by fastText in turn, three times each.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from big_corpus import CONFIG, generate
from side_by_side import ROOT, needs, peer, project, start

TRAINING_TEXTS, ROUNDS = 20_000, 3


def texts_of(path: Path, number: int) -> Iterator[str]:
    """`number` texts of 20 to 250 letters, from the documents of a file again and again."""
    documents = path.read_text(encoding="utf-8").splitlines()
    for i in range(number):
        yield json.loads(documents[i % len(documents)])["text"][: 20 + i % 230]


def predict(folder: Path, run: str, number: int) -> tuple[float, list[float]]:
    """(texts per second from the first line out to the last, memory in MB ten times on the way)."""
    command = [sys.executable, "main.py", "predict", run, "--input", "-"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    feeder = threading.Thread(target=_feed, args=(process.stdin, folder / "train.jsonl", number), daemon=True)
    feeder.start()
    memory, started, watched = [], 0.0, psutil.Process(process.pid)
    for i, line in enumerate(process.stdout):
        if i == 0:
            started = time.perf_counter()
        if json.loads(line)["id"] != f"stdin:{i + 1}":
            process.kill()
            raise RuntimeError(f"line {i} is {line[:80]}")
        if i % (number // 10) == number // 20:
            memory.append(watched.memory_info().rss / 2**20)
    seconds = time.perf_counter() - started
    feeder.join()
    if process.wait() != 0 or i + 1 != number:
        raise RuntimeError(f"{i + 1} of {number} lines; exit code {process.returncode}")
    return number / seconds, memory


def _feed(pipe, path: Path, number: int) -> None:  # type: ignore[no-untyped-def]
    with pipe:
        for text in texts_of(path, number):
            pipe.write(json.dumps({"text": text}) + "\n")


def main(number: int) -> None:
    """Measure, and print what came out."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder / "train.jsonl", TRAINING_TEXTS)
        config = CONFIG.format(ngrams=2).replace("overridden", str(folder / "train.jsonl"))
        (folder / "stream.yaml").write_text(config, encoding="utf-8")
        start(project(str(folder / "stream.yaml"), "bench-stream", "train.num_epochs=1", f"data.cache_folder={folder}"))
        speed, memory = predict(folder, "experiments/bench-stream", number)
        print(f"{number:,} lines, in order: {speed:,.0f} texts/s")
        print(f"memory on the way, MB: {' '.join(f'{value:.0f}' for value in memory)}", flush=True)
        texts = [json.loads(line) for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()]
        (folder / "train.txt").write_text(
            "".join(f"__label__{t['label']} {t['text']}\n" for t in texts), encoding="utf-8"
        )
        plain = "".join(text + "\n" for text in texts_of(folder / "train.jsonl", number // 5))
        (folder / "lines.txt").write_text(plain, encoding="utf-8")
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(predict(folder, "experiments/bench-stream", number // 5)[0])
            run = start(peer("fasttext_predict.py", folder / "train.txt", folder / "lines.txt"))
            theirs.append(run.result["texts_per_second"])
    medians = statistics.median(ours), statistics.median(theirs)
    print(f"{medians[0]:,.0f} texts/s, fastText {medians[1]:,.0f}: {medians[0] / medians[1]:.2f} of its rate")


if __name__ == "__main__":
    needs(__doc__, packages=("fasttext",))
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
