"""Create a data set's files from its source: `papers` writes train.jsonl, valid.jsonl and test.jsonl of academic papers."""

import argparse
import logging
from pathlib import Path

SUMMARY = "make a data set's files from its source (papers)"

logger = logging.getLogger("glassbox")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The data set, its source and the output folder."""
    parser.add_argument("dataset", choices=["papers"], help="which data set")
    parser.add_argument("--source", required=True, metavar="FOLDER", help="the folder with its original files")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="output folder")


def run(options: argparse.Namespace) -> None:
    """Write the splits and print their sizes."""
    from datasets.sources.papers import write_splits

    counts = write_splits(Path(options.source), Path(options.out))
    print(f"{counts['read']} records read = {counts['used']} used + {counts['skipped']} skipped ({counts['reasons']})")
    for split in ("train", "valid", "test"):
        print(f"{options.out}/{split}.jsonl: {counts[split]} papers")
