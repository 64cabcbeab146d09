"""What the README and docs/extending.md say how to add, added to a copy of the tree by one file and one entry each, works."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, TINY_CONFIG, tiny_rows, write_jsonl
from sklearn.metrics import cohen_kappa_score

BLOCKS = r"```python\n# (\S+\.py)\n(.*?)```"
ROOMS = [
    "agents",
    "commands",
    "configs",
    "datasets",
    "graphs",
    "tests",
    "utils",
    "main.py",
    "README.md",
    "pyproject.toml",
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the tree, with the README's model in its place."""
    for name in ROOMS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    blocks = re.findall(BLOCKS, (ROOT / "README.md").read_text(), flags=re.S)
    assert [path for path, _ in blocks] == ["graphs/models/text_cnn.py"]
    for path, code in blocks:
        (tmp_path / path).write_text(code)
    return tmp_path


def add_entry(path: Path, table: str, entry: str, line: str) -> None:
    """The import at the end of the imports, and the entry at the head of its table."""
    text = path.read_text()
    assert f"\n{table}" in text
    path.write_text(text.replace(f"\n{table}", f"\n{line}\n\n{table}", 1).replace(" = {\n", f" = {{\n    {entry}\n", 1))


def start(copy: Path, *arguments: str) -> dict:
    process = subprocess.run(
        [sys.executable, "main.py", *arguments], cwd=copy, capture_output=True, text=True, timeout=200
    )
    assert process.returncode == 0, process.stderr
    name = next(word.removeprefix("name=") for word in arguments if word.startswith("name="))
    return json.loads((copy / "experiments" / name / "report.json").read_text())


def test_a_model_is_one_file_and_one_entry(copy: Path) -> None:
    line = "from graphs.models.text_cnn import TextCNN"
    add_entry(copy / "graphs/models/__init__.py", "ENCODERS", '"text_cnn": TextCNN,', line)
    write_jsonl(copy / "tiny.jsonl", tiny_rows())
    (copy / "tiny.yaml").write_text(TINY_CONFIG)
    report = start(copy, "tiny.yaml", "model={name: text_cnn, num_filters: 8}", "train.num_epochs=6", "name=cnn")
    assert report["test"]["accuracy"] > 0.8
    listed = subprocess.run(
        [sys.executable, "main.py", "list", "model"], cwd=copy, capture_output=True, text=True, check=True
    )
    assert "text_cnn: Convolutions of several widths" in listed.stdout
    assert "widths: list of int" in listed.stdout
    contract = [
        sys.executable,
        "-m",
        "pytest",
        "tests/graphs/models/test_encoders.py",
        "-k",
        "text_cnn or meta",
        "-p",
        "no:xdist",
    ]
    result = subprocess.run(contract, cwd=copy, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "8 passed" in result.stdout


def test_an_agent_is_one_file_and_one_entry(copy: Path) -> None:
    """The regression, taken out of the tree and put back under another name."""
    table, file = copy / "agents/__init__.py", copy / "agents/regression.py"
    entry, line = '    "regression": RegressionAgent,\n', "from agents.regression import RegressionAgent\n"
    rest = table.read_text()
    assert entry in rest
    assert line in rest
    assert "regression" not in rest.lower().replace(entry.lower(), "").replace(line.lower(), "")
    table.write_text(rest.replace(entry, "").replace(line, ""))
    file.rename(copy / "agents/rating.py")
    add_entry(table, "AGENTS", '"rating": RegressionAgent,', "from agents.rating import RegressionAgent")
    values = {"cooking": 1, "sailing": 2.5, "chess": 5}
    write_jsonl(copy / "tiny.jsonl", [row | {"label": values[row["label"]]} for row in tiny_rows()])
    (copy / "tiny.yaml").write_text(TINY_CONFIG.replace("agent: classification", "agent: rating"))
    report = start(copy, "tiny.yaml", "train.num_epochs=20", "name=ratings", "train.save_every=1 step")
    assert report["test"]["absolute_error"] < 0.7  # always answering the mean is 1.4 off
    refused = [sys.executable, "main.py", "tiny.yaml", "--dry-run", "train.monitor=+accuracy"]
    last = subprocess.run(refused, cwd=copy, capture_output=True, text=True, check=False).stderr.splitlines()[-1]
    known = "known: loss, absolute_error, root_mean_squared_error"
    assert last.endswith(f"train.monitor: there is no metric 'accuracy'; {known}")
    command = [sys.executable, "main.py", "predict", "experiments/ratings", "--text", "castle the king"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=True)
    assert abs(json.loads(done.stdout)["predicted"] - 5) < 2


@pytest.mark.full
def test_the_examples_pass_the_type_checker(copy: Path) -> None:
    command = [sys.executable, "-m", "mypy", "graphs/models/text_cnn.py", "--cache-dir"]
    result = subprocess.run(
        [*command, str(ROOT / ".mypy_cache")], cwd=copy, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


def test_a_loss_a_schedule_and_a_metric_are_an_entry_each(copy: Path) -> None:
    blocks = dict(re.findall(BLOCKS, (ROOT / "docs" / "extending.md").read_text(), flags=re.S))
    assert list(blocks) == ["graphs/losses/poly.py", "utils/optimizers/schedules.py", "utils/metrics/label_counts.py"]
    (copy / "graphs/losses/poly.py").write_text(blocks["graphs/losses/poly.py"])
    loss = "from graphs.losses.poly import Poly1"
    add_entry(copy / "graphs/losses/__init__.py", "LOSSES", '"poly1": Poly1,', loss)
    schedule, metric = blocks["utils/optimizers/schedules.py"], blocks["utils/metrics/label_counts.py"]
    add_entry(copy / "utils/optimizers/schedules.py", "SCHEDULERS", '"polynomial": Polynomial,', schedule)
    add_entry(copy / "utils/metrics/label_counts.py", "METRICS", '"cohen_kappa": cohen_kappa,', metric)
    write_jsonl(copy / "tiny.jsonl", tiny_rows())
    (copy / "tiny.yaml").write_text(TINY_CONFIG)
    words = ["loss.name=poly1", "scheduler.name=polynomial", "metrics=[accuracy, cohen_kappa]", "train.num_epochs=20"]
    test = start(copy, "tiny.yaml", *words, "train.monitor=+cohen_kappa", "name=added")["test"]
    gold, predicted = [], []
    for line in map(json.loads, (copy / "experiments/added/predictions.jsonl").read_text().splitlines()):
        gold.append(line["gold"])
        predicted.append(line["predicted"])
    assert test["cohen_kappa"] > 0.7
    assert test["cohen_kappa"] == pytest.approx(cohen_kappa_score(gold, predicted))
    names = [
        "graphs/losses/poly.py",
        "utils/optimizers/schedules.py",
        "utils/metrics/label_counts.py",
        "--cache-dir",
        str(ROOT / ".mypy_cache"),
    ]
    command = [sys.executable, "-m", "mypy", *names]
    typed = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert typed.returncode == 0, typed.stdout


def test_the_agent_in_the_readme_is_the_one_in_the_tree() -> None:
    (block,) = re.findall(r"```python\n(class RegressionAgent.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    code = (ROOT / "agents/regression.py").read_text()
    lines = [re.sub(r"  # .*", "", line) for line in block.splitlines() if line.strip()]
    assert len(lines) > 10
    assert [line for line in lines if line not in re.sub(r"  # .*", "", code)] == []
