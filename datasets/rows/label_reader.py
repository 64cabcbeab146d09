"""Parsing of the label column: a value -> the names of a text's labels."""

import ast
import functools
import json
import math
import re
import warnings
from collections.abc import Sequence
from typing import Any

Labels = tuple[tuple[str, ...], str | None]  # (labels, None), or ((), problem)
POSITIONS = {"0": False, "1": True, "0.": False, "1.": True, "0.0": False, "1.0": True, "false": False, "true": True}
NAME_THEM = "if these are positions, name them: data.label_names: [first, second, ...]"
_MULTI_HOT = re.compile(r"[\[(]?\s*[01]\.?([\s,;|]+[01]\.?)+\s*[\])]?")  # in one cell, also as NumPy prints it
_WRITTEN = re.compile(  # a list written as text, but not [deleted] or (other)
    r"""\[(?![^\W\d][^'",]*\]).*\]|\(\)|[({]\s*(?=['"]|-?[\d.]+\s*[,}]).*[)}]""", re.DOTALL
)
_CALL = re.compile(  # as Python, NumPy and pandas print a collection
    r"(?:frozenset|set|list|tuple|array|Index)\((.*?)(?:,\s*(?:dtype|name)=[^,]*)*\)", re.DOTALL
)
_QUOTED = re.compile(r"""(['"]).*\1\s*,\s*(['"]).*\2""", re.DOTALL)  # a list without its brackets


class LabelReader:
    """Reads one label, or with a separator any number; `names`: the label of each position in a multi-hot list of 0s and 1s."""

    def __init__(self, column: str, *, separator: str | None = None, names: Sequence[str] | None = None) -> None:
        self.column, self.separator, self.names = column, separator, names

    def read(self, value: Any) -> Labels:
        """The labels of a row, sorted and distinct."""
        if self.separator is not None:
            parts = self._split(value) if isinstance(value, str) else value
            return self._read_list([parts] if self.names is None and isinstance(parts, int | float) else parts)
        if isinstance(value, list):
            return (), f"the label in {self.column!r} is a list; write data.multi_label: true"
        if value is None or value != value or (isinstance(value, str) and not value.strip()):  # NaN: a missing number
            return (), f"no label in {self.column!r}"
        if (name := _name(value)) is None:
            return (), f"the label in {self.column!r} is {type(value).__name__}, not text or a number"
        return (name,), None

    def _read_list(self, parts: Any) -> Labels:
        names = [name for part in parts if (name := _name(part))] if isinstance(parts, list) else []
        if not isinstance(parts, list) or len(names) < len(parts):
            return (), f"no list of labels in {self.column!r}; write [] for none"
        if self.names is not None:
            chosen = [POSITIONS.get(name.lower()) for name in names]
            if len(chosen) != len(self.names) or None in chosen:
                return (), f"no 0 or 1 for each of the {len(self.names)} data.label_names in {self.column!r}"
            return tuple(sorted(name for name, is_chosen in zip(self.names, chosen, strict=True) if is_chosen)), None
        if any(map(_MULTI_HOT.fullmatch, names)):
            return (), f"0s and 1s as one label in {self.column!r}; {NAME_THEM}"
        labels = tuple(sorted(set(names)))
        if len(labels) < len(names):
            is_multi_hot = all(name.lower() in POSITIONS for name in labels)
            hint = NAME_THEM if is_multi_hot else "repeats and order, as in tags per word, are not supported"
            return (), f"a repeated label in {self.column!r} ({names!r:.60}); {hint}"
        return labels, None

    def _split(self, cell: str) -> list[Any] | None:
        """Split a cell that holds a list written as text (pandas, JSON), or labels between separators."""
        cell = cell.strip()
        written = _written_list(cell)
        if self.names is not None:
            return [
                part
                for part in re.split(r"[\s,;|\[\]()]+", (written or cell).replace(self.separator or "|", " "))
                if part
            ]
        if written is not None and not _MULTI_HOT.fullmatch(cell):
            return [written] if _MULTI_HOT.fullmatch(written) else _parsed_list(written)
        return [part.strip() for part in cell.split(self.separator) if part.strip()]


def is_written_list(label: str) -> bool:
    """Whether a label looks like a list written as text: "['sport', 'food']" or "[1 0 1]"."""
    return _written_list(label) is not None or bool(_MULTI_HOT.fullmatch(label))


def _written_list(cell: str) -> str | None:
    """A list written as text, as a literal of Python or JSON; None for other text."""
    if _QUOTED.fullmatch(cell):
        return f"[{cell}]"
    if call := _CALL.fullmatch(cell):
        cell = call[1] or "[]"
    return cell if _WRITTEN.fullmatch(cell) else None


@functools.lru_cache(maxsize=10_000)
def _parsed_list(cell: str) -> list[Any] | None:
    """Parse a list written as JSON or by Python or pandas; None if it is not a list."""
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        if re.search(r"""['"]\s+['"]""", cell):  # NumPy prints no commas, and Python would concatenate the strings
            return None
        try:
            with warnings.catch_warnings(action="ignore"):  # about backslashes
                value = ast.literal_eval(cell)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return None
    return list(value) if isinstance(value, list | tuple | set) else None


def _name(value: Any) -> str | None:
    """A label as text: numbers as in CSV, booleans as in JSON; None for blank text and anything that is not a label."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)) else None
