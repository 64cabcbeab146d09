"""Look at a config before it is trained: its data, its model, what a run will cost, and what difference its test can show.

A few steps are trained for it, and thrown away. Nothing is written but the cache of tokens. With --labels nothing of that, but the
rows that models of this config, trained on the other folds, think mislabelled.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from utils.analysis.text_tables import duration, text_table

if TYPE_CHECKING:
    from agents.inspecting.costs import Costs
    from agents.inspecting.model_view import Part

SUMMARY = "look at a config before it is trained: data, model, time, memory"
MAX_CLASSES = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """CONFIG and overrides."""
    parser.add_argument("config", metavar="CONFIG", help="a config file, such as configs/bilstm.yaml")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="options to change")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(options: argparse.Namespace) -> None:
    """Inspect and print."""
    from agents import checked_config
    from agents.inspecting.costs import estimate
    from agents.inspecting.data_view import describe_data
    from agents.inspecting.model_view import describe_model
    from agents.inspecting.rehearsal import rehearsal
    from utils.machine.streams import to_json
    from utils.runs.run_log import set_up_console

    set_up_console()
    with rehearsal(checked_config(options.config, options.overrides)) as agent:
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
        f"a run: {costs.num_steps:,} steps in {duration(costs.train_seconds)}, {costs.num_validations} validations and the test in "
        f"{duration(costs.evaluation_seconds)}: about {duration(total)}; peak memory about {costs.memory_bytes / 2**20:,.0f} MB"
        + ("" if costs.device_bytes is None else f", of the GPU {costs.device_bytes / 2**20:,.0f} MB")
    )
