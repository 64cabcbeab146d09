"""Check an exported folder: every file is as it was written, and its answers to the texts in it are those of the run."""

import argparse
from pathlib import Path

SUMMARY = "check an exported folder: its files, and its answers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The folder."""
    parser.add_argument("folder", metavar="FOLDER", help="what export wrote, such as experiments/bert/bundle")


def run(options: argparse.Namespace) -> None:
    """Score the texts again and compare."""
    from agents.exports.examples import describe
    from agents.exports.verifying import verify

    print(f"{options.folder}: {describe(verify(Path(options.folder)))}")
