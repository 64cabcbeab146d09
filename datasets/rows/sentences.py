"""Text -> sentences, by one rule that can be read here; no model, no language but its full stops.

A sentence ends after . ! ? or an ellipsis, with the quotes and brackets that close behind it, where white space and then a capital,
a digit or an opening quote or bracket follow. A full stop after an abbreviation (Mr., e.g.) or a single capital (J. Smith) ends
none. The Chinese and Japanese marks end one wherever they stand.
"""

import re
from collections.abc import Iterator

QUOTES = "\"'\u201d\u2019)\\]"  # that close a sentence
WIDE, WIDE_QUOTES = "\u3002\uff01\uff1f", "\u201d\u2019\u300d\u300f\uff09"
OPENING = "\"'\u201c\u2018(["
END = re.compile(
    rf"(?<![.!?\u2026])[.!?\u2026]++ ?[{QUOTES}]*\s+(?=[{re.escape(OPENING)}]*\w)|[{WIDE}]+[{WIDE_QUOTES}]*\s*"
)
LAST_WORD = re.compile(r"([\w.]+)\.$")
_ABBREVIATIONS = """mr mrs ms dr prof st sr jr rev hon gen col capt lt sgt messrs mme vs etc e.g i.e cf fig figs eq eqs sec no nos
vol pp ed eds al inc ltd co corp dept approx jan feb mar apr jun jul aug sept sep oct nov dec"""
ABBREVIATIONS = frozenset(_ABBREVIATIONS.split())


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text, without white space around them; none is empty, and together they hold every word."""
    start = 0
    for match in END.finditer(text):
        if _is_end(text, match):
            if found := text[start : match.end()].strip():
                yield found
            start = match.end()
    if found := text[start:].strip():
        yield found


def _is_end(text: str, match: re.Match[str]) -> bool:
    """Whether a mark that looks like an end is one."""
    if match[0][0] in WIDE:
        return True
    if text[match.end() : match.end() + 20].lstrip(OPENING)[:1].islower():
        return False
    if match[0].rstrip() != ".":
        return True
    word = LAST_WORD.search(text[max(0, match.start() - 20) : match.start() + 1])
    if word is None:
        return True
    is_initial = len(word[1]) == 1 and word[1].isupper() and word[1] != "I"
    return not (is_initial or word[1].lower() in ABBREVIATIONS)
