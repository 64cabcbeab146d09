"""Exports of a trained classifier: each form answers as the run does, and what is damaged or does not pass is refused."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY_CONFIG, tiny_rows, write_jsonl

from agents.exports import examples, graph
from agents.running.predictor import Predictor
from main import main

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
FORMS = ("onnx", "int8", "bundle")
ROWS = [{"title": "", "text": "x"}, {"title": "the wind", "text": "tie the rope " * 50}, *tiny_rows(20)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run x, a BiLSTM for each of two fields, and its exports."""
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder):
        write_jsonl(folder / "tiny.jsonl", tiny_rows())
        config = TINY_CONFIG.replace("head:\n  hidden_sizes: [8]\n  dropout: 0.1\n", "").replace(
            "epochs: 2", "epochs: 6"
        )
        (folder / "x.yaml").write_text(config)
        assert main(["x.yaml"]) == 0
        assert json.loads((folder / "experiments/x/report.json").read_text())["test"]["accuracy"] == 1.0
        for form in FORMS:
            assert main(["export", "experiments/x", "--format", form, "--out", form]) == 0
    return folder


@pytest.fixture
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, to be written into."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    """Standard output, or of a refusal its last line."""
    capsys.readouterr()
    assert main(list(words)) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out if code == 0 else err.splitlines()[-1]


def probabilities(folder: str) -> list[list[float]]:
    return [list(line["probabilities"].values()) for line in Predictor(folder).predict(ROWS)]


@pytest.mark.parametrize("form", ["onnx", "bundle"])
def test_an_exact_form_gives_the_report_and_the_probabilities_of_the_run(
    place: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    ours, theirs = (json.loads(said(capsys, 0, "test", name, "--json")) for name in ("experiments/x", form))
    assert ours.pop("loss") == pytest.approx(theirs.pop("loss"), abs=1e-5)
    assert ours == theirs
    for wanted, found in zip(probabilities("experiments/x"), probabilities(form), strict=True):
        assert found == pytest.approx(wanted, abs=1e-4)
    assert "largest difference" in said(capsys, 0, "verify", form)


def test_8_bits_keep_the_labels(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = (json.loads(said(capsys, 0, "test", name, "--json")) for name in ("experiments/x", "int8"))
    assert theirs["accuracy"] == ours["accuracy"]
    assert theirs["loss"] != ours["loss"]
    assert Path("int8/model.onnx").stat().st_size < Path("onnx/model.onnx").stat().st_size
    assert "accuracy" in said(capsys, 0, "verify", "int8")


def test_a_form_predicts_without_the_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "castle the king and pin the knight"
    wanted = json.loads(said(capsys, 0, "predict", "experiments/x", "--text", text))
    shutil.rmtree("experiments")
    for form in FORMS:
        answer = json.loads(said(capsys, 0, "predict", form, "--text", text))
        assert answer["predicted"] == wanted["predicted"]
        assert said(capsys, 0, "verify", form)


@pytest.mark.parametrize("form", FORMS)
def test_one_changed_byte_in_any_file_is_refused(place: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    files = [path for path in Path(form).rglob("*") if path.is_file()]
    assert len(files) >= 6
    for path in files:
        content = path.read_bytes()
        for at in (0, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
            for command in (["verify", form], ["predict", form, "--text", "x"]):
                assert str(path) in said(capsys, 4, *command)
        path.unlink()
        assert str(path) in said(capsys, 4, "verify", form)
        path.write_bytes(content)
    assert said(capsys, 0, "verify", form)


def scaled_graph(factor: float) -> bytes:
    """The graph of the run with other weights in its last layer."""
    model = onnx.load("onnx/model.onnx")
    (weight,) = [each for each in model.graph.initializer if each.name.endswith("head.layers.0.weight")]
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(factor), weight.name))
    return bytes(model.SerializeToString())


def test_a_graph_that_answers_otherwise_is_refused_and_leaves_nothing(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "to_onnx", lambda model, fields: scaled_graph(1.01))
    line = said(capsys, 4, "export", "experiments/x", "--format", "onnx", "--out", "other")
    assert "other: does not answer as the run does on 25 texts: a probability differs by" in line
    assert not [path for path in Path().iterdir() if path.name.startswith((".tmp-", "other"))]


def test_8_bits_that_lose_labels_are_refused_with_the_figures(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "to_onnx", lambda model, fields: scaled_graph(-1))
    line = said(capsys, 4, "export", "experiments/x", "--format", "int8", "--out", "other")
    assert "the same label for" in line
    assert "points of accuracy lost (at most 0.5)" in line
    assert not Path("other").exists()


def test_texts_for_the_check_may_be_given(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("tiny.jsonl").rename("moved.jsonl")
    command = ["export", "experiments/x", "--format", "bundle", "--out", "other"]
    line = said(capsys, 3, *command)
    assert "tiny.jsonl" in line
    assert "give some with --data FILE" in line
    write_jsonl(place / "texts.jsonl", [{"title": row["title"], "text": row["text"]} for row in tiny_rows(7)])
    assert "8 texts" in said(capsys, 0, *command, "--data", "texts.jsonl")
    assert "no column 'label'" in said(
        capsys, 3, "export", "experiments/x", "--out", "third", "--format", "int8", "--data", "texts.jsonl"
    )


@pytest.mark.parametrize("form", FORMS)
def test_a_text_with_any_line_end_is_verified(place: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    texts = [
        "castle\u2028the king",
        "pin\u2029the knight",
        "boil\x85the rice",
        "tie\x0bthe\x1crope",
        "salt\r\nthe soup",
    ]
    write_jsonl(place / "texts.jsonl", [{"title": "", "text": text, "label": "chess"} for text in texts])
    words = ["--format", form, "--out", "other", "--data", "texts.jsonl"]
    said(capsys, 0, "export", "experiments/x", *words)
    assert said(capsys, 0, "verify", "other")


def test_8_bits_answer_a_text_alike_in_any_company(place: Path) -> None:
    together = probabilities("int8")
    alone = [list(Predictor("int8").predict([row])[0]["probabilities"].values()) for row in ROWS]
    assert together == alone


def test_what_is_no_export_of_ours_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is a run, not an export" in said(capsys, 4, "verify", "experiments/x")
    assert "is an export; export the run that it was made of (x)" in said(
        capsys, 2, "export", "bundle", "--format", "onnx"
    )
    assert "onnx: already exists" in said(capsys, 5, "export", "experiments/x", "--format", "onnx", "--out", "onnx")
    Path("published").mkdir()
    Path("published/config.json").write_text('{"model_type": "bert"}')
    assert "is a published model without the run that it was made of; name it in init_from" in said(
        capsys, 4, "predict", "published", "--text", "x"
    )
    Path("bundle/EXPORT.json").write_text("[]")
    assert "bundle/EXPORT.json: is damaged" in said(capsys, 4, "test", "bundle")


@pytest.mark.parametrize("form", ["onnx", "int8", "bundle"])
def test_an_export_where_the_run_itself_is_needed(place: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    line = f"{form}: is an export of a run, which predict, test and the like can use; here give the folder of the run itself"
    assert said(capsys, 4, "fill", form, "chess [MASK]") == line
    Path("pairs.csv").write_text("sent_more,sent_less\na,b\n")
    assert said(capsys, 4, "minimal-pairs", form, "--data", "pairs.csv") == line
    assert said(capsys, 4, "x.yaml", "name=y", f"init_from={form}") == line
    if form != "bundle":
        for words in ([], ["--label", "chess"]):
            assert "shows no tensors; give the run it was" in said(capsys, 2, "walk", form, "--text", "x", *words)
    assert main(["compare", form]) == 4
    assert capsys.readouterr().err == (
        f"skipped: {line}\n1 folder: 0 compared, 0 unfinished, 1 skipped\ncompare: no finished run in {form}\n"
    )


def test_a_missing_package_is_named(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert said(capsys, 2, "predict", "onnx", "--text", "x").endswith("pip install onnxruntime")
    line = said(capsys, 2, "export", "experiments/x", "--format", "onnx", "--out", "other")
    assert line.endswith("pip install onnx onnxscript onnxruntime")


def test_the_folder_has_its_name_only_once_it_passed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(predictor: Predictor, lines: list[dict[str, Any]]) -> dict[str, Any]:
        assert not Path("other").exists()
        assert predictor.folder.name.startswith(".tmp-other")
        return real(predictor, lines)

    real = examples.compared
    monkeypatch.setattr(examples, "compared", look)
    assert main(["export", "experiments/x", "--format", "bundle", "--out", "other"]) == 0
    assert json.loads(Path("other/EXPORT.json").read_text())["check"]["same_answer"] == 1.0
