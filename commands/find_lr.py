"""Learning-rate range test: train a config's first steps at rates that rise from --low to --high, and suggest one of them.

The suggestion is a tenth of the rate at which the smoothed loss is least (Smith 2017): a place to begin a search, not its end. The
run leaves nothing behind, and looks at no other data than the training texts.
"""

import argparse
import logging
import math
import sys
from pathlib import Path

from commands.input_output import check_output, write_output

SUMMARY = "learning-rate range test of a config, with a suggestion"
WIDTH, NUM_LINES = 40, 25  # of the printed curve

logger = logging.getLogger("glassbox")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """CONFIG, overrides, and the rates."""
    parser.add_argument("config", metavar="CONFIG", help="a config file, such as configs/bilstm.yaml")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="options to change")
    parser.add_argument("--low", type=float, default=1e-6, metavar="LR", help="first rate; default: 1e-6")
    parser.add_argument("--high", type=float, default=10.0, metavar="LR", help="last rate; default: 10")
    parser.add_argument("--steps", type=int, default=100, metavar="N", help="training steps; default: 100")
    parser.add_argument("--json", action="store_true", help="print rates and losses as JSON")
    parser.add_argument("--output", metavar="FILE", help="a picture to write as well, FILE.svg")


def run(options: argparse.Namespace) -> None:
    """Test and print."""
    from agents import checked_config
    from agents.inspecting.range_test import range_test, rates, smoothed, suggested
    from agents.inspecting.rehearsal import rehearsal
    from utils.errors import ConfigError
    from utils.machine.progress_bar import StepBar
    from utils.machine.streams import to_json
    from utils.runs.run_log import set_up_console

    set_up_console()
    if not 0 < options.low < options.high < float("inf") or options.steps < 10:
        raise ConfigError("command line: --low must be positive and less than --high, and --steps at least 10")
    if options.output is not None and Path(options.output).suffix != ".svg":
        raise ConfigError(f"command line: --output must end in .svg, got {options.output!r}")
    config = checked_config(options.config, options.overrides)
    check_output(options.output or "-", config=config)
    lrs, losses = rates(options.low, options.high, options.steps), []
    with rehearsal(config) as agent, StepBar(len(lrs), "range test", "steps") as bar:
        for loss in range_test(agent, lrs):
            losses.append(loss)
            bar.update(len(losses), f"lr {lrs[len(losses) - 1]:.3g}, loss {loss:.4f}")
    averages = smoothed(losses)
    lr = suggested(lrs, averages)
    if options.output is not None:
        write_output(options.output, as_svg(config.name, lrs, losses, averages, lr))
    if options.json:
        points = [
            {"lr": lr, "loss": loss, "smoothed": mean} for lr, loss, mean in zip(lrs, losses, averages, strict=False)
        ]
        sys.stdout.write(to_json({"points": points, "suggested": lr}, sys.stdout))
        return
    print(as_text(lrs, averages))
    given = (
        f"the config has {config.optimizer.lr:g}"
        if "lr" in config.optimizer
        else "the config leaves it to the optimizer"
    )
    print(f"suggested: optimizer.lr={lr:.2g} ({given})" if lr else "the loss did not fall: raise --high or --steps")


def as_text(lrs: list[float], averages: list[float]) -> str:
    """A line for some of the steps: the rate, the smoothed loss, and the loss as a bar."""
    low, high = _limits(averages)
    every = -(-len(averages) // NUM_LINES)
    lines = [f"{'lr':>9}  {'loss':>8}"]
    for lr, loss in list(zip(lrs, averages, strict=False))[::every]:
        bar = "#" * round(WIDTH * min(1.0, (loss - low) / (high - low)))
        lines.append(f"{lr:9.2e}  {loss:8.4f}  {bar}")
    return "\n".join(lines)


def as_svg(name: str, lrs: list[float], losses: list[float], averages: list[float], lr: float | None) -> str:
    """The smoothed loss over the rate, the loss of each step as a dot where that fits, and the suggestion as a line."""
    from utils.drawing.line_plot import Curve, line_plot

    bottom, top = _limits(averages)
    shown = [(lr, min(mean, top)) for lr, mean in zip(lrs, averages, strict=False) if math.isfinite(mean)]
    seen = [(lr, mean, mean, mean) for lr, mean in shown]
    dots = [(lr, loss) for lr, loss in zip(lrs, losses, strict=False) if bottom <= loss <= top]
    powers = range(math.ceil(math.log10(lrs[0]) - 1e-9), math.floor(math.log10(seen[-1][0]) + 1e-9) + 1)
    ticks = {10.0**power: f"1e{power}" for power in powers}
    marks = {lr: f"suggested: {lr:.2g}"} if lr and lr >= lrs[0] else {}
    return line_plot(f"loss of {name} by learning rate", [Curve(seen, dots=dots)], ticks, is_log=True, marks=marks)


def _limits(averages: list[float]) -> tuple[float, float]:
    """The losses that a curve shows: what explodes is far above."""
    low = min(averages)
    return low, low + 1.2 * (max(averages[0], low + 1e-9) - low)
