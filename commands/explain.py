"""Explain a trained run's predictions: a score for each word of a text; with --input, the scores are checked by deleting words.

The scores are of the log-odds of the predicted label, or of --label; of a regression, of the number. Integrated gradients need the
package captum.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from commands.input_output import (
    STANDARD_INPUT,
    add_device,
    add_reading,
    check_output,
    check_text_alone,
    output_file,
    records_of,
    text_of,
)

if TYPE_CHECKING:
    from agents.explaining.attribution import Explainer
    from agents.explaining.pages import Html, Json, Terminal
    from agents.running.predictor import Predictor
    from datasets.rows.records import Record, Skipped

SUMMARY = "score the words of texts by their effect on a trained run's prediction"
METHODS = ("integrated_gradients", "occlusion", "gradient_x_input", "attention_rollout")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN, the texts, the method and the output."""
    parser.add_argument("folder", metavar="RUN", help="a run's folder, such as experiments/bilstm")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--input", metavar="FILE", help="texts with the run's columns, labels not needed; - for standard input"
    )
    source.add_argument("--text", help="one text: the last field, or for several fields a JSON object")
    parser.add_argument(
        "--method", metavar="NAME", help=f"{', '.join(METHODS)}; default: {METHODS[0]}, for similarity runs occlusion"
    )
    parser.add_argument("--label", metavar="NAME", help="the label to explain; default: the most probable one")
    parser.add_argument(
        "--nearest",
        type=int,
        default=0,
        metavar="N",
        help="also the N most similar training texts, which are read again",
    )
    parser.add_argument(
        "--output", metavar="FILE", default="-", help="a file: .html, .jsonl or .txt; - for standard output"
    )
    parser.add_argument("--json", action="store_true", help="a JSON line for each text, the last one with the check")
    parser.add_argument("--tensorboard", action="store_true", help="also write the texts to the run's TensorBoard")
    add_reading(parser)
    add_device(parser)


def run(options: argparse.Namespace) -> None:
    """Explain one text, or each text of a file."""
    from agents.explaining.attribution import Explainer
    from agents.running.other_rows import check_format
    from agents.running.predictor import Predictor
    from utils.errors import ConfigError
    from utils.runs.run_log import set_up_console

    set_up_console()
    check_format(options.format, is_stream=options.input in STANDARD_INPUT)
    check_text_alone(options)
    if options.nearest < 0:
        raise ConfigError(f"command line: --nearest must not be negative, got {options.nearest}")
    kind = _kind(options)
    predictor = Predictor(options.folder, options.device)
    check_output(options.output, options.input, predictor.config)
    explainer = Explainer(predictor, options.method, options.label)
    text = text_of(options.text, predictor.corpus.fields)
    records, _ = records_of(options, predictor, text)
    explain(options, explainer, records, kind)


def explain(
    options: argparse.Namespace, explainer: "Explainer", records: "Iterator[Record | Skipped]", kind: str
) -> None:
    """Write a line for each record as `kind`, and for those of a file the check of the scores."""
    from agents.explaining.boards import Board
    from agents.explaining.faithfulness import Faithfulness
    from agents.explaining.lines import lines_of

    predictor = explainer.predictor
    check = Faithfulness(explainer) if options.text is None else None
    read, similar = _with_nearest(predictor, records, options.nearest)
    with (
        output_file(options.output, predictor.worker) as file,
        Board(predictor.folder, is_on=options.tensorboard) as board,
    ):
        assert file is not None
        page = _page(kind, file)
        file.write(page.begin())
        for line in lines_of(explainer, read, check, similar):
            file.write(page.line(line))
            board.add(line)
        file.write(page.end(check.summary() if check else None))
        file.flush()


def _with_nearest(
    predictor: "Predictor", records: "Iterator[Record | Skipped]", number: int
) -> "tuple[Iterable[Record | Skipped], list[list[dict[str, Any]]] | None]":
    """The records, and for each that is not skipped its nearest training texts; for those all records are read first."""
    from agents.explaining.neighbours import nearest
    from datasets.rows.records import Record

    if not number:
        return records, None
    read = list(records)
    return read, nearest(predictor, [record for record in read if isinstance(record, Record)], number)


def _kind(options: argparse.Namespace) -> str:
    """html, jsonl or txt, by --json or the ending of --output. Raises ConfigError for another one."""
    from utils.errors import ConfigError

    ending = Path(options.output).suffix.lower().removeprefix(".")
    if options.json or options.output == "-" or ending in ("html", "jsonl", "txt"):
        return "jsonl" if options.json else ending or "txt"
    raise ConfigError(
        f"command line: --output must end in .html, .jsonl or .txt, or go with --json, got {options.output!r}"
    )


def _page(kind: str, file: TextIO) -> "Json | Html | Terminal":
    from agents.explaining.pages import Html, Json, Terminal

    return Html() if kind == "html" else Json(file) if kind == "jsonl" else Terminal(file)
