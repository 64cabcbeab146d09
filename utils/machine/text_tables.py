"""Tables and durations for a terminal, and cells for a spreadsheet."""

import json
import re
from collections.abc import Collection, Sequence
from typing import Any

import rich.box
import rich.console
import rich.table

from utils.errors import printable

WIDE = 400  # columns that no table needs: none is cut off, as half a number is none; it may be wider than the window

FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # the last four: full-width = + - @
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """The lines of a table; left: the columns that begin at the left."""
    console = rich.console.Console(markup=False, emoji=False, highlight=False, width=WIDE)
    table = rich.table.Table(box=rich.box.SIMPLE, padding=(0, 1))
    for i, name in enumerate(head):
        table.add_column(printable(name), justify="left" if i in left else "right")
    for row in rows:
        table.add_row(*map(printable, row))
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def cell(value: Any) -> str:
    """A value as a cell. Text that a spreadsheet would run as a formula gets an apostrophe in front (OWASP, "CSV Injection").

    Numbers are no formulas, and stay as they are, so that labels such as -1 do. Text that has apostrophes there gets another one,
    so that no two texts become one cell.
    """
    if isinstance(value, str):
        is_formula = value.lstrip("'").startswith(FORMULA) and not NUMBER.fullmatch(value)
        return f"'{value}" if is_formula else value
    return "" if value is None else json.dumps(value, ensure_ascii=False)
