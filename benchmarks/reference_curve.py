"""A recipe's reference curve from runs of several seeds: python benchmarks/reference_curve.py OUT.json RUN [RUN ...]

Each RUN is an experiment's folder; the curve holds the mean, the least and the greatest of their validations.
"""

import sys
from pathlib import Path

from side_by_side import ROOT

sys.path.insert(0, str(ROOT))
from utils.runs.experiment import saved_config
from utils.runs.reference import curve_of, dump

NAMES = ["mlm", "mlm_accuracy", "bits_per_byte", "pair_accuracy"]


def main() -> None:
    """Write the file."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out, *runs = map(Path, sys.argv[1:])
    curve = curve_of(runs, NAMES)
    seeds = [saved_config(run)["seed"] for run in runs]
    tokens = {"batch_size": saved_config(runs[0])["train"]["batch_size"]}
    out.write_text(dump({"recipe": out.stem, "seeds": seeds} | tokens | curve))
    print(f"{out}: {len(curve['points'])} points of {len(runs)} runs")


if __name__ == "__main__":
    main()
