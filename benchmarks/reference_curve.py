"""A recipe's reference curve from runs of several seeds: python benchmarks/reference_curve.py OUT.json RUN [RUN ...]

Each RUN is an experiment's folder; the curve holds the mean, the least and the greatest of their validations. OUT.svg shows
the first metric by steps.
"""

import sys
from pathlib import Path
from typing import Any

from side_by_side import ROOT

sys.path.insert(0, str(ROOT))
from utils.drawing.line_plot import Curve, line_plot
from utils.runs.reference import curve_of, dump
from utils.runs.saved import saved_config

NAMES = {
    "pretraining": ["mlm", "mlm_accuracy", "bits_per_byte", "pair_accuracy"],
    "seq2seq": ["bleu", "nll", "chrf", "token_accuracy"],
}


def main() -> None:
    """Write both files."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out, *runs = map(Path, sys.argv[1:])
    config = saved_config(runs[0])
    seeds = [saved_config(run)["seed"] for run in runs]
    names = NAMES[config["agent"]]
    curve = {"recipe": out.stem, "seeds": seeds} | curve_of(runs, names)
    out.write_text(dump(curve))
    title = f"{out.stem}, {len(runs)} seed{'s' * (len(runs) > 1)}: {names[0]} of the validation by step"
    out.with_suffix(".svg").write_text(picture(curve["points"], names[0], title))
    print(f"{out}: {len(curve['points'])} points of {len(runs)} runs")


def picture(points: list[dict[str, Any]], name: str, title: str) -> str:
    """The mean of a metric and its band as SVG."""
    last = max(point["step"] for point in points)
    ticks = {last * i / 4: f"{last * i / 4:,.0f}" for i in range(5)}
    return line_plot(title, [Curve([(point["step"], *point[name]) for point in points])], ticks)


if __name__ == "__main__":
    main()
