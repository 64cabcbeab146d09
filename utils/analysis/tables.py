"""A comparison as a table: for the terminal, as Markdown, CSV or LaTeX."""

import csv
import io
import math
import re
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from utils.analysis.comparing import Comparison, Pair
from utils.analysis.groups import plain
from utils.analysis.paired import LEVEL, Interval, seen_in_most
from utils.errors import counted, printable
from utils.machine.text_tables import WIDE, cell, duration, text_table
from utils.metrics.directions import is_share, number_of, points

MAX_COLUMNS = 6  # options that differ, in a table for people; CSV has all


def header_of(comparison: Comparison) -> list[str]:
    """The columns' names."""
    measured = [comparison.metric, "95% over seeds", *_options(comparison), "time", "texts/s", "parameters", "memory"]
    return ["config", "runs", *measured]


def rows_of(comparison: Comparison) -> list[list[str]]:
    """A row for each recipe, the best one last, as texts for people."""
    rows = []
    for i, (group, spread) in enumerate(zip(comparison.groups, comparison.spreads, strict=True)):
        is_one = math.isnan(spread.deviation)
        digits = 4 if is_share(comparison.metric) or abs(spread.mean) < 1 else 2
        value, deviation, low, high = (f"{number:.{digits}f}" for number in spread)
        value, low_high = (value, "-") if is_one else (f"{value} ± {deviation}", f"{low} to {high}")
        options = [plain(values[i]) for values in _options(comparison).values()]
        seconds, speed = group.mean("train", "seconds"), group.mean("train", "texts_per_second")
        memory = group.mean("peak_memory_bytes") / 2**20
        parameters = int(group.mean("parameters"))
        costs = [duration(seconds), f"{speed:,.0f}", f"{parameters:,}", f"{memory:,.0f} MB"]
        rows.append([printable(group.name), str(len(group.runs)), value, low_high, *options, *costs])
    return rows


def _options(comparison: Comparison) -> dict[str, list[Any]]:
    """The differing options that a table has room for, by a short name where that is enough to tell them apart."""
    short = {key: key.removesuffix(".name").rpartition(".")[2] for key in comparison.differing}
    names = {key: name if list(short.values()).count(name) == 1 else key for key, name in short.items()}
    return {names[key]: values for key, values in list(comparison.differing.items())[:MAX_COLUMNS]}


def notes_of(comparison: Comparison) -> list[str]:
    """The notes below a table: the rows, options that did not fit, and a sentence for each pair."""
    hidden = list(comparison.differing)[MAX_COLUMNS:]
    split = comparison.groups[0].runs[0].split
    rows = f", on the same {comparison.num_rows:,} rows" if comparison.num_rows else ""
    notes = [f"{comparison.metric} of {split}{rows}; mean ± standard deviation over seeds, 95% interval of the mean"]
    if hidden:
        notes.append(f"these differ, too (see --format csv): {', '.join(hidden)}")
    tested = [pair for pair in comparison.pairs if pair.decisive is not None]
    unknown = f"one seed on a side, and no predictions that hold {comparison.metric}"
    reasons = Counter(pair.reason or unknown for pair in comparison.pairs if pair.decisive is None)
    notes += [f"{counted(num, 'pair')} not tested: {reason}" for reason, num in reasons.items()]
    return notes + [sentence(pair, comparison.metric) for pair in tested]


def sentence(pair: Pair, metric: str) -> str:
    """What can be said of a pair that could be tested, in a sentence or two; its second is the better one, or as good."""
    best = pair.decisive
    assert best is not None
    assert pair.adjusted is not None
    parts = [f"95% {_range(best, metric)} ({_question(pair)})"]
    for name, other in (("other rows alone", pair.rows), ("other seeds alone", pair.seeds)):
        if other is not None and other is not best:
            parts.append(f"{name} {_range(other, metric)}")
    if pair.share is not None:
        parts.append(f"seeds explain {100 * pair.share:.0f}% of the spread")
    if pair.mcnemar is not None:
        parts.append(f"McNemar's exact test p = {pair.mcnemar:.3g}")
    if pair.order is not None:
        parts.append(f"almost stochastic order eps_min = {pair.order:.2f}")
    is_different = pair.adjusted < 1 - LEVEL
    detected = seen_in_most(best)  # 0 where all resamples are alike, as of models that are right everywhere
    seen = f"; {points(detected, metric)} would be detected with a power of 80%" if detected else ""
    verdict = "different" if is_different else f"no difference shown{seen}"
    gain = f"scores better than {pair.first.name} by {points(best.difference, metric)}"
    return (
        f"{pair.second.name} {gain if best.difference else f'scores the same as {pair.first.name}'}: {'; '.join(parts)}. "
        f"p = {pair.p:.3g}, adjusted for all pairs {pair.adjusted:.3g}: {verdict}."
    )


def _question(pair: Pair) -> str:
    """What the decisive interval is about."""
    if pair.both is not None:
        return "other rows and other seeds"
    return "other rows, the same models" if pair.rows is not None else "other seeds"


def _range(interval: Interval, metric: str) -> str:
    return f"{number_of(interval.low, metric)} to {number_of(interval.high, metric)}"


def as_terminal(comparison: Comparison) -> str:
    """For the terminal: names and numbers are never cut off, as half a number is none; it may be wider than the window."""
    lines = text_table(header_of(comparison), rows_of(comparison))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    for note in notes_of(comparison):
        lines += textwrap.wrap(printable(note), width, initial_indent=" ", subsequent_indent="   ")
    return "\n".join([*lines, ""])


def as_markdown(comparison: Comparison) -> str:
    """A table and its notes as a list."""
    lines = markdown_table(header_of(comparison), rows_of(comparison))
    return "\n".join([lines, "", *(f"- {note}" for note in notes_of(comparison)), ""])


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, all columns but the first aligned right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(_plain_markdown, line)) + " |" for line in lines)


def _plain_markdown(text: str) -> str:
    """A text that is neither HTML nor the end of a cell."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def as_latex(comparison: Comparison) -> str:
    r"""A tabular for the package booktabs; the notes are comments."""
    header, *rows = [header_of(comparison), *rows_of(comparison)]
    lines = [f"% {printable(note)}" for note in notes_of(comparison)]
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\toprule", _latex_row(header), r"\midrule"]
    return "\n".join([*lines, *map(_latex_row, rows), r"\bottomrule", r"\end{tabular}", ""])


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(_latex(cell) for cell in cells) + r" \\"


def _latex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
    return re.sub(r"[\\~^±&%$#_{}]", lambda match: special.get(match[0], "\\" + match[0]), printable(text))


def as_csv(comparisons: Sequence[Comparison]) -> str:
    """A line for each recipe with numbers as they are, and all options that differ within a set of test rows."""
    lines = [line for number, comparison in enumerate(comparisons, 1) for line in _csv_lines(number, comparison)]
    file = io.StringIO()
    names = list(dict.fromkeys(name for line in lines for name in line))
    writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


def _csv_lines(number: int, comparison: Comparison) -> Iterator[dict[str, Any]]:
    costs = {
        "seconds": ("train", "seconds"),
        "texts_per_second": ("train", "texts_per_second"),
        "parameters": ("parameters",),
        "memory_bytes": ("peak_memory_bytes",),
    }
    for i, (group, spread) in enumerate(zip(comparison.groups, comparison.spreads, strict=True)):
        numbers = spread._asdict() | {
            "values": " ".join(map(repr, group.values(comparison.metric))),
            **{name: group.mean(*path) for name, path in costs.items()},
        }
        yield {
            "config": cell(group.name),
            "runs": len(group.runs),
            "metric": comparison.metric,
            "test_set": number,
            **{name: _csv_number(value) for name, value in numbers.items()},
            **{
                name: "" if values[i] is None else cell(plain(values[i]))
                for name, values in comparison.differing.items()
            },
        }


def _csv_number(value: Any) -> Any:
    return "" if isinstance(value, float) and math.isnan(value) else value


def _one_by_one(write: Callable[[Comparison], str]) -> Callable[[Sequence[Comparison]], str]:
    return lambda comparisons: "\n".join(map(write, comparisons))


FORMATS: dict[str, Callable[[Sequence[Comparison]], str]] = {
    "table": _one_by_one(as_terminal),
    "md": _one_by_one(as_markdown),
    "csv": as_csv,
    "latex": _one_by_one(as_latex),
}
