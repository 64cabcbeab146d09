"""Hash of the code that makes tokens, so that an edited data set or tokenizer invalidates the cache."""

import hashlib
import os.path
import re
import sys
from collections.abc import Iterable, Iterator

HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
MAKER = os.path.join(HERE, "writer.py")  # it imports the code that makes tokens of any data set
PASSED_OVER = "progress_bar"  # it affects no tokens
IMPORT = re.compile(rb"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]*(\([^)]*\)|.*)|import[ \t]+(.*))", re.MULTILINE)


def code_hash(parts: Iterable[object]) -> str:
    """sha256 of the source files of the parts' classes and of all that they import from the project or from their own folders.

    Found by scanning the import statements, which takes 3 ms: comments count as code, and dynamic imports do not.
    """
    waiting = [MAKER, *filter(None, map(_file_of, {base for part in parts for base in type(part).__mro__}))]
    roots, hashes = {PROJECT, *map(os.path.dirname, waiting)}, dict[str, str]()
    while waiting:
        path = waiting.pop()
        if path not in hashes:
            with open(path, "rb") as file:
                source = file.read()
            hashes[path] = f"{os.path.basename(path)} {hashlib.sha256(source).hexdigest()}"
            waiting += _imported(path, source, roots)
    return hashlib.sha256("\n".join(sorted(hashes.values())).encode()).hexdigest()


def _file_of(cls: type) -> str | None:
    """The source file of a class; None for a library's, or one defined at a prompt."""
    path = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if path is None or "-packages" in path or path.startswith(os.path.dirname(os.__file__)):
        return None
    return os.path.realpath(path)


def _imported(path: str, source: bytes, roots: Iterable[str]) -> Iterator[str]:
    """Files of the modules that a source file imports, except libraries."""
    for statement in IMPORT.findall(source):
        module, names, plain = (part.decode("utf-8", "replace") for part in statement)
        for name in [module] if module else re.findall(r"[\w.]+", plain):
            bare = name.lstrip(".")
            above = os.path.normpath(os.path.join(path, *[".."] * (len(name) - len(bare))))
            for root in roots if above == path else [above]:
                place = os.path.join(root, *bare.split("."))
                if os.path.isfile(f"{place}.py"):
                    if not place.endswith(PASSED_OVER):
                        yield f"{place}.py"
                elif os.path.isdir(place):
                    files = [os.path.join(place, f"{word}.py") for word in re.findall(r"\w+", names)]
                    found = [file for file in files if os.path.isfile(file)]
                    yield from found or filter(os.path.isfile, [os.path.join(place, "__init__.py")])
