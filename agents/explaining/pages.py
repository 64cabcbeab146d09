"""Explanations to be read: in a terminal, as one HTML file that needs no other, as JSON lines, as Markdown for TensorBoard.

A line is what lines.py makes of a text. Each form is a class with `begin`, `line` and `end`, which return what is to be written.
"""

import html
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

import rich.console
import rich.text

from utils.drawing.html_page import PAGE_END, bullets, page_begin
from utils.errors import printable
from utils.machine.streams import to_json
from utils.runs.run_log import markdown_cell

Line = Mapping[str, Any]
NUM_WORDS = 8  # with the largest scores, that are listed
FOR, AGAINST = (86, 180, 233), (230, 159, 0)  # blue and orange, which the colour-blind tell apart (Okabe and Ito 2008)
STYLE = (
    "body{font:15px/1.7 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}"
    "section{border-bottom:1px solid #ddd;padding:.5em 0}span[title]{border-radius:3px;padding:0 .1em}"
    "h2{font-size:1em;margin:.4em 0}.field{color:#777}ol{margin:.3em 0}p{margin:.3em 0;white-space:pre-wrap}"
)
LEGEND = (
    "Blue words speak for what is explained, orange ones against it; the darkest has the largest score of its text."
)


class Json:
    """A JSON line for each text, and a last one with the check of all."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def begin(self) -> str:
        return ""

    def line(self, line: Line) -> str:
        return to_json(line, self.stream)

    def end(self, check: Mapping[str, Any] | None) -> str:
        return "" if check is None else to_json({"faithfulness": check}, self.stream)


class Terminal:
    """Words with coloured backgrounds on a terminal, and the largest scores as numbers everywhere."""

    def __init__(self, stream: TextIO) -> None:
        self.console = rich.console.Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def begin(self) -> str:
        return ""

    def line(self, line: Line) -> str:
        if "problem" in line:
            return f"{printable(line['id'])}: {printable(line['problem'])}\n\n"
        with self.console.capture() as captured:
            self.console.print(f"{printable(line['id'])}: {title_of(line)}")
            for field, parts in coloured(line):
                text = rich.text.Text(f"{printable(field)}: ")
                for part, share in parts:
                    text.append(printable(part), style=_rich_style(share))
                self.console.print(text)
            self.console.print(f"words: {printable(largest(line))}")
            for each in line.get("nearest", []):
                self.console.print(printable(neighbour(line, each)))
        return captured.get() + "\n"

    def end(self, check: Mapping[str, Any] | None) -> str:
        return "" if check is None else "\n".join(in_words(check)) + "\n"


class Html:
    """The whole page, a section for each text."""

    def begin(self) -> str:
        return f"{page_begin('Explanations', STYLE)}<p>{LEGEND}</p>\n"

    def line(self, line: Line) -> str:
        if "problem" in line:
            return f"<section><h2>{html.escape(line['id'])}</h2><p>{html.escape(line['problem'])}</p></section>\n"
        texts = "".join(
            f'<p><span class="field">{html.escape(field)}:</span> {"".join(_span(*part) for part in parts)}</p>'
            for field, parts in coloured(line)
        )
        found = bullets([neighbour(line, each) for each in line.get("nearest", [])], "ol")
        similar = f"<p>Nearest training texts:</p>{found}" if found else ""
        title = f"{html.escape(line['id'])}: {html.escape(title_of(line))}"
        return f"<section><h2>{title}</h2>{texts}<p>{html.escape(largest(line))}</p>{similar}</section>\n"

    def end(self, check: Mapping[str, Any] | None) -> str:
        rows = bullets(in_words(check or {}))
        return f"{f'<h2>Faithfulness</h2>{rows}' if rows else ''}{PAGE_END}"


def as_markdown(line: Line) -> str:
    """A text for TensorBoard, which shows no colours: words with at least a third of the largest score are bold, or struck out."""
    paragraphs = [markdown_cell(title_of(line))]
    for field, parts in coloured(line):
        words = []
        for part, share in parts:
            mark = "**" if share > 1 / 3 else "~~" if share < -1 / 3 else ""
            words.append(f"{mark}{markdown_cell(part)}{mark}" if part.strip() else " ")
        paragraphs.append(f"{markdown_cell(field)}: {''.join(words)}")
    return "\n\n".join([*paragraphs, markdown_cell(largest(line))])


def title_of(line: Line) -> str:
    """What was predicted and what is explained, how."""
    found = line["explained"]
    label, method = found.get("label"), found["method"].replace("_", " ")
    what = (
        f"{found['value']:.4g}" if label is None else f"{label} {found['value']:.4f} (log-odds {found['evidence']:.3f})"
    )
    gap = "" if found.get("gap") is None else f", completeness gap {found['gap']:.2g}"
    predicted = line["predicted"]
    other = f"predicted {predicted}; " if label is not None and predicted not in (label, [label]) else ""
    return f"{other}explained: {what}, by {method}{gap}"


def coloured(line: Line) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Each field with its text in parts, words and what stands between them, each with its share of the largest score, -1 to 1."""
    texts = line.get("fields", line)
    size = max((abs(word["score"]) for word in line["words"]), default=0.0) or 1.0
    for field in dict.fromkeys([*line["explained"]["fields"]]):
        parts, end = [], 0
        for word in (word for word in line["words"] if word["field"] == field):
            parts.append((texts[field][end : word["start"]], 0.0))
            parts.append((texts[field][word["start"] : word["end"]], word["score"] / size))
            end = word["end"]
        yield field, [*parts, (texts[field][end:], 0.0)]


def largest(line: Line) -> str:
    """The words with the largest scores, for or against."""
    words = sorted(line["words"], key=lambda word: -abs(word["score"]))[:NUM_WORDS]
    return "  ".join(f"{word['word']} {word['score']:+.3g}" for word in words if word["score"])


def neighbour(line: Line, found: Line) -> str:
    """A training text on one line."""
    texts = found.get("fields", found)
    text = " / ".join(" ".join(texts[field].split()) for field in line["explained"]["fields"])
    return f"{found['similarity']:.3f} {found['gold']} {found['id']}: {text[:200]}"


def in_words(check: Mapping[str, Any]) -> list[str]:
    """The check of the scores as sentences."""
    if not check.get("texts"):
        return ["faithfulness: no text with a word"] if check else []
    share = f"{100 * check['share']:.0f}%"
    lines = [f"faithfulness over {check['texts']} texts: how far the prediction falls, mean and 95% interval"]
    for name, what in (("comprehensiveness", "without"), ("sufficiency", "with only")):
        own, random = _number(check[name]), _number(check[f"random_{name}"])
        lines.append(f"{name}: {own} {what} the {share} of words with the highest scores, {random} {what} random ones")
    ratio = (
        "not defined: without random words the prediction does not fall"
        if check["ratio"] is None
        else _number(check["ratio"], 3)
    )
    return [*lines, f"ratio of comprehensiveness to that of random words: {ratio}"]


def _number(found: Mapping[str, Any], digits: int = 4) -> str:
    ends = ["no bound" if end is None else f"{end:.{digits}g}" for end in (found["low"], found["high"])]
    interval = "" if found["low"] is found["high"] is None else f" [{', '.join(ends)}]"
    return f"{found['mean']:.{digits}g}{interval}"


def _colour(share: float) -> tuple[int, ...]:
    """White for no share, and the whole colour for all."""
    colour = FOR if share > 0 else AGAINST
    return tuple(round(255 + (part - 255) * abs(share)) for part in colour)


def _rich_style(share: float) -> str:
    return f"black on rgb({','.join(map(str, _colour(share)))})" if abs(share) > 0.05 else ""


def _span(text: str, share: float) -> str:
    if not share:
        return html.escape(text)
    red, green, blue = _colour(share)
    return f'<span title="{share:+.2f}" style="background:rgb({red},{green},{blue})">{html.escape(text)}</span>'
