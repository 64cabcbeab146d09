"""Fill the gaps of a text with a pre-trained model: python main.py fill RUN "We propose a [MASK] network"."""

import argparse
import sys

from commands.input_output import add_device

SUMMARY = "fill the gaps [MASK] of a text with a pre-trained model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN and the text."""
    parser.add_argument(
        "folder", metavar="RUN", help="a pre-training run's folder, such as experiments/pretrain_wikitext"
    )
    parser.add_argument("text", metavar="TEXT", help="a text with one or more [MASK]")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="how many tokens for each gap; default: 5")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_device(parser)


def run(options: argparse.Namespace) -> None:
    """Print the tokens of each gap with their probabilities."""
    from agents.language_models.opening import open_scorer
    from utils.errors import ConfigError
    from utils.machine.streams import to_json

    if options.top < 1:
        raise ConfigError(f"command line: --top must be at least 1, got {options.top}")
    gaps = open_scorer(options.folder, options.device, "fill").fill(options.text, options.top)
    if options.json:
        print(to_json({"text": options.text, "gaps": gaps}, sys.stdout), end="")
        return
    for number, tokens in enumerate(gaps, start=1):
        found = "  ".join(f"{token['token']} {token['probability']:.3f}" for token in tokens)
        print(found if len(gaps) == 1 else f"{number}: {found}")
