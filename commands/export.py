"""Write a trained or pre-trained BERT for another library: `hf` is what transformers loads."""

import argparse
from pathlib import Path

SUMMARY = "write a trained BERT for Hugging Face transformers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN, the format and where to."""
    parser.add_argument("folder", metavar="RUN", help="a run's folder, such as experiments/bert")
    parser.add_argument("--format", choices=["hf"], default="hf", help="hf (default): Hugging Face transformers")
    parser.add_argument("--out", metavar="FOLDER", help="output folder, which must not exist; default RUN/hf")


def run(options: argparse.Namespace) -> None:
    """Write the folder and say where it is."""
    from agents.exports.hugging_face import export_hugging_face

    folder = Path(options.folder)
    out = Path(options.out) if options.out else folder / "hf"
    architecture = export_hugging_face(folder, out)
    print(f"{out}: load it with {architecture}.from_pretrained({str(out)!r})")
