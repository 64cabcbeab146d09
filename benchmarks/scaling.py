"""The model of docs/scaling.md: how efficient N devices are, and what bandwidth 90% needs: python benchmarks/scaling.py

A step of one device takes T; gradients of S bytes are added up by a ring, 2 (N - 1) / N * S / b + 2 (N - 1) * l (Patarasuk and Yuan
2009, https://doi.org/10.1016/j.jpdc.2008.09.002), of which the share HIDDEN * T goes on behind the backward pass. SMALL more sums
of a few numbers are waited for.
"""

from typing import NamedTuple

HIDDEN = 0.6  # the backward pass is 2/3 of a step, and its first and last layers have nothing beside them
SMALL = 3  # what counts, with texts and tokens; the loss; a signal
DEVICES = [2, 4, 8, 16, 64, 256, 1024]
WEAK, STRONG = "weak scaling (same batch per device)", "strong scaling (same global batch)"
GOAL = 0.9


class Case(NamedTuple):
    """A model on a device: seconds of a step alone, bytes of its gradients, bytes/s and seconds of a link."""

    name: str
    step: float
    size: float
    bandwidth: float
    latency: float


CASES = [
    Case(
        "the small BERT of ag_bert.yaml on a machine of two cores, gloo; T measured, b and l of one machine",
        0.190,
        29.3e6,
        1.3e9,
        250e-6,
    ),
    Case("BERT-base, 256 texts of 128 tokens, H100, NVLink 300 GB/s; assumed", 0.042, 438e6, 300e9, 5e-6),
    Case("the same over a network of 50 GB/s a device; assumed", 0.042, 438e6, 50e9, 10e-6),
    Case("the same over a network of 12.5 GB/s a device; assumed", 0.042, 438e6, 12.5e9, 10e-6),
]


def ring(case: Case, devices: int) -> float:
    """Seconds of an all-reduce of the gradients."""
    return 2 * (devices - 1) / devices * case.size / case.bandwidth + latencies(case, devices)


def latencies(case: Case, devices: int) -> float:
    """Seconds of an all-reduce of a few numbers: the links of a ring, twice, one after the other."""
    return 2 * (devices - 1) * case.latency


def efficiency(case: Case, devices: int, step: float) -> float:
    """Of the time of a step, the share in which a device computes."""
    return step / (step + max(0.0, ring(case, devices) - HIDDEN * step) + SMALL * latencies(case, devices))


def needed(case: Case, devices: int) -> float:
    """The bandwidth for an efficiency of just GOAL, each device keeping its own batch; infinite where latency forbids it."""
    small = SMALL * latencies(case, devices)
    seconds = HIDDEN * case.step + (1 / GOAL - 1) * case.step - small - latencies(case, devices)
    is_enough = seconds > 0 and small <= (1 / GOAL - 1) * case.step
    return 2 * (devices - 1) / devices * case.size / seconds if is_enough else float("inf")


def main() -> None:
    """A table for each case."""
    for case in CASES:
        link = f"b {case.bandwidth / 1e9:g} GB/s, l {case.latency * 1e6:g} us"
        print(f"\n**{case.name}**: T {case.step * 1e3:g} ms, S {case.size / 1e6:g} MB, {link}\n")
        print(f"| devices | all-reduce | {WEAK} | needs for 90% | {STRONG} |")
        print("| ---: | ---: | ---: | ---: | ---: |")
        for devices in DEVICES:
            weak, strong = efficiency(case, devices, case.step), efficiency(case, devices, case.step / devices)
            least = needed(case, devices)
            wanted = "none suffices" if least == float("inf") else f"{least / 1e9:.1f} GB/s"
            print(f"| {devices} | {ring(case, devices) * 1e3:.1f} ms | {weak:.0%} | {wanted} | {strong:.0%} |")


if __name__ == "__main__":
    main()
