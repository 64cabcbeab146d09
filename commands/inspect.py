"""Look at a config before it is trained: its data, its model, what a run will cost, and what difference its test can show.

A few steps are trained for it, and thrown away. Nothing is written but the cache of tokens. With --labels, print instead
the training rows that cross-validated models of this config rank as most likely mislabelled.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from utils.errors import counted
from utils.machine.text_tables import duration, text_table

if TYPE_CHECKING:
    from agents.inspecting.costs import Costs
    from agents.inspecting.model_view import Part
    from utils.config.config import Config

SUMMARY = "look at a config before it is trained: data, model, time, memory"
MAX_CLASSES, TEXT, NUM_SUSPECTS = 20, 80, 30  # labels, characters of a text, and rows of --labels, that are printed
ACCURACIES, SEEDS = (0.7, 0.8, 0.9, 0.95), ((1, 0.0), (5, 0.005), (5, 0.01))  # seeds, and their standard deviation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """CONFIG, overrides, and what is to be looked at."""
    parser.add_argument("config", metavar="CONFIG", help="a config file, such as configs/bilstm.yaml")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="options to change")
    parser.add_argument(
        "--labels",
        action="store_true",
        help="instead of all that, the training rows that may be mislabelled, surest first, by five models that are each trained "
        "without a fifth of the rows",
    )
    parser.add_argument(
        "--top", type=int, metavar="N", help=f"with --labels: rows that are printed; default: {NUM_SUSPECTS}"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON; with --labels, a line for each row")


def run(options: argparse.Namespace) -> None:
    """Inspect and print."""
    from agents import checked_config
    from agents.inspecting.costs import estimate
    from agents.inspecting.data_view import describe_data
    from agents.inspecting.model_view import describe_model
    from agents.inspecting.rehearsal import rehearsal
    from utils.errors import ConfigError
    from utils.machine.streams import to_json
    from utils.runs.run_log import set_up_console

    set_up_console()
    if options.top is not None and (not options.labels or options.json or options.top < 1):
        raise ConfigError(
            f"command line: --top must be at least 1, and goes with --labels without --json, got {options.top}"
        )
    config = checked_config(options.config, options.overrides)
    if options.labels:
        print_suspects(config, options)
        return
    with rehearsal(config) as agent:
        data = describe_data(agent)
        loader = agent.data.loaders["train"]
        batch = next(loader.train_batches(0))[0]
        parts, costs = describe_model(agent, batch), estimate(agent)
    if options.json:
        found = {"data": data, "model": [part._asdict() for part in parts], "costs": costs._asdict()}
        sys.stdout.write(to_json(found, sys.stdout))
        return
    shown = f"one batch of {len(batch.rows)} rows, {batch.num_tokens:,} tokens"
    lines = [*data_lines(data), "", *model_lines(parts, shown), *cost_lines(costs, parts[0].num_parameters)]
    if data["classes"]:
        split = "test" if "test" in data["splits"] else "valid"
        lines += ["", *power_lines(split, data["splits"].get(split, {"rows": 0})["rows"])]
    print("\n".join(lines))


def data_lines(data: Mapping[str, Any]) -> Iterator[str]:
    """Rows and tokens of each split, classes, repeats, leaks and padding."""
    head = ["split", "rows", "tokens", *(f"{p}%" for p in next(iter(data["splits"].values()))["lengths"])]
    rows = []
    for split, found in data["splits"].items():
        shares = [f"{100 * found[key]:.1f}%" if key in found else "-" for key in ("truncated", "unknown")]
        rows.append(
            [split, f"{found['rows']:,}", f"{found['tokens']:,}", *map(str, found["lengths"].values()), *shares]
        )
    head = [*head[:-1], "longest", "truncated", "unknown"]
    yield from ["data: tokens of each split, in all and of its texts by percentile", *text_table(head, rows)]
    if data["classes"]:
        splits = list(data["splits"])
        table = [[label, *(f"{own[split]:,}" for split in splits)] for label, own in data["classes"].items()]
        yield from text_table(["label", *splits], table[:MAX_CLASSES])
        if len(table) > MAX_CLASSES:
            yield f"and {len(table) - MAX_CLASSES} more labels"
    if any(data["repeats"].values()):
        yield "repeated texts: " + ", ".join(f"{count} of {split}" for split, count in data["repeats"].items())
    if any(data["leaks"].values()):
        yield "texts that training has, too: " + ", ".join(
            f"{count} of {split}" for split, count in data["leaks"].items()
        )
    own, other = data["padding"].values()
    yield f"padding: {100 * own:.1f}% of the batches, which hold texts of similar length; {100 * other:.1f}% in random order"


def model_lines(parts: Sequence["Part"], batch: str) -> Iterator[str]:
    """A line for each module; of equal layers for the first."""
    from agents.inspecting.model_view import folded

    rows = []
    for part, num_more in folded(list(parts)):
        name = part.name or "(the model)"
        shape = "" if part.shape is None else f"({', '.join(map(str, part.shape))})"
        more = f"  and {num_more} more" if num_more else ""
        rows.append([name + more, part.kind, shape, f"{part.num_parameters:,}", part.place])
    yield f"model: what each module makes of {batch}"
    yield from text_table(["module", "class", "output", "parameters", "defined in"], rows, left=(0, 1, 2, 4))


def cost_lines(costs: "Costs", num_parameters: int) -> Iterator[str]:
    """Parameters, operations, time and memory."""
    total = costs.train_seconds + costs.evaluation_seconds
    yield (
        f"cost: {num_parameters:,} parameters, {costs.flops_per_token:,.0f} operations a token in training; "
        f"{costs.tokens_per_second:,.0f} tokens/s"
    )
    yield (
        f"a run: {costs.num_steps:,} steps in {duration(costs.train_seconds)}, {counted(costs.num_validations, 'validation')}"
        f"{' and the test' * costs.has_test} in {duration(costs.evaluation_seconds)}: about {duration(total)}; "
        f"memory from {costs.memory_bytes / 2**20:,.0f} MB"
        + ("" if costs.device_bytes is None else f", of the GPU {costs.device_bytes / 2**20:,.0f} MB")
    )


def power_lines(split: str, num_rows: int) -> Iterator[str]:
    """The smallest differences that a test can show."""
    from utils.analysis.power import smallest_difference

    if not num_rows:
        return
    rows = []
    for accuracy in ACCURACIES:
        found = [smallest_difference(num_rows, seeds, accuracy, seed_deviation=deviation) for seeds, deviation in SEEDS]
        rows.append([f"{accuracy:g}", *("-" if math.isnan(each) else f"{100 * each:.1f}" for each in found)])
    yield f"the smallest difference of two configs that the {num_rows:,} rows of {split} detect with a power of 80%, in points"
    head = [
        f"{seeds} seed{'s' * (seeds > 1)} each" + f", ± {100 * deviation:g}" * (seeds > 1) for seeds, deviation in SEEDS
    ]
    yield from text_table(["accuracy", *head], rows)


def print_suspects(config: "Config", options: argparse.Namespace) -> None:
    """Print the rows that may be mislabelled."""
    from agents.inspecting.cross_validation import label_errors
    from utils.machine.streams import to_json

    found, records, labels = label_errors(config)
    rows = []
    for row in found.order.tolist():
        record, given = records[row], (records[row].labels or ("",))[0]
        about = {
            "id": record.id,
            "label": given,
            "suggested": labels[found.suggested[row]],
            "probability": float(found.score[row]),
        }
        rows.append({**about, "is_confident": bool(found.is_confident[row]), "text": " / ".join(record.texts)})
    if options.json:
        sys.stdout.writelines(to_json(row, sys.stdout) for row in rows)
        return
    head = ["id", "label", "P(label)", "suggested", "text"]
    cells = [
        [r["id"], r["label"], f"{r['probability']:.4f}", r["suggested"], r["text"][:TEXT]]
        for r in rows[: options.top or NUM_SUSPECTS]
    ]
    print("\n".join(text_table(head, cells, left=(0, 1, 3, 4))))
    print(
        f"the {len(cells)} surest of {len(rows)} training rows; by confident learning (Northcutt et al. 2021) "
        f"{int(found.is_confident.sum())} are errors, which on difficult data are too many"
    )
