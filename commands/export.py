"""Write a trained run in another form, and refuse one that does not give the run's answers."""

import argparse
from pathlib import Path

from commands.input_output import beside_run

SUMMARY = "write a trained run for transformers, for onnxruntime, in 8 bits, or as one folder"
FORMATS = {
    "hf": "Hugging Face transformers, for bert and encoder_decoder",
    "onnx": "a graph for onnxruntime",
    "int8": "that graph in 8 bits",
    "bundle": "weights, report and model card in one folder",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN, the format, where to, and texts for the check."""
    formats = "; ".join(f"{name}: {what}" for name, what in FORMATS.items())
    parser.add_argument("folder", metavar="RUN", help="a run's folder, such as experiments/bert")
    parser.add_argument("--format", choices=list(FORMATS), default="hf", help=f"{formats}; default: hf")
    parser.add_argument("--out", metavar="FOLDER", help="output folder, which must not exist; default RUN/FORMAT")
    parser.add_argument(
        "--data",
        metavar="FILE",
        help="texts on which the export is compared with the run; default: of the run's own data",
    )


def run(options: argparse.Namespace) -> None:
    """Write the folder, and say where it is and how its answers compare."""
    from agents.exports.examples import describe
    from agents.exports.writing import export_run
    from utils.files.model_files import read_model_config

    folder = Path(options.folder)
    out = Path(options.out or beside_run(options.folder, options.format))
    check = export_run(folder, out, options.format, Path(options.data) if options.data else None)
    print(f"{out}: {describe(check)}" if check else out)
    if options.format == "hf":
        (architecture,) = read_model_config(out)["architectures"]
        print(f"load it with {architecture}.from_pretrained({str(out)!r})")
