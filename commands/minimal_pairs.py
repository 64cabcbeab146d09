"""Which sentence of a pair a masked language model finds more probable: BLiMP, CrowS-Pairs, or a table of pairs of your own."""

import argparse
import sys
from pathlib import Path

from commands.input_output import add_device

SUMMARY = "score pairs of sentences (BLiMP, CrowS-Pairs) with a pre-trained model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN and the pairs."""
    parser.add_argument(
        "folder", metavar="RUN", help="a pre-training run's folder, or a published model with a masked-LM head"
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="FILE",
        help="blimp.tar.gz, a folder of its .jsonl files or one of them, or a CSV file with sent_more and sent_less",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="use the first N pairs of each paradigm; default: all")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_device(parser)


def run(options: argparse.Namespace) -> None:
    """Print the accuracy by paradigm, by phenomenon and in all, each with its 95% interval."""
    from agents.language_models.minimal_pairs import judge
    from agents.language_models.opening import open_scorer
    from datasets.sources.minimal_pairs import read_pairs
    from utils.errors import ConfigError
    from utils.machine.streams import to_json

    if options.limit is not None and options.limit < 1:
        raise ConfigError(f"command line: --limit must be at least 1, got {options.limit}")
    scorer = open_scorer(options.folder, options.device, "score pairs")
    result = judge(scorer, read_pairs(Path(options.data), options.limit))
    if options.json:
        print(to_json(result, sys.stdout), end="")
        return
    for kind in ("paradigms", "phenomena", "all"):
        print(f"{kind}:" if kind != "all" else "")
        for name, found in (result[kind] if kind != "all" else {"all": result["all"]}).items():
            print(
                f"  {name:<58} {found['accuracy']:.3f}  [{found['low']:.3f}, {found['high']:.3f}]  {found['pairs']:,} pairs"
            )
