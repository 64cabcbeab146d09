"""The report of a finished run: report.json and the tables on the screen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich.box
import rich.console
import rich.table
from torch import nn

from utils.config.config import Config
from utils.errors import CheckpointError, counted, in_words, printable
from utils.machine.environment import peak_memory_bytes, versions
from utils.training.run_state import RunState

MAX_ROWS = 30  # labels shown on the screen; the file has all
MAX_WIDTH = 300  # columns of a table; what needs more is folded


def final_report(
    config: Config, state: RunState, model: nn.Module, data: dict[str, Any], results: dict[str, Any]
) -> dict[str, Any]:
    """The content of report.json. `results` are the reports by split, `data` the rows read, used and skipped."""
    seconds = max(state.seconds, 1e-9)
    value = state.best_gain * (1.0 if config.train.monitor[0] == "+" else -1.0)
    best = {"step": state.best_step, "monitor": config.train.monitor, "value": value}
    return {
        "name": config.name,
        **results,
        "best": best if state.best_step else None,  # without a validation split the last weights are used
        "train": {
            "seconds": state.seconds,
            "epochs": state.epoch,
            "steps": state.step,
            "is_stopped_early": state.is_stopped_early,
            "texts_per_second": state.num_texts / seconds,
            "tokens_per_second": state.num_tokens / seconds,
        },
        "data": data,
        "parameters": sum(p.numel() for p in model.parameters()),
        "peak_memory_bytes": peak_memory_bytes(),
        "versions": versions(),
        "seeds": {"seed": config.seed, "split_seed": config.data.get("split_seed")},
    }


def print_report(report: Mapping[str, Any]) -> None:
    """Print the report as tables; not through rich, which exits with its own code if the reader has gone."""
    print(report_text(report), end="")


def report_text(report: Mapping[str, Any]) -> str:
    """The report as tables, wider than the terminal where names or numbers would be cut off otherwise."""
    console = rich.console.Console(markup=False, emoji=False)  # a label such as [b] or :ok: is shown as it is
    split = "test" if report.get("test") else "valid"
    result, tables = report.get(split) or {}, list[rich.table.Table]()
    if report.get("valid") or report.get("test"):
        tables.append(_summary(report))
    if "per_class" in result:
        tables.append(_labels(split, result))
    if "confusion_matrix" in result:
        tables.append(_confusion(split, **result["confusion_matrix"]))
    width = console.width
    with console.capture() as captured:
        for table in tables:
            needed = console.measure(table, options=console.options.update(max_width=MAX_WIDTH)).maximum
            console.width = max(width, needed)
            console.print(table)
        console.width = width
        if "train" in report:
            console.print(_training(report), highlight=False)
    return captured.get()


def check_report(report: Mapping[str, Any], folder: Path) -> None:
    """Raise CheckpointError for a saved report that cannot be shown."""
    try:
        report_text({"train": report["train"], **report})  # which every run has
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        reason = f"{folder}/report.json: is not of this version ({type(error).__name__}: {error})"
        raise CheckpointError(f"{reason}; remove it and run the same command to write it again") from None


def _training(report: Mapping[str, Any]) -> str:
    train, memory, best = report["train"], report["peak_memory_bytes"] / 2**20, report["best"]
    chosen = f"best at step {best['step']}" if best else "the last step's weights, as there is no validation split"
    return (
        f"{counted(train['epochs'], 'epoch')}, {counted(train['steps'], 'step')} in {train['seconds']:.1f} s of training "
        f"({train['texts_per_second']:,.0f} texts/s, {train['tokens_per_second']:,.0f} tokens/s), "
        f"{counted(report['parameters'], 'parameter')}, peak memory {memory:,.0f} MB; {chosen}"
    )


def describe_rows(report: Mapping[str, Any]) -> list[str]:
    """One line per split: rows read = used + skipped."""
    splits = [split for split in ("train", "valid", "test") if report[split]["read"]]
    return [f"{split}: {describe_counts(report[split])}" for split in splits]


def describe_counts(counts: Mapping[str, Any], used: str = "used") -> str:
    """Rows read = used + skipped, in words; used: the word for the used rows."""
    reasons = in_words(counts["skipped"], at_most=10)
    skipped = f"{sum(counts['skipped'].values())} skipped" + (f" ({reasons})" if reasons else "")
    return f"{counts['read']} rows read = {counts['used']} {used} + {skipped}"


def describe_truncated(shares: Mapping[str, float], max_length: int | None, *, loses_ends: bool) -> list[str]:
    """One line for each split with truncated texts. loses_ends: whether their ends are lost, which can be avoided."""
    hint = "; data.long_texts: head_tail reads their end, too" if loses_ends else ""
    return [
        f"{split}: {100 * share:.1f}% of the texts are truncated to data.max_length {max_length}{hint}"
        for split, share in shares.items()
        if share
    ]


def _table(title: str, *columns: str) -> rich.table.Table:
    table = rich.table.Table(title=title, box=rich.box.SIMPLE, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", overflow="fold")
    return table


def _summary(report: Mapping[str, Any]) -> rich.table.Table:
    splits = [split for split in ("valid", "test") if report.get(split)]
    scalars = [name for name, value in report[splits[0]].items() if isinstance(value, float)]
    table = _table(printable(str(report.get("name", ""))), "split", *scalars)
    for split in splits:
        table.add_row(split, *(f"{report[split][name]:.4f}" for name in scalars))
    return table


def _shown(num_labels: int) -> str:
    return f" (the first {MAX_ROWS} of {num_labels:,} labels)" if num_labels > MAX_ROWS else ""


def _labels(split: str, result: Mapping[str, Any]) -> rich.table.Table:
    table = _table(
        f"{split}, by label{_shown(len(result['per_class']))}", "label", "precision", "recall", "F1", "support"
    )
    for label, row in list(result["per_class"].items())[:MAX_ROWS]:
        table.add_row(
            printable(label), f"{row['precision']:.4f}", f"{row['recall']:.4f}", f"{row['f1']:.4f}", str(row["support"])
        )
    return table


def _confusion(split: str, labels: list[str], matrix: list[list[int]]) -> rich.table.Table:
    title = f"{split}, rows gold, columns predicted{_shown(len(labels))}"
    table = _table(title, "", *map(printable, labels[:MAX_ROWS]))
    for label, row in zip(labels[:MAX_ROWS], matrix, strict=False):
        table.add_row(printable(label), *map(str, row[:MAX_ROWS]))
    return table
