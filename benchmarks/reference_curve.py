"""A recipe's reference curve from runs of several seeds: python benchmarks/reference_curve.py OUT.json RUN [RUN ...]

Each RUN is an experiment's folder; the curve holds the mean, the least and the greatest of their validations. OUT.svg shows
the first metric by steps.
"""

import sys
from pathlib import Path
from typing import Any

from side_by_side import ROOT

sys.path.insert(0, str(ROOT))
from utils.runs.reference import curve_of, dump
from utils.runs.saved import saved_config

NAMES = {
    "pretraining": ["mlm", "mlm_accuracy", "bits_per_byte", "pair_accuracy"],
    "seq2seq": ["bleu", "nll", "chrf", "token_accuracy"],
}
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
    seeds = [saved_config(run)["seed"] for run in runs]
    names = NAMES[config["agent"]]
    curve = {"recipe": out.stem, "seeds": seeds} | curve_of(runs, names)
    out.write_text(dump(curve))
    title = f"{out.stem}, {len(runs)} seed{'s' * (len(runs) > 1)}: {names[0]} of the validation by step"
    out.with_suffix(".svg").write_text(picture(curve["points"], names[0], title))
    print(f"{out}: {len(curve['points'])} points of {len(runs)} runs")


def picture(points: list[dict[str, Any]], name: str, title: str) -> str:
    """The band and the mean of a metric as SVG."""
    x_max = max(point["step"] for point in points)
    low, high = min(point[name][1] for point in points), max(point[name][2] for point in points)

    def place(step: float, value: float) -> str:
        x = MARGIN + (WIDTH - 2 * MARGIN) * step / x_max
        return f"{x:.1f},{MARGIN + (HEIGHT - 2 * MARGIN) * (high - value) / (high - low):.1f}"

    band = [place(p["step"], p[name][1]) for p in points] + [place(p["step"], p[name][2]) for p in reversed(points)]
    mean = [place(p["step"], p[name][0]) for p in points]
    ticks = []
    for i in range(5):
        value, step = low + (high - low) * i / 4, x_max * i / 4
        x, y = place(step, value).split(",")
        ticks.append(f'<text x="4" y="{y}">{value:.2f}</text>')
        ticks.append(f'<text x="{x}" y="{HEIGHT - 24}" text-anchor="middle">{step:,.0f}</text>')
    return "\n".join(
        [
            HEAD,
            '<rect width="100%" height="100%" fill="white"/>',
            f'<polygon points="{" ".join(band)}" fill="#9ecae1"/>',
            f'<polyline points="{" ".join(mean)}" fill="none" stroke="#08519c" stroke-width="2"/>',
            *ticks,
            f'<text x="{WIDTH // 2}" y="20" text-anchor="middle">{title}</text>',
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    main()
