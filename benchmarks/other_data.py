"""Shipped configs on data they were not made for, beside LinearSVC and fastText: python benchmarks/other_data.py FOLDER [SET ...]

FOLDER holds the public files of the sets as their authors publish them, each in a folder of its name (see SETS for the file names).
Only the section `data` of a config is changed. All systems get the same rows: those of the published split, or of the project's
where there is none (split seeds 0 to 2 beside seeds 1 to 3). Test accuracy, mean of 3 seeds; fastText with 5 and 25 epochs.
"""

import csv
import gzip
import io
import json
import random
import statistics
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from side_by_side import ROOT, needs, peer, project, start

sys.path.insert(0, str(ROOT))
from agents import checked_config
from agents.running.building import build_corpus
from datasets.tokenizers.word import WordTokenizer

Rows = Iterable[tuple[str, str]]  # (text, label)
CONFIGS, SEEDS = ("boe", "bilstm"), (1, 2, 3)


def read(path: Path) -> str:
    """A text file, also `.gz`, with line feeds."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return data.decode("utf-8", "replace").replace("\r\n", "\n")


def aligned(folder: Path, split: str) -> Rows:
    """SNIPS: a file of texts and one of labels, line by line."""
    return zip(read(folder / split / "seq.in").splitlines(), read(folder / split / "label").splitlines(), strict=True)


def table(path: Path, text: list[int], label: int, delimiter: str = ",", skip: int = 0) -> Rows:
    """Columns by number."""
    quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    for row in list(csv.reader(io.StringIO(read(path)), delimiter=delimiter, quoting=quoting))[skip:]:  # type: ignore[arg-type]
        yield " ".join(row[i] for i in text), row[label]


def scicite(path: Path) -> Rows:
    """JSON lines."""
    return ((row["text"], row["label"]) for row in map(json.loads, read(path).splitlines()))


def newsgroups(path: Path, split: str) -> Iterator[tuple[str, str]]:
    """The bodies of the mails: their headers name the group."""
    with tarfile.open(path) as archive:
        for member in sorted(archive.getmembers(), key=lambda each: each.name):
            file = archive.extractfile(member) if f"-{split}/" in member.name else None
            if file is not None:
                text = file.read().decode("latin-1").replace("\r\n", "\n")
                yield text.partition("\n\n")[2], member.name.split("/")[-2]


SETS: dict[str, Callable[[Path], dict[str, Rows]]] = {
    "snips": lambda at: {split: aligned(at, split) for split in ("train", "valid", "test")},
    "scicite": lambda at: {
        "train": scicite(at / "train.jsonl.gz"), "valid": scicite(at / "dev.jsonl"), "test": scicite(at / "test.jsonl")
    },
    "sms_spam": lambda at: {"train": table(at / "SMSSpamCollection", [1], 0, "\t")},
    "cr": lambda at: {
        "train": [(text, label) for label in ("neg", "pos") for text in read(at / f"custrev.{label}").splitlines()]
    },
    "cola": lambda at: {
        split: table(at / f"{name}.tsv", [3], 1, "\t")
        for split, name in {"train": "in_domain_train", "valid": "in_domain_dev", "test": "out_of_domain_dev"}.items()
    },
    "newsgroups20": lambda at: {s: newsgroups(at / "20news-bydate.tar.gz", s) for s in ("train", "test")},
    "ag_news": lambda at: {"train": table(at / "test.csv.gz", [1, 2], 0)},
    "davidson": lambda at: {"train": table(at / "labeled_data.csv.gz", [6], 5, skip=1)},
}  # fmt: skip


def write_set(folder: Path, splits: dict[str, Rows]) -> list[str]:
    """A file of JSON lines a split; -> the overrides of `data` that read them."""
    words = ["data.name=files", "data.fields=[text]", "data.label=label"]
    for split, rows in splits.items():
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows if text.strip()]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
        words.append(f"data.{split}={folder / f'{split}.jsonl'}")
    return words


def write_peers(folder: Path, words: list[str]) -> dict[str, list[Path]]:
    """The training and test rows of the project's split in the peers' forms: JSON lines, and fastText's of cut words."""
    corpus, cut = build_corpus(checked_config(ROOT / "configs/boe.yaml", words)), WordTokenizer().split
    scan, files = corpus.scan(), {"svm": list[Path](), "fasttext": list[Path]()}
    for split in ("train", "test"):
        records = list(corpus.records(split, scan.rows[split]))
        random.Random(0).shuffle(records)  # fastText takes them in file order
        texts = [(" ".join(record.texts), (record.labels or ("",))[0]) for record in records]
        forms = {
            "svm": [json.dumps({"text": text, "label": label}) for text, label in texts],
            "fasttext": [f"__label__{label.replace(' ', '_')} {' '.join(cut(text))}" for text, label in texts],
        }
        for form, lines in forms.items():
            files[form].append(folder / f"{form}-{split}")
            files[form][-1].write_text("\n".join(lines) + "\n")
    return files


def measure(folder: Path, words: list[str]) -> dict[str, list[float]]:
    """Test accuracies of every system by seed."""
    found: dict[str, list[float]] = {}
    for seed in SEEDS:
        own = [*words, f"data.split_seed={seed - 1}"]
        files = write_peers(folder, own)
        found.setdefault("svm", []).append(start(peer("tfidf_linear_svc.py", *files["svm"])).result["accuracy"])
        for epochs in (5, 25):
            run = start(peer("fasttext_text.py", *files["fasttext"], epochs, seed))
            found.setdefault(f"fastText {epochs}", []).append(run.result["accuracy"])
        for config in CONFIGS:
            run = start(project(f"configs/{config}.yaml", f"other-{config}", *own, f"seed={seed}"))
            found.setdefault(config, []).append(run.result["test"]["accuracy"])
    return found


def main(folder: Path, names: list[str]) -> None:
    """Measure the named sets, or all, and print the table."""
    print("| data | LinearSVC | fastText, 5 epochs | 25 epochs | boe.yaml | bilstm.yaml | below the best peer |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for name in names or SETS:
        with tempfile.TemporaryDirectory() as scratch:
            found = measure(Path(scratch), write_set(Path(scratch), SETS[name](folder / name)))
        *peers, boe, bilstm = means = [statistics.mean(values) for values in found.values()]
        below = ", ".join(f"{100 * (max(peers) - ours):.1f}" for ours in (boe, bilstm))
        print(f"| {name} | {' | '.join(f'{mean:.4f}' for mean in means)} | {below} |", flush=True)


if __name__ == "__main__":
    needs(__doc__, arguments=1, packages=("fasttext",))
    main(Path(sys.argv[1]), sys.argv[2:])
