"""An audit as Markdown, as one HTML file that needs no other, and as JSON."""

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from agents.auditing.behaviour import TOLERANCE, Example, Outcome
from agents.auditing.groups import ALL_ROWS, Grouping
from agents.auditing.intervals import Estimate
from utils.analysis.html_report import dots
from utils.analysis.tables import markdown_table
from utils.drawing.html_page import bullets, page, table
from utils.errors import printable
from utils.machine.text_tables import text_table
from utils.runs.run_report import describe_counts

LIMITS = [
    "A gap says that answers differ between groups of these texts, not why, nor whether that is unfair.",
    "No gap is no proof of fairness: the texts are a sample, and other groups, terms and harms are not in it.",
    "Rates by group are of the labels that the file has; if those are biased, the rates are, too.",
    "A swap can make a text odd or change its meaning; a test on templates says little of texts that people write.",
    "Of many figures some are outside their 95% interval by chance.",
]

GAPS = (
    "The largest value less the smallest, and the smallest over the largest; groups of one row are not compared. The intervals "
    "allow for the two having been picked out of all groups: one whose difference begins at 0 is within chance."
)
SWAPS = "Each text with other terms of its set; it fails if the label changes."
PAIRS = "The texts that differ in the other file; one fails if the label changes."
TESTS = (
    f"same label: a small change must keep the label; not surer: the probability of the label predicted before must not rise by "
    f"more than {TOLERANCE}, and its change is that one's."
)
FIRST_DRAWN = "false_positive_rate"
SHOWN, BEFORE_CHANGE = 120, 50  # characters of an example, and of them before what was changed


@dataclass(frozen=True)
class Audit:
    """All results of an audit, in the order of the report.

    unknown: {name of a swap, or `groups`: (the terms that the model does not know, the number of all its terms)}
    """

    run: str
    data: str
    positive: str | None
    counts: dict[str, Any]
    groupings: list[Grouping]
    swaps: list[Outcome]
    pairs: list[Outcome]
    tests: list[Outcome]
    num_sampled: int
    unknown: dict[str, tuple[list[str], int]] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """The terms that the model does not know, a line for each list of terms that has some."""
        return [
            f"The model does not know {len(terms):,} of the {size:,} terms of {name}: {', '.join(map(repr, terms))}. To it they "
            "are one unknown word: that answers do not depend on which of them a text has is no sign of fairness."
            for name, (terms, size) in self.unknown.items()
            if terms
        ]

    @property
    def notes(self) -> list[str]:
        """What the figures are of."""
        interest = f"; label of interest: {self.positive}" if self.positive else ""
        return [
            f"{describe_counts(self.counts)}{interest}.",
            f"Term swaps and tests change {self.num_sampled:,} of the texts. Brackets hold 95% intervals.",
            *self.warnings,
        ]


@dataclass(frozen=True)
class Section:
    """A part of the report: a text, a table, notes below it; drawn: a metric by group, which HTML also shows as a picture."""

    title: str
    text: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    drawn: tuple[str, dict[str, Estimate]] | None = None


def sections(audit: Audit) -> Iterator[Section]:
    """The parts of the report."""
    for grouping in audit.groupings:
        yield _by_group(grouping)
        if len(grouping.sizes) > 1:
            yield _gaps(grouping)
    interest = audit.positive or "the label predicted before"
    for title, text, outcomes in (
        ("Term swaps", SWAPS, audit.swaps),
        ("Paired texts", PAIRS, audit.pairs),
        ("Invariance and direction", TESTS, audit.tests),
    ):
        if outcomes:
            yield _outcomes(title, f"{text} Changes are of the probability of {interest}.", outcomes)
        yield from (_by_note(outcome, interest) for outcome in outcomes if outcome.by_note)


def _by_group(grouping: Grouping) -> Section:
    head = ["group", "rows", *map(words, grouping.metrics)]
    rows = [
        [printable(name), f"{size:,}", *(shown(own[name]) for own in grouping.metrics.values())]
        for name, size in grouping.sizes.items()
    ]
    metric = FIRST_DRAWN if FIRST_DRAWN in grouping.metrics else next(iter(grouping.metrics))
    known = {name: value for name, value in grouping.metrics[metric].items() if not math.isnan(value.value)}
    return Section(
        "All rows" if grouping.name == ALL_ROWS else f"By {grouping.name}",
        "Each value with its 95% bootstrap interval over rows.",
        head,
        rows,
        [f"{name}: one row, not compared" for name, size in grouping.sizes.items() if size == 1],
        (words(metric), known) if len(known) > 1 else None,
    )


def _gaps(grouping: Grouping) -> Section:
    rows = [
        [words(gap.metric), printable(gap.largest), printable(gap.smallest), shown(gap.difference), shown(gap.ratio)]
        for gap in grouping.gaps
    ]
    return Section(
        f"Gaps by {grouping.name}",
        GAPS,
        ["metric", "largest", "smallest", "difference", "ratio"],
        rows,
        [] if rows else ["fewer than two groups of at least two rows: nothing is compared"],
    )


def _outcomes(title: str, text: str, outcomes: Sequence[Outcome]) -> Section:
    head = ["test", "expected", "texts", "failures", "mean change", "mean absolute change"]
    rows = [
        [
            o.name,
            o.kind,
            f"{o.num_texts:,}",
            shown(o.failures),
            signed(o.change),
            shown(Estimate(o.size, math.nan, math.nan)),
        ]
        for o in outcomes
    ]
    notes = [note for outcome in outcomes for note in outcome.notes]
    notes += [line for outcome in outcomes for line in map(partial(_example, outcome.name), outcome.examples)]
    return Section(title, text, head, rows, notes)


def _by_note(outcome: Outcome, interest: str) -> Section:
    rows = [[note, f"{num:,}", signed(change)] for note, (num, change) in outcome.by_note.items()]
    text = f"Mean change of the probability of {interest}; a text with several exchanges counts in each."
    return Section(f"Swap {outcome.name}", text, ["exchange", "texts", "mean change"], rows)


def _example(name: str, example: Example) -> str:
    before, after = (f"{label} ({p:.3f})" for label, p in zip(example.predicted, example.probability, strict=True))
    one, other = around_change(example.before, example.after)
    return f"{name}: {before} → {after}: “{one}” → “{other}” ({printable(example.id)})"


def around_change(before: str, after: str) -> tuple[str, str]:
    """Two texts on one line each, of long ones what is around their first difference."""
    lines = [printable(" ".join(text.split())) for text in (before, after)]
    first = next((i for i, (a, b) in enumerate(zip(*lines, strict=False)) if a != b), min(map(len, lines)))
    start = max(0, first - BEFORE_CHANGE)
    one, other = ("…" * bool(start) + line[start : start + SHOWN] + "…" * (len(line) > start + SHOWN) for line in lines)
    return one, other


def words(metric: str) -> str:
    """A metric's name for people."""
    return metric.replace("_", " ").replace("[", " of ").removesuffix("]").replace("macro f1", "macro-F1")


def shown(estimate: Estimate, form: str = ".3f") -> str:
    """0.123 [0.100, 0.145]."""
    value, low, high = (format(number, form) for number in estimate)
    if math.isnan(estimate.value):
        return "-"
    return value if math.isnan(estimate.low) else f"{value} [{low}, {high}]"


def signed(estimate: Estimate) -> str:
    """+0.012 [-0.001, +0.025]."""
    return shown(estimate, "+.3f")


def title_of(audit: Audit) -> str:
    """The report's title."""
    return f"Audit of {audit.run} on {audit.data}"


def as_markdown(audit: Audit) -> str:
    """The report as Markdown."""
    parts = [f"# {title_of(audit)}", *audit.notes]
    for section in sections(audit):
        parts += [f"## {section.title}", section.text, markdown_table(section.head, section.rows)]
        parts += ["\n".join(f"- {note}" for note in section.notes)] * bool(section.notes)
    return "\n\n".join([*parts, "## What these figures do not show", "\n".join(f"- {line}" for line in LIMITS)]) + "\n"


def as_terminal(audit: Audit) -> str:
    """The tables for the terminal, without examples, and the terms that the model does not know."""
    parts = [line for section in sections(audit) for line in (section.title, *text_table(section.head, section.rows))]
    return "\n".join(map(printable, [*parts, *audit.warnings]))


def as_html(audit: Audit) -> str:
    """The report as one page."""
    body = [f"<p>{html.escape(note)}</p>" for note in audit.notes]
    for section in sections(audit):
        body.append(f"<h2>{html.escape(section.title)}</h2><p>{html.escape(section.text)}</p>")
        if section.drawn is not None:
            name, values = section.drawn
            body.append(f"<p>{html.escape(name)}:</p>{dots([(group, [], own) for group, own in values.items()])}")
        body += [table(section.head, section.rows), bullets(section.notes)]
    body += ["<h2>What these figures do not show</h2>", bullets(LIMITS)]
    return page(title_of(audit), "".join(body))


def as_values(audit: Audit) -> dict[str, Any]:
    """The report for JSON: NaN, which JSON does not have, is null."""
    values: dict[str, Any] = _plain(asdict(audit))
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(own) for key, own in value.items()}
    if hasattr(value, "_asdict"):
        return {key: _plain(own) for key, own in value._asdict().items()}
    return [_plain(own) for own in value] if isinstance(value, list | tuple) else value
