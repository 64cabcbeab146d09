"""Edits of Python source text: an import in its sorted place, an entry in a table, code above a table.

A table is a dict literal of several lines that is assigned to a name of the module. The rest of the text stays as it is.
"""

import ast
import re
from collections.abc import Sequence


def with_import(source: str, module: str, name: str) -> str:
    """The source with `from module import name`, placed among the imports of the same package as ruff's isort rules want it."""
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)]
    for node in nodes:
        if node.module == module and node.lineno != node.end_lineno:  # a name on each line, in parentheses
            later = [alias.lineno for alias in node.names if natural(alias.name) > natural(name)]
            return _inserted(source, later[0] if later else node.end_lineno or 0, [f"    {name},"])
    package = module.partition(".")[0]
    siblings = [node for node in nodes if (node.module or "").partition(".")[0] == package]
    if not siblings:
        raise ValueError(f"there is no import from {package}")
    later = [node.lineno for node in siblings if natural(node.module or "") > natural(module)]
    return _inserted(
        source, later[0] if later else (siblings[-1].end_lineno or 0) + 1, [f"from {module} import {name}"]
    )


def natural(name: str) -> list[str | int]:
    """Sort key that compares digits as numbers: part2 before part10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def with_entry(source: str, table: str, entry: str) -> str:
    """The source with a line at the end of a table."""
    return _inserted(source, _table(source, table)[1].end_lineno or 0, [f"    {entry}"])


def with_code_above(source: str, table: str, code: str) -> str:
    """The source with a function or class before a table, and before the comment that is directly above the table."""
    lines, first = source.split("\n"), _table(source, table)[0]
    while lines[first - 2].startswith("#"):
        first -= 1
    return _inserted(source, first, [*code.rstrip().splitlines(), "", ""])


def keys_of(source: str, table: str) -> list[str]:
    """The keys of a table that are strings."""
    keys = [key.value for key in _table(source, table)[1].keys if isinstance(key, ast.Constant)]
    return [key for key in keys if isinstance(key, str)]


def names_in(source: str) -> set[str]:
    """The names that the module's own code reads, imports or defines, at any depth."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.alias(name=name, asname=asname):
                found.add(asname or name)
    return found


def _table(source: str, name: str) -> tuple[int, ast.Dict]:
    """(line of the assignment, the dict literal) of a table. Raises ValueError where there is none."""
    for node in ast.parse(source).body:
        match node:
            case (
                ast.AnnAssign(target=ast.Name(id=found), value=ast.Dict() as table)
                | ast.Assign(targets=[ast.Name(id=found)], value=ast.Dict() as table)
            ) if found == name:
                return node.lineno, table
    raise ValueError(f"there is no table {name}")


def _inserted(source: str, before: int, lines: Sequence[str]) -> str:
    """The source with lines before one, numbered from 1."""
    old = source.split("\n")
    return "\n".join([*old[: before - 1], *lines, *old[before - 1 :]])
