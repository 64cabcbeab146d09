"""A learning curve from the runs at several training sizes: a table, JSON, and a picture."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from utils.analysis.comparing import direction
from utils.analysis.finding import Run
from utils.analysis.learning_curve import MIN_SIZES, LearningCurve, Range, fit_learning_curve
from utils.analysis.seeds import Spread, spread_of
from utils.drawing.html_page import bullets, page, table
from utils.drawing.line_plot import ORANGE, Curve, Place, line_plot
from utils.errors import ConfigError
from utils.machine.text_tables import text_table
from utils.metrics.directions import IN_PERCENT, is_share, points

AHEAD = (2, 4)  # times the largest size that are predicted


class Point(NamedTuple):
    """One training size: the values of the seeds that have finished; missing: what is known of the other runs, by name."""

    size: int
    values: list[float]
    missing: dict[str, str]

    @property
    def spread(self) -> Spread:
        """Over its seeds."""
        return spread_of(self.values)


class CurveReport(NamedTuple):
    """A measured curve. sign: 1 where more of the metric is better, else -1; law: None for fewer than 3 sizes."""

    name: str
    metric: str
    split: str
    num_rows: int
    sign: float
    points: list[Point]
    law: LearningCurve | None

    @property
    def best(self) -> float:
        """The metric's value without any error."""
        return best_of(self.metric, self.sign)

    @property
    def measured(self) -> list[Point]:
        """The sizes with a finished run."""
        return [point for point in self.points if point.values]

    def predict(self, size: float) -> Range:
        """The metric, not its error, at a size."""
        assert self.law is not None
        ends = [self.best - self.sign * end for end in self.law.predict(size)]
        return Range(ends[0], min(ends), max(ends))

    @property
    def step(self) -> float:
        """ "One more point": a point of a share or of a metric in percent, else a hundredth of the value at the largest size."""
        if is_share(self.metric):
            return 0.01
        return 1.0 if self.metric in IN_PERCENT else abs(self.measured[-1].spread.mean) / 100


def best_of(metric: str, sign: float) -> float:
    """The value of a metric without any error. Raises ConfigError where it is not known."""
    if sign < 0:
        return 0.0
    if is_share(metric) or metric in IN_PERCENT:
        return 1.0 if is_share(metric) else 100.0
    raise ConfigError(f"curve: the largest value of {metric} is not known; take a metric between 0 and 1, or a loss")


def report_of(
    name: str, metric: str, runs: Mapping[int, Sequence[Run]], missing: Mapping[int, dict[str, str]]
) -> CurveReport:
    """The report of the finished runs at each size, of one in all at least. Raises ConfigError for runs with other test rows."""
    known = [run for members in runs.values() for run in members]
    if other := next((run for run in known if run.rows != known[0].rows), None):
        raise ConfigError(
            f"curve: {known[0].folder} and {other.folder} were tested on different rows; remove the older ones"
        )
    sign = direction(known, metric)
    best = best_of(metric, sign)
    found = [Point(size, [run.value(metric) for run in members], missing[size]) for size, members in runs.items()]
    measured, num_rows = [point for point in found if point.values], len(known[0].lines)
    errors = [[sign * (best - value) for value in point.values] for point in measured]
    if any(error < 0 for each in errors for error in each):
        raise ConfigError(f"curve: {metric} is below 0 in some runs, and has no lower end that a curve could approach")
    law = None
    if len(measured) >= MIN_SIZES:
        law = fit_learning_curve(
            [p.size for p in measured], errors, num_rows if is_share(metric) and num_rows else None
        )
    return CurveReport(name, metric, known[0].split, num_rows, sign, found, law)


def rows_of(report: CurveReport) -> list[list[str]]:
    """Training rows, seeds, mean with its deviation, least to greatest; then predictions."""
    rows = []
    for point in report.points:
        shown = (
            f"{len(point.values)} of {len(point.values) + len(point.missing)}"
            if point.missing
            else str(len(point.values))
        )
        if not point.values:
            rows.append([f"{point.size:,}", shown, "-", "-"])
            continue
        mean, deviation, *_ = point.spread
        value = f"{mean:.4f}" if math.isnan(deviation) else f"{mean:.4f} ± {deviation:.4f}"
        rows.append([f"{point.size:,}", shown, value, f"{min(point.values):.4f} to {max(point.values):.4f}"])
    for times in AHEAD if report.law else ():
        found = report.predict(size := times * report.measured[-1].size)
        rows.append([f"{size:,}", "predicted", f"{found.value:.4f}", f"{found.low:.4f} to {found.high:.4f} (95%)"])
    return rows


def notes_of(report: CurveReport) -> list[str]:
    """The unfinished runs, and the answer to "how many more labels for one more point"."""
    notes = [f"{name}: {reason}" for point in report.points for name, reason in point.missing.items()]
    where = f", on the same {report.num_rows:,} rows" if report.num_rows else ""
    notes.append(
        f"{report.metric} of {report.split}{where}; mean ± standard deviation, least and greatest of the seeds"
    )
    if report.law is None:
        return [*notes, f"not extrapolated: that needs {MIN_SIZES} sizes, {len(report.measured)} measured"]
    need, largest = report.law.size_for(report.step), report.law.largest
    than = f"{'more' if report.sign > 0 else 'less'} than the fitted curve has at {largest:,} rows"
    gain = f"{points(report.step, report.metric)} {than}"
    ends = f"{_more(need.low, largest)} to {_more(need.high, largest)}"
    if math.isinf(need.low):
        return [*notes, f"{gain}: not with any number of rows of this kind, as far as the curve shows"]
    middle = "perhaps never" if math.isinf(need.value) else f"about {_more(need.value, largest)} more labels"
    return [*notes, f"{gain}: {middle} (95%: {ends})"]


def _more(size: float, largest: int) -> str:
    if math.isinf(size):
        return "never"
    return f"{float(f'{size - largest:.2g}'):,.0f}" if size < 1e12 else "more than 10^12"


def head_of(report: CurveReport) -> list[str]:
    """The columns' names."""
    return ["training rows", "runs", report.metric, "range"]


def as_table(report: CurveReport) -> str:
    """Columns for the terminal."""
    lines = text_table(head_of(report), rows_of(report), left=())
    return "\n".join([report.name, *lines, *(f" {note}" for note in notes_of(report)), ""])


def as_json(report: CurveReport) -> str:
    """All numbers; null for what is infinite or was not measured."""
    sizes = [{"size": p.size, "values": p.values, "unfinished": p.missing} for p in report.points]
    content: dict[str, Any] = {"name": report.name, "metric": report.metric, "split": report.split, "sizes": sizes}
    content |= {"num_test_rows": report.num_rows, "predicted": None, "size_for_one_more_step": None}
    if report.law is not None:
        largest = report.law.largest
        content["predicted"] = [{"size": t * largest, **report.predict(t * largest)._asdict()} for t in AHEAD]
        need = report.law.size_for(report.step)._asdict()
        need = {key: None if math.isinf(value) else round(value) for key, value in need.items()}
        content["size_for_one_more_step"] = {"step": report.step, **need}
    return json.dumps(content, ensure_ascii=True) + "\n"


def as_html(report: CurveReport) -> str:
    """A page that needs no other file."""
    content = as_svg(report) + table(head_of(report), rows_of(report)) + bullets(notes_of(report))
    return page(f"Learning curve of {report.name}", content)


def as_svg(report: CurveReport) -> str:
    """The seeds' values with their band over training rows (logarithmic), and the law with its 95% interval beyond."""
    measured, law = report.measured, _law_of(report)
    seen = [(p.size, p.spread.mean, min(p.values), max(p.values)) for p in measured]
    dots = [(p.size, value) for p in measured for value in p.values]
    curves = [Curve(seen, dots=dots), *([Curve(law, ORANGE)] if law else [])]
    ticks = {size: f"{round(size):,}" for size in [*(p.size for p in measured), *(size for size, *_ in law[-1:])]}
    return line_plot(f"{report.metric} over training rows", curves, ticks, is_log=True)


def _law_of(report: CurveReport) -> list[Place]:
    """The law from the largest size on; empty where there is none."""
    largest = report.measured[-1].size
    sizes = [largest * AHEAD[-1] ** (i / 8) for i in range(9)] if report.law else []
    return [(size, *report.predict(size)) for size in sizes]
