"""Make a data set's files from its source.

papers: train.jsonl, valid.jsonl and test.jsonl of academic papers; words10m: train.txt, valid.txt and test.txt of novels, Wikipedia
articles and the Brown corpus; multi30k: train.de, train.en, ... of image captions, optionally lower-cased and tokenised as by
Moses.
"""

import argparse
import logging
from pathlib import Path

SUMMARY = "make a data set's files from its source (papers, words10m, multi30k)"

logger = logging.getLogger("glassbox")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The data set, its source and the output folder."""
    parser.add_argument("dataset", choices=["papers", "words10m", "multi30k"], help="which data set")
    parser.add_argument("--source", required=True, metavar="FOLDER", help="the folder with its original files")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="output folder")
    parser.add_argument("--lower", action="store_true", help="multi30k: lower-case the text")
    parser.add_argument("--moses", action="store_true", help="multi30k: Moses' punctuation and tokens (sacremoses)")


def run(options: argparse.Namespace) -> None:
    """Write the splits and print their sizes."""
    from datasets.sources import multi30k, papers, words10m
    from utils.errors import ConfigError

    if options.dataset == "multi30k":
        text = {"is_lower": options.lower, "is_moses": options.moses}
        counts = multi30k.write_pairs(Path(options.source), Path(options.out), **text)
        for split in ("train", "valid", "test"):
            print(f"{options.out}/{split}.de and .en: {counts[split]} pairs")
        return
    if options.lower or options.moses:
        raise ConfigError("command line: --lower and --moses go with multi30k")
    write, ending, kind = {
        "papers": (papers.write_splits, "jsonl", "papers"),
        "words10m": (words10m.write_documents, "txt", "documents"),
    }[options.dataset]
    counts = write(Path(options.source), Path(options.out))
    print(f"{counts['read']} records read = {counts['used']} used + {counts['skipped']} skipped ({counts['reasons']})")
    for split in ("train", "valid", "test"):
        print(f"{options.out}/{split}.{ending}: {counts[split]} {kind}")
