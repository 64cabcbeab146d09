"""Make a data set's files from its source.

papers: train.jsonl, valid.jsonl and test.jsonl of academic papers; words10m: train.txt, valid.txt and test.txt of novels, Wikipedia
articles and the Brown corpus.
"""

import argparse
import logging
from pathlib import Path

SUMMARY = "make a data set's files from its source (papers, words10m)"

logger = logging.getLogger("glassbox")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The data set, its source and the output folder."""
    parser.add_argument("dataset", choices=["papers", "words10m"], help="which data set")
    parser.add_argument("--source", required=True, metavar="FOLDER", help="the folder with its original files")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="output folder")


def run(options: argparse.Namespace) -> None:
    """Write the splits and print their sizes."""
    from datasets.sources import papers, words10m

    write, ending, kind = {
        "papers": (papers.write_splits, "jsonl", "papers"),
        "words10m": (words10m.write_documents, "txt", "documents"),
    }[options.dataset]
    counts = write(Path(options.source), Path(options.out))
    print(f"{counts['read']} records read = {counts['used']} used + {counts['skipped']} skipped ({counts['reasons']})")
    for split in ("train", "valid", "test"):
        print(f"{options.out}/{split}.{ending}: {counts[split]} {kind}")
