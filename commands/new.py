"""Add a part to this checkout: its file, its entry in the table, a config and a test. All of it works before you edit it.

A model is an encoder, an agent a task, a dataset a source of rows, an experiment a config that differs from another in one
option. The templates are in commands/templates.
"""

import argparse
import builtins
import contextlib
import keyword
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template

from commands.templates import KINDS, Edit, Kind, templates_of
from utils.errors import ConfigError
from utils.files import source_edits
from utils.files.storage import beside, readable, storage_errors, write_synced

SUMMARY = "add a model, agent, loss, dataset, metric, command or experiment"
ROOT = Path(__file__).resolve().parent.parent
NAME = re.compile(r"[a-z][a-z0-9]+(_[a-z0-9]+)*")
MAX_NAME = 30  # characters: a longer one would not fit into the lines of the templates


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """KIND and NAME."""
    parser.add_argument("kind", metavar="KIND", choices=list(KINDS), help=", ".join(KINDS))
    parser.add_argument("name", metavar="NAME", help="in snake_case, such as text_cnn; its class is then TextCnn")


def run(options: argparse.Namespace) -> None:
    """Check the name, write all files or none, and print what to do next."""
    check_place()
    check_name(options.name)
    kind, names = KINDS[options.kind], names_of(options.name)
    edits = [edit.of(names) for edit in kind.edits]
    new = templates_of(options.kind, names)
    above = {edit.path: new.pop(edit.path, None) for edit in edits}
    check_files(names["name"], list(new))
    check_tables(kind, edits, names["name"], names["command"])
    changed = {edit.path: edited(edit, above[edit.path]) for edit in edits}
    write(new, changed)
    print(Template(described(kind, edits, list(new))).substitute(names))


def check_place() -> None:
    """Raise ConfigError outside a checkout of the repository."""
    if Path.cwd().resolve() != ROOT:
        raise ConfigError(f"new: it adds to the folder of main.py; start it in {ROOT}, not in {Path.cwd()}")
    if missing := [name for name in ("configs/boe.yaml", "tests/conftest.py") if not (ROOT / name).exists()]:
        raise ConfigError(f"new: {ROOT} is no checkout of the repository: {missing[0]} is missing")


def check_name(name: str) -> None:
    """Raise ConfigError for a name that is not in snake_case, or that Python or YAML reads as something else."""
    from utils.config import strict_yaml

    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise ConfigError(
            f"new: NAME must be in snake_case, such as text_cnn, of 2 to {MAX_NAME} characters, got {name!r}"
        )
    if keyword.iskeyword(name) or strict_yaml.parse(name, "NAME").value != name:
        raise ConfigError(f"new: NAME must not be a keyword of Python or a value of YAML, got {name!r}")


def names_of(name: str) -> dict[str, str]:
    """What the placeholders of a template stand for."""
    return {"name": name, "Name": "".join(map(str.capitalize, name.split("_"))), "command": name.replace("_", "-")}


def check_files(name: str, new: Sequence[str]) -> None:
    """Raise ConfigError where a file or a run of the name exists."""
    places = [ROOT / path for path in (*new, f"experiments/{name}")]
    places += [path.with_suffix("") for path in places if path.suffix == ".py"]  # a package would hide the module
    places += (ROOT / "tests").rglob(f"test_{name}.py")  # pytest wants a different name for each test file
    if taken := [path for path in places if os.path.lexists(path)]:
        raise ConfigError(f"new: {taken[0].relative_to(ROOT)} exists; choose another name than {name}")


def check_tables(kind: Kind, edits: Sequence[Edit], name: str, command: str) -> None:
    """Raise ConfigError where a table has the name, or the module of the table uses it for something else."""
    for path, table in (*((edit.path, edit.table) for edit in edits), *kind.others):
        with source_of(path) as source:
            if {name, command} & set(source_edits.keys_of(source, table)):
                raise ConfigError(f"new: {table} in {path} has an entry {name}; choose another name")
    for edit in edits:
        with source_of(edit.path) as source:
            if edit.symbol in {*source_edits.names_in(source), *dir(builtins), *kind.reserved}:
                raise ConfigError(f"new: {edit.symbol} has a meaning in {edit.path}; choose another name than {name}")


@contextlib.contextmanager
def source_of(path: str) -> Iterator[str]:
    """The text of a Python file of the checkout, for a block that parses it."""
    try:
        with readable(ROOT / path):
            yield (ROOT / path).read_text(encoding="utf-8")
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigError(f"new: {path} takes no new entry: {error}") from None


def edited(edit: Edit, above: str | None) -> str:
    """The text of a file with its new entry; above: code for the place above the table."""
    with source_of(edit.path) as source:
        return edit.apply(source, above)


def write(new: dict[str, str], changed: dict[str, str]) -> None:
    """Write all files or, after an error, none: first all as temporary files, so that a full disk changes nothing."""
    with contextlib.ExitStack() as temporary, contextlib.ExitStack() as undo:
        staged = {path: stage(temporary, path, text) for path, text in (new | changed).items()}
        old = {path: stage(temporary, path, (ROOT / path).read_text(encoding="utf-8")) for path in changed}
        for path, file in staged.items():  # the tables last, as they name the new files
            undo.callback(put_back, ROOT / path, old.get(path))
            with storage_errors(ROOT / path):
                file.replace(ROOT / path)
        undo.pop_all()


def stage(stack: contextlib.ExitStack, path: str, text: str) -> Path:
    """The temporary file of a path, which the stack removes unless it has been renamed."""
    with storage_errors(ROOT / path):
        file = stack.enter_context(beside(ROOT / path))
        write_synced(file, text.encode())
    return file


def put_back(path: Path, old: Path | None) -> None:
    """Undo the renaming to a path that held the content of another file before, or nothing."""
    if old is None:
        path.unlink(missing_ok=True)
    else:
        old.replace(path)


def described(kind: Kind, edits: Sequence[Edit], new: Sequence[str]) -> str:
    """What was written, what to edit, and the commands to go on with; with placeholders."""
    test = next(path for path in new if Path(path).name.startswith("test_"))
    has_config = any(path.startswith("configs/") for path in new)
    sections: dict[str, Sequence[str]] = {
        "written": new,
        "entries": [f"{edit.path}: {edit.table}" for edit in edits],
        "edit": [*kind.to_edit, *["configs/$name.yaml: before you commit it, what it reaches"] * has_config],
        "use": kind.use,
        "test": [f"python -m pytest {test} {kind.tests}"],
    }
    return "\n".join(
        line for title, lines in sections.items() if lines for line in [f"{title}:", *(f"  {x}" for x in lines)]
    )
