"""audit: a run of the program, from a file with other columns and labels to the three reports; and what is refused."""

import contextlib
import html
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import SUBJECTS, TINY_CONFIG, tiny_rows, write_jsonl

from main import main

RUN = "experiments/x"
TINY = TINY_CONFIG.replace("num_epochs: 2", "num_epochs: 1")
ONE_FIELD = TINY.replace("[title, text]", "[text]")
CONFIGS = {
    "x": ONE_FIELD.replace("num_epochs: 1", "num_epochs: 2"),
    "two": TINY,
    "multi": ONE_FIELD.replace("  fields", "  multi_label: true\n  fields"),
    "number": ONE_FIELD.replace("agent: classification", "agent: regression").replace("tiny.jsonl", "numbers.jsonl"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of one field, one of two, one of several labels and one of numbers."""
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder):
        write_jsonl(folder / "tiny.jsonl", tiny_rows())
        write_jsonl(folder / "numbers.jsonl", [{**row, "label": len(row["text"])} for row in tiny_rows()])
        for name, config in CONFIGS.items():
            (folder / f"{name}.yaml").write_text(config)
            assert main([f"{name}.yaml"]) == 0
    return folder


TEXTS = [(text, subject) for subject, texts in SUBJECTS.items() for text in texts]
ROWS = [
    {
        "Sentence": f"{'Mary' if i % 2 else 'John'} will {text}, {'she' if i % 2 else 'he'} said.",
        "Topic": subject.upper(),
        "Gender": "female" if i % 2 else "male",
        "Age": "" if i % 5 == 0 else str(20 + i % 3),
        "Nr": f"n{i}",
    }
    for i, (text, subject) in enumerate(TEXTS)
]
COLUMNS = ["--columns", "text=Sentence,label=Topic,id=Nr"]
MAP = ["--map", "COOKING=cooking,SAILING=sailing", "--map", "CHESS=chess"]


@pytest.fixture
def folder(trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder to work in, with the runs and texts.jsonl."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained / "experiments", tmp_path / "experiments")
    write_jsonl(tmp_path / "texts.jsonl", ROWS)
    return tmp_path


def audit(capsys: pytest.CaptureFixture[str], *words: str, run: str = RUN) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["audit", run, *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def audited(capsys: pytest.CaptureFixture[str], *words: str, run: str = RUN) -> dict[str, Any]:
    """The audit.json of a successful audit into the folder `out`."""
    shutil.rmtree("out", ignore_errors=True)
    code, _, err = audit(capsys, *words, "--out", "out", run=run)
    assert code == 0, err
    values: dict[str, Any] = json.loads(Path("out/audit.json").read_text())
    return values


def test_the_whole_audit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "swaps.yaml").write_text("gender: [[he, she], [John, Mary]]\n")
    others = [row | {"Sentence": row["Sentence"].replace("John", "Ali")} for row in ROWS]
    write_jsonl(folder / "others.jsonl", others)
    words = [*COLUMNS, *MAP, "--positive", "chess", "--groups", "Gender,Age", "--swaps", "swaps.yaml"]
    code, out, err = audit(capsys, "--data", "texts.jsonl", *words, "--pairs-with", "others.jsonl")
    assert code == 0, err
    at = folder / RUN / "audit-texts"
    assert sorted(path.name for path in at.iterdir()) == ["audit.json", "report.html", "report.md"]
    values, page = json.loads((at / "audit.json").read_text()), (at / "report.html").read_text()
    by_name = {grouping["name"]: grouping for grouping in values["groupings"]}
    assert list(by_name) == ["all rows", "Gender", "Age", "Gender and Age"]
    assert by_name["Gender"]["sizes"] == {"female": 7, "male": 8}
    assert by_name["Age"]["sizes"] == {"(none)": 3, "20": 4, "21": 4, "22": 4}
    assert values["swaps"][0]["num_texts"] == 15
    assert set(values["swaps"][0]["by_note"]) == {"he → she", "she → he", "John → Mary", "Mary → John"}
    assert values["pairs"][0]["num_texts"] == 8
    assert [test["name"] for test in values["tests"]] == ["typo", "upper case", "punctuation", "names", "negation"]
    assert "By Gender and Age" in out
    assert not re.search(r"<script|src=|href=|url\(|https?://(?!www\.w3\.org/2000/svg)", page), "it needs no other file"
    assert "What these figures do not show" in page
    assert "## Gaps by Gender" in (at / "report.md").read_text()


def test_its_figures_are_those_of_predict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = audited(capsys, "--data", "texts.jsonl", *COLUMNS, *MAP, "--positive", "chess", "--groups", "Gender")
    write_jsonl(folder / "own.jsonl", [{"text": row["Sentence"]} for row in ROWS])
    assert main(["predict", RUN, "--input", "own.jsonl"]) == 0
    said = [json.loads(line)["predicted"] for line in capsys.readouterr().out.splitlines()]
    gold = [row["Topic"].lower() for row in ROWS]
    right = [one == other for one, other in zip(said, gold, strict=True)]
    female = [own for own, row in zip(right, ROWS, strict=True) if row["Gender"] == "female"]
    metrics = values["groupings"][1]["metrics"]
    assert metrics["accuracy"]["female"]["value"] == pytest.approx(sum(female) / len(female))
    chosen = values["groupings"][0]["metrics"]["selection_rate[chess]"]["all"]["value"]
    assert chosen == pytest.approx(said.count("chess") / len(said))


def test_names_with_commas_stand_in_quotation_marks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in CSV, which is what a run with such labels, and such columns, is made of."""
    rows = [
        {"text": row["Sentence"], "label": "no, not" if i % 2 else "yes", "a, b": i % 3} for i, row in enumerate(ROWS)
    ]
    write_jsonl(folder / "commas.jsonl", rows)
    (folder / "commas.yaml").write_text(
        ONE_FIELD.replace("tiny.jsonl", "commas.jsonl").replace("[0.6, 0.2, 0.2]", "[1, 0, 0]")
    )
    assert main(["commas.yaml", "train.patience=null"]) == 0
    words = ["--data", "commas.jsonl", "--groups", '"a, b"', "--positive", '"no, not"']
    values = audited(capsys, *words, run="experiments/commas")
    assert [grouping["name"] for grouping in values["groupings"]] == ["all rows", "a, b"]
    assert values["positive"] == "no, not"
    code, _, err = audit(capsys, *words[:-1], "no, not", run="experiments/commas")
    assert (code, '--positive no: is not a label of the run; it has "no, not", yes' in err) == (2, True)


def test_names_are_no_markup_and_a_column_of_one_value_is_a_column(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(folder / "odd.jsonl", [row | {"G": "<script>|x"} for row in ROWS])
    audited(capsys, "--data", "odd.jsonl", *COLUMNS, *MAP, "--groups", "G")
    text = Path("out/report.md").read_text()
    assert "## All rows" in text
    assert "## By G\n" in text
    assert "| &lt;script>\\|x |" in text
    assert "<script" not in text


def test_the_same_command_gives_the_same_bytes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "swaps.yaml").write_text("[[he, she]]")
    words = ["--data", "texts.jsonl", *COLUMNS, *MAP, "--swaps", "swaps.yaml", "--sample", "7"]
    found = []
    for seed in ("0", "0", "1"):
        audited(capsys, *words, "--seed", seed)
        found.append([Path("out", name).read_bytes() for name in ("audit.json", "report.md", "report.html")])
    assert found[0] == found[1]
    assert found[0][0] != found[2][0]


def test_terms_that_the_model_does_not_know_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "swaps.yaml").write_text("food: [[soup, rice, qua soup, Zarathustra, xyz]]\nboats: [[sail, anchor]]\n")
    (folder / "groups.yaml").write_text("one: [soup]\nother: [xyz]\n")
    words = ["--data", "texts.jsonl", *COLUMNS, *MAP, "--swaps", "swaps.yaml", "--group-terms", "groups.yaml"]
    code, out, err = audit(capsys, *words, "--out", "out")
    assert code == 0, err
    values = json.loads(Path("out/audit.json").read_text())
    assert values["unknown"] == {"food": [["Zarathustra", "xyz"], 5], "boats": [[], 2], "groups": [["xyz"], 2]}
    line = "The model does not know 2 of the 5 terms of food: 'Zarathustra', 'xyz'. "
    assert line in out
    assert line in Path("out/report.md").read_text()
    assert html.escape(line) in Path("out/report.html").read_text()
    assert "terms of boats" not in out


def test_texts_without_labels(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "terms.yaml").write_text("women: [she]\nmen: [he]\n")
    (folder / "texts.txt").write_text("".join(row["Sentence"] + "\n" for row in ROWS))
    values = audited(capsys, "--data", "texts.txt", "--group-terms", "terms.yaml", "--positive", "chess")
    (_, terms) = values["groupings"]
    assert terms["sizes"] == {"men": 8, "women": 7}
    assert set(terms["metrics"]) == {f"selection_rate[{label}]" for label in SUBJECTS}


def test_several_labels_of_interest_count_as_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", "texts.jsonl", *COLUMNS, *MAP, "--positive", "chess,sailing"]
    both, other = audited(capsys, *words), audited(capsys, *words[:-1], "cooking")
    metrics, one = (values["groupings"][0]["metrics"] for values in (both, other))
    for found, expected in zip(both["tests"][:4], other["tests"], strict=False):
        assert found["change"]["value"] == pytest.approx(-expected["change"]["value"], abs=1e-6)
    assert list(metrics) == [
        "accuracy", "macro_f1", "false_positive_rate", "false_negative_rate", "selection_rate[chess or sailing]",
    ]  # fmt: skip
    assert metrics["false_negative_rate"]["all"]["value"] == one["false_positive_rate"]["all"]["value"]
    chosen = one["selection_rate[cooking]"]["all"]["value"]
    assert metrics["selection_rate[chess or sailing]"]["all"]["value"] == pytest.approx(1 - chosen)


def test_a_run_of_two_fields_and_one_of_several_labels(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", "texts.jsonl", "--columns", "text=Sentence,label=Topic", *MAP]
    values = audited(capsys, *words, "--columns", "title=Gender", "--groups", "Gender", run="experiments/two")
    assert values["groupings"][1]["sizes"] == {"female": 7, "male": 8}
    values = audited(capsys, *words, "--positive", "chess", run="experiments/multi")
    assert "selection_rate[chess]" in values["groupings"][0]["metrics"]


def test_a_group_of_one_row_is_reported_and_not_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(folder / "texts.jsonl", [{**row, "Gender": "x"} if i == 0 else row for i, row in enumerate(ROWS)])
    values = audited(capsys, "--data", "texts.jsonl", *COLUMNS, *MAP, "--groups", "Gender")
    gender = values["groupings"][1]
    assert gender["sizes"]["x"] == 1
    assert gender["metrics"]["accuracy"]["x"]["low"] is None
    assert all("x" not in (gap["largest"], gap["smallest"]) for gap in gender["gaps"])
    assert "- x: one row, not compared" in Path("out/report.md").read_text()


def test_groups_of_one_row_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = audited(capsys, "--data", "texts.jsonl", *COLUMNS, *MAP, "--groups", "Nr")
    assert values["groupings"][1]["gaps"] == []
    assert "nothing is compared" in Path("out/report.md").read_text()


def test_what_a_file_holds_is_text_in_the_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{**row, "<b>": "<script>alert(1)</script>", "Sentence": f"{row['Sentence']} <b>x"} for row in ROWS]
    write_jsonl(folder / "texts.jsonl", rows)
    audited(capsys, "--data", "texts.jsonl", *COLUMNS, *MAP, "--groups", "<b>")
    page = Path("out/report.html").read_text()
    assert "<script" not in page
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["--groups", "Gendre"],
            3,
            "texts.jsonl:1: there is no column 'Gendre'; did you mean Gender? There are 'Sentence', ",
        ),
        (
            ["--groups", "colour"],
            3,
            "there is no column 'colour'; there are 'Sentence', 'Topic', 'Gender', 'Age', 'Nr'",
        ),
        (["--positive", "maths"], 2, "--positive maths: is not a label of the run; it has chess, cooking, sailing"),
        (["--map", "COOKING=maths"], 2, "--map COOKING=maths: the run has no label 'maths'; it has chess, cooking"),
        (["--map", "COOKING"], 2, "--map COOKING: must be A=B"),
        (["--columns", "label=Nr"], 2, "--columns gives 'label' twice"),
        (["--columns", "body=Sentence"], 2, "--columns: the run has no column 'body'; it has text, label, id"),
        (["--swaps", "none.yaml"], 2, "none.yaml: cannot be read: No such file"),
        (["--sample", "0"], 2, "--sample must be at least 1, got 0"),
        (["--seed", "-1"], 2, "--seed must be at least 0, got -1"),
        (["--pairs-with", "short.jsonl"], 3, "short.jsonl: has 14 rows, texts.jsonl has 15"),
        (["--pairs-with", "other.jsonl"], 3, "other.jsonl:1: has the id n1, and texts.jsonl:1 has n0"),
        (["--out", "texts.jsonl"], 5, "texts.jsonl: already exists; remove it, or give another folder with --out"),
        (["--device", "abacus"], 2, "abacus"),
        (["--format", "xml"], 2, "--format must be one of"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused(folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str) -> None:
    write_jsonl(folder / "short.jsonl", ROWS[:-1])
    write_jsonl(folder / "other.jsonl", ROWS[1:] + ROWS[:1])
    before = [] if words[0] == "--map" else MAP
    found, out, err = audit(capsys, "--data", "texts.jsonl", *COLUMNS, *before, *words)
    assert (found, out) == (code, ""), err
    assert message in err.splitlines()[-1]
    assert not (folder / RUN / "audit-texts").exists()


@pytest.mark.parametrize(
    ("content", "words", "code", "message"),
    [
        ("", [], 3, "bad.csv: has no rows to audit"),
        ("text,label\n", [], 3, "bad.csv: has no rows to audit"),
        ("a,b\n1,2\n", [], 3, "bad.csv:1: there is no column 'text'; there are 'a', 'b' (see --columns)"),
        ("a,b\n1,2\n", ["--columns", "text=c"], 3, "bad.csv:1: there is no column 'c'; there are 'a', 'b'"),
        ("a,a\n1,2\n", ["--columns", "text=a"], 3, "bad.csv:1: the column 'a' appears twice in the header"),
        (
            "text,label\nx,BAD\ny,chess\n",
            [],
            3,
            "labels that the run does not have: 'BAD' (1 row); it has chess, cooking",
        ),
        (
            "text,label\nx,chess\n ,chess\n",
            [],
            3,
            "bad.csv:3: no text; fix the row, or skip such rows with --on-bad-row skip",
        ),
    ],
    ids=[
        "empty",
        "only a header",
        "no field of the run",
        "no such column",
        "twice",
        "a label not mapped",
        "empty text",
    ],
)
def test_files_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], content: str, words: list[str], code: int, message: str
) -> None:
    (folder / "bad.csv").write_text(content, errors="surrogateescape")
    found, _, err = audit(capsys, "--data", "bad.csv", *words)
    assert found == code
    assert message in err.splitlines()[-1]


def test_no_run_no_labels_and_a_damaged_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", "texts.jsonl", *COLUMNS]
    code, _, err = audit(capsys, *words, run="experiments/none")
    assert (code, "experiments/none" in err.splitlines()[-1]) == (4, True)
    code, _, err = audit(capsys, *words, run="experiments/number")
    assert (code, "a run of agent regression has no labels to audit" in err.splitlines()[-1]) == (2, True)
    code, _, err = audit(capsys, *words, *MAP, run="experiments/multi")
    assert (code, "texts have several labels; choose with --positive LABEL" in err.splitlines()[-1]) == (2, True)
    for weights in (folder / RUN / "checkpoints").glob("*/model.safetensors"):
        weights.write_bytes(weights.read_bytes()[:-100])
    assert audit(capsys, *words)[0] == 4


def test_rows_that_are_left_out_are_counted_in_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "some.csv").write_text("text,label\nboil rice,cooking\n ,chess\ntie the sail,sailing\n")
    code, _, err = audit(capsys, "--data", "some.csv", "--on-bad-row", "skip")
    assert (code, "some.csv: 3 rows read = 2 audited + 1 skipped (1 no text)" in err) == (0, True)
