"""Write texts with a trained run, such as translations: python main.py generate RUN --text "Ein Hund rennt."

The output is one line of text for each line of the input, in order; --json gives their log-probabilities, too.
"""

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.input_output import (
    STANDARD_INPUT,
    add_device,
    add_reading,
    check_output,
    check_text_alone,
    output_file,
)
from utils.machine.streams import to_json

if TYPE_CHECKING:
    from agents.translating.generator import Generator
    from utils.distributed.worker import Worker

SUMMARY = "write texts with a trained run, such as translations"
OPTIONS: dict[str, tuple[type, str]] = {
    "beam_size": (int, "targets kept by beam search; 1: greedy search"),
    "length_penalty": (float, "exponent of the length by which log-probabilities are divided"),
    "temperature": (float, "with --sample: logits are divided by it"),
    "top_k": (int, "with --sample: draw from the K most probable tokens"),
    "top_p": (float, "with --sample: draw from the most probable tokens that together have this probability"),
    "max_length": (int, "maximum number of tokens of a target, its prefix and its end included"),
    "min_length": (int, "minimum number of tokens of a target before its end, its prefix included"),
    "no_repeat_ngram": (int, "size of n-grams of tokens that may not repeat; 0: no limit"),
}
SWITCHES = {
    "with_greedy": "also search greedily, and take the better target",
    "early_stop": "end at beam-size complete targets",
    "sample": "draw tokens at random",
}

logger = logging.getLogger("glassbox")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN, the sources, how to generate, and the output."""
    parser.add_argument("folder", metavar="RUN", help="a run's folder, such as experiments/multi30k_de_en")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--input", metavar="FILE", help="one source a line, or a table with the run's source column; - for stdin"
    )
    source.add_argument(
        "--text", help="one source; its tokens appear as they are chosen (on a terminal, without beam search)"
    )
    for name, (kind, words) in OPTIONS.items():
        metavar = "N" if kind is int else "X"
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, metavar=metavar, help=f"{words}; default: the run's"
        )
    for name, words in SWITCHES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", action=argparse.BooleanOptionalAction, help=words)
    parser.add_argument("--seed", type=int, metavar="N", help="random seed for --sample; default: 0")
    parser.add_argument("--prefix", metavar="TEXT", help="what each target begins with")
    parser.add_argument(
        "--num-best", type=int, default=1, metavar="N", help="targets for each source; more than one: --json"
    )
    parser.add_argument("--json", action="store_true", help="a JSON line for each source")
    parser.add_argument("--output", metavar="FILE", default="-", help="output file; - (default) for standard output")
    add_reading(parser)
    add_device(parser)


def run(options: argparse.Namespace) -> None:
    """Stream sources through the model."""
    from agents.running.other_rows import check_format
    from agents.translating.generator import Generator
    from utils.distributed.shutdown import together
    from utils.errors import ConfigError, DistributedError
    from utils.runs.run_log import set_up_console

    with together() as worker:
        set_up_console(is_on=worker.is_first)
        if options.input in STANDARD_INPUT and worker.size > 1:
            raise DistributedError("command line: --input - is read by one process; give a file, or leave torchrun out")
        if options.num_best > 1 and not options.json:
            raise ConfigError("command line: --num-best goes with --json")
        check_format(options.format, is_stream=options.input in STANDARD_INPUT)
        check_text_alone(options)
        given = {name: getattr(options, name) for name in [*OPTIONS, *SWITCHES]}
        given = {name: value for name, value in given.items() if value is not None}
        rest = {"prefix": options.prefix or "", "num_best": options.num_best, "seed": options.seed or 0}
        generator = Generator(options.folder, options.device, worker, **rest, **given)
        if options.seed is not None and not generator.translator.options.sample:
            raise ConfigError("command line: --seed is of drawing tokens at random; give --sample, too")
        check_output(options.output, options.input, generator.config)
        if options.text is not None and _can_stream(options, generator):
            _stream(generator, options.text)
            _tell_cut(generator)
            return
        if options.text is not None:
            lines: Iterable[dict[str, Any]] = generator.generate(
                [options.text], on_bad_row=options.on_bad_row or "error"
            )
        else:
            lines = _lines(generator, options, worker)
        with output_file(options.output, worker) as file:
            for line in lines:
                if file is not None:
                    text = (
                        to_json(line, file) if options.json else " ".join((line["predicted"] or "").splitlines()) + "\n"
                    )
                    file.write(text)
            if file is not None:
                file.flush()
        if options.text is not None:
            _tell_cut(generator)


def _lines(generator: "Generator", options: argparse.Namespace, worker: "Worker") -> Iterator[dict[str, Any]]:
    """The line of each row of the input; a blank one has an empty text, so that lines stay beside each other."""
    from agents.running.other_rows import SKIP_OPTION
    from agents.translating.other_pairs import source_rows
    from datasets.formats.data_files import STDIN
    from datasets.rows.records import Record, Skipped
    from utils.runs.run_report import describe_counts

    path = STDIN if options.input in STANDARD_INPUT else Path(options.input)
    if path is not STDIN:
        worker.refuse_other_file(path)
    reader = generator.reader(options.on_bad_row or "error", skip_option=SKIP_OPTION)

    def records() -> Iterator[Record | Skipped]:
        for record in reader.read(source_rows(generator.corpus, path, options.format, options.encoding)):
            skipped = reader.last_skipped
            if record is not None or skipped is not None:
                yield record or skipped  # type: ignore[misc]

    yield from generator.predict_records(records())
    truncated = sum(worker.gathered(generator.num_truncated))
    cut = f"; {truncated:,} longer than data.max_length, and cut" if truncated else ""
    logger.info("%s%s", describe_counts(reader.counts(), "generated"), cut)


def _tell_cut(generator: "Generator") -> None:
    """Say that the one source was longer than what the model reads."""
    if sum(generator.worker.gathered(generator.num_truncated)):
        logger.info("the text is longer than data.max_length, and cut")


def _can_stream(options: argparse.Namespace, generator: "Generator") -> bool:
    how = generator.translator.options
    is_one = (how.sample or how.beam_size == 1) and options.num_best == 1 and generator.worker.size == 1
    return is_one and not options.json and options.output == "-" and sys.stdout.isatty()


def _stream(generator: "Generator", text: str) -> None:
    """Print the text as it grows; a character of several bytes appears when it is whole."""
    ids, shown = list(generator.prefix), ""

    def watch(tokens: list[int]) -> None:
        nonlocal shown
        ids.extend(tokens)
        now = generator.translator.text_of(ids).rstrip("\ufffd")
        if now.startswith(shown):
            print(now[len(shown) :], end="", flush=True)
            shown = now

    generator.stream(text, watch)
    print()
