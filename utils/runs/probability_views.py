"""What TensorBoard shows of a classifier's probabilities on a split: a precision-recall curve for each label, and calibration.

Both are made from the lines of predictions.jsonl. Drawn with Pillow, as the confusion matrix is.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from utils.errors import printable
from utils.metrics.reliability import NUM_BINS, Reliability
from utils.runs.run_log import FINAL_TAGS, RunLog

MAX_CURVES, MAX_NAME = 20, 80  # labels with a curve, the most frequent ones; characters of a label in a tag
PLOT, SHARES, MARGIN, GAP = 360, 90, 56, 34  # pixels: a side of the plot, the height of the shares, and around them
BLUE, RED, GREY = (8, 48, 107), (203, 24, 29), (150, 150, 150)
Lines = Sequence[Mapping[str, Any]]


def write_probability_views(log: RunLog, split: str, lines: Lines, step: int, *, has_error: bool) -> None:
    """Write the curves, the calibration plot and, unless the run's metrics have it (has_error), the scalar ECE."""

    def write(writer: Any) -> None:
        frequent = frequent_labels(lines)
        for tag, label in zip(tags_of(frequent), frequent, strict=True):
            writer.add_pr_curve(f"{split}/pr/{tag}", *scores_of(label, lines), step)
        found = Reliability.of(lines)
        writer.add_image(f"{split}/calibration", draw_calibration(found), step, dataformats="HWC")
        if not has_error:
            writer.add_scalar(f"{FINAL_TAGS[split]}ece", found.error, step)

    log.to_tensorboard(write)


def frequent_labels(lines: Lines) -> list[str]:
    """The most frequent gold labels, at most MAX_CURVES; of equally frequent ones the first in the order of the model's outputs."""
    golds = Counter(label for line in lines for label in _labels(line["gold"]))
    known = list(lines[0]["probabilities"]) if lines else []
    return sorted((label for label in known if golds[label]), key=lambda label: -golds[label])[:MAX_CURVES]


def scores_of(label: str, lines: Lines) -> tuple[np.ndarray, np.ndarray]:
    """(N,) whether each text has the label, and (N,) the label's probability."""
    is_gold = np.array([label in _labels(line["gold"]) for line in lines])
    scores = np.array([line["probabilities"][label] for line in lines])
    return is_gold, np.nan_to_num(scores, nan=1.0).clip(0, 1)


def tags_of(labels: Sequence[str]) -> list[str]:
    """Labels as ends of tags: of printable characters, not too long, and different from each other."""
    names = [printable(" ".join(label.split()))[:MAX_NAME] for label in labels]
    times = Counter(names)
    return [name if name and times[name] == 1 else f"{name}#{i}" for i, name in enumerate(names, 1)]


def _labels(value: Any) -> Sequence[str]:
    return value if isinstance(value, list) else (value,)


def draw_calibration(found: Reliability) -> np.ndarray:
    """A reliability diagram: (height, width, 3) uint8.

    Above, a bar for each bin of confidence as high as its accuracy, over the diagonal of perfect calibration; below, the share of
    the decisions in each bin.
    """
    size = (MARGIN + PLOT + GAP, GAP + PLOT + GAP + SHARES + MARGIN)
    image = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    base, floor, most = GAP + PLOT, GAP + PLOT + GAP + SHARES, found.shares.max()
    edges = [MARGIN + round(i * PLOT / NUM_BINS) for i in range(NUM_BINS + 1)]
    for left, right, accuracy, share in zip(edges, edges[1:], found.accuracy, found.shares, strict=False):
        if share:
            draw.rectangle((left, base - round(PLOT * accuracy), right - 1, base), fill=BLUE)
            draw.rectangle((left, floor - round(SHARES * share / most), right - 1, floor), fill=GREY)
    draw.line((MARGIN, base, MARGIN + PLOT, base - PLOT), fill=RED, width=2)
    for top, bottom, highest in ((GAP, base, "1"), (base + GAP, floor, f"{most:.0%}")):
        draw.rectangle((MARGIN, top, MARGIN + PLOT, bottom), outline="black")
        draw.text((MARGIN - 6, top), highest, fill="black", font=font, anchor="rm")
        draw.text((MARGIN - 6, bottom), "0", fill="black", font=font, anchor="rm")
    for text, height in (("accuracy", GAP // 2), ("share of decisions", base + GAP // 2)):
        draw.text((MARGIN, height), text, fill="black", font=font, anchor="lm")
    draw.text((MARGIN + PLOT, GAP // 2), f"ECE {found.error:.4f}", fill="black", font=font, anchor="rm")
    for share in (0, 0.5, 1):
        place = (MARGIN + PLOT * share, floor + MARGIN // 4)
        draw.text(place, f"{share:g}", fill="black", font=font, anchor="mm")
    draw.text((MARGIN + PLOT / 2, floor + 2 * MARGIN // 3), "confidence", fill="black", font=font, anchor="mm")
    return np.asarray(image)
