"""A recipe's reference curve from runs of several seeds: python benchmarks/reference_curve.py OUT.json RUN [RUN ...]

Each RUN is an experiment's folder; the curve holds the mean, the least and the greatest of their validations. OUT.svg shows
the loss by millions of tokens.
"""

import sys
from pathlib import Path
from typing import Any

from side_by_side import ROOT

sys.path.insert(0, str(ROOT))
from utils.runs.experiment import saved_config
from utils.runs.reference import curve_of, dump

NAMES = ["mlm", "mlm_accuracy", "bits_per_byte", "pair_accuracy"]
WIDTH, HEIGHT, MARGIN = 640, 360, 48
HEAD = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">'
)


def main() -> None:
    """Write both files."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out, *runs = map(Path, sys.argv[1:])
    config = saved_config(runs[0])
    tokens_a_step = config["train"]["batch_size"] * config["data"]["max_length"]
    seeds = [saved_config(run)["seed"] for run in runs]
    curve = {"recipe": out.stem, "seeds": seeds, "tokens_a_step": tokens_a_step} | curve_of(runs, NAMES)
    out.write_text(dump(curve))
    out.with_suffix(".svg").write_text(
        picture(curve["points"], tokens_a_step, f"{out.stem}, {len(runs)} seed{'s' * (len(runs) > 1)}")
    )
    print(f"{out}: {len(curve['points'])} points of {len(runs)} runs")


def picture(points: list[dict[str, Any]], tokens_a_step: int, title: str) -> str:
    """The band and the mean of the loss as SVG."""
    x_max = max(point["step"] for point in points)
    low, high = min(point["mlm"][1] for point in points), max(point["mlm"][2] for point in points)

    def place(step: float, loss: float) -> str:
        x = MARGIN + (WIDTH - 2 * MARGIN) * step / x_max
        return f"{x:.1f},{MARGIN + (HEIGHT - 2 * MARGIN) * (high - loss) / (high - low):.1f}"

    band = [place(p["step"], p["mlm"][1]) for p in points] + [place(p["step"], p["mlm"][2]) for p in reversed(points)]
    mean = [place(p["step"], p["mlm"][0]) for p in points]
    ticks = []
    for i in range(5):
        loss, step = low + (high - low) * i / 4, x_max * i / 4
        x, y = place(step, loss).split(",")
        ticks.append(f'<text x="4" y="{y}">{loss:.2f}</text>')
        ticks.append(f'<text x="{x}" y="{HEIGHT - 24}" text-anchor="middle">{step * tokens_a_step / 1e6:.1f}</text>')
    return "\n".join(
        [
            HEAD,
            '<rect width="100%" height="100%" fill="white"/>',
            f'<polygon points="{" ".join(band)}" fill="#9ecae1"/>',
            f'<polyline points="{" ".join(mean)}" fill="none" stroke="#08519c" stroke-width="2"/>',
            *ticks,
            f'<text x="{WIDTH // 2}" y="20" text-anchor="middle">{title}: validation loss by million tokens</text>',
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    main()
