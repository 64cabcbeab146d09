"""C5: what could run code from a file is nowhere in the package, so that nobody has to remember it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

ROOMS = ["agents", "benchmarks", "commands", "datasets", "graphs", "utils"]
MODULES = [
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "jsonpickle",
    "runpy",
    "imp",
    "code",
]
CALLS = [
    "eval",
    "exec",
    "__import__",
    "compile",
    "os.system",
    "os.popen",
    "torch.jit.load",
    "torch.hub.load",
    "torch.package",
]
ENDS = ["import_module", "extractall", "unpack_archive", "add_safe_globals", "set_default_load_endianness"]
YAML = [
    "yaml.load",
    "yaml.load_all",
    "yaml.unsafe_load",
    "yaml.full_load",
    "yaml.Loader",
    "yaml.UnsafeLoader",
    "yaml.FullLoader",
]


def name_of(node: ast.AST) -> str:
    """a.b.c of an expression that is a dotted name."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def offences(source: str) -> Iterator[str]:
    """What in a module's text breaks the rule."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from (f"{node.lineno}: import {name}" for name in names if name.split(".")[0] in MODULES)
        if isinstance(node, ast.Attribute) and name_of(node) in YAML:
            yield f"{node.lineno}: {name_of(node)}"
        if isinstance(node, ast.Call):
            yield from _offences_of_call(node)


def _offences_of_call(node: ast.Call) -> Iterator[str]:
    name = name_of(node.func)
    options = {option.arg: getattr(option.value, "value", None) for option in node.keywords}
    if name in CALLS or name.split(".")[-1] in ENDS:
        yield f"{node.lineno}: {name}"
    if name.endswith("torch.load") and "safetensors" not in name and options.get("weights_only") is not True:
        yield f"{node.lineno}: {name} without weights_only=True"
    if options.get("allow_pickle", False) is not False or options.get("shell", False) is not False:
        yield f"{node.lineno}: {name} with allow_pickle or shell"


def test_nothing_in_the_package_can_run_code_from_a_file() -> None:
    files = [ROOT / "main.py", *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))]
    assert len(files) > 50
    assert {f"{path.relative_to(ROOT)}:{line}" for path in files for line in offences(path.read_text())} == set()


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from pickle import loads", "import dill as d", "torch.load(f)", "torch.load(f, weights_only=flag)",
     "torch.load(f, weights_only=False)", "np.load(f, allow_pickle=True)", "np.load(f, allow_pickle=flag)", "eval(x)", "exec(x)",
     "importlib.import_module(name)", "import_module(name)", "yaml.load(x, Loader=yaml.Loader)", "subprocess.run(x, shell=True)",
     "os.system(x)", "torch.jit.load(f)", "archive.extractall()", "torch.serialization.add_safe_globals([f])", "__import__(x)"],
)  # fmt: skip
def test_the_rule_sees(line: str) -> None:
    assert list(offences(f"def f():\n    {line}\n"))


def test_the_rule_lets_through() -> None:
    assert not list(
        offences("torch.load(f, weights_only=True)\nsafetensors.torch.load(d)\nnp.load(f)\nre.compile('x')\n")
    )


def test_requirements_name_a_torch_whose_unpickler_is_sound() -> None:
    """CVE-2025-32434 was mended in 2.6, CVE-2026-24747 in 2.10."""
    (pin,) = [line for line in (Path(ROOT) / "requirements.txt").read_text().splitlines() if line.startswith("torch==")]
    assert tuple(map(int, pin.removeprefix("torch==").split("+")[0].split(".")[:2])) >= (2, 10)
