"""predict: options of the answers, each with the others, CSV and Parquet, and what is refused."""

import csv
import json
from pathlib import Path

import pytest
from conftest import tiny_rows, write_jsonl
from prediction_runs import CHUNK, NUM_ROWS, answers, folder, predict, trained  # noqa: F401
from pyarrow import parquet

from agents.predicting.shaping import Shape

ANSWERS = [[], ["--calibrate"], ["--top-k", "2"], ["--abstain-below", "0.6"], ["--coverage", "0.8"]]
ANSWERS.append([word for words in ANSWERS for word in words])


# What is answered.


def test_a_temperature_changes_probabilities_and_no_label(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in ("x", "several"):
        plain, calibrated = answers(capsys, run=run), answers(capsys, "--calibrate", run=run)
        assert [line["predicted"] for line in plain] == [line["predicted"] for line in calibrated]
        assert [line["probabilities"] for line in plain] != [line["probabilities"] for line in calibrated]


def test_top_k_are_the_first_of_the_sorted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for plain, top in zip(answers(capsys), answers(capsys, "--top-k", "2"), strict=True):
        expected = sorted(plain["probabilities"].items(), key=lambda item: item[1])[:0:-1]
        assert list(top["probabilities"].items()) == expected


def test_it_abstains_below_the_threshold_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = answers(capsys)
    threshold = sorted(max(line["probabilities"].values()) for line in plain)[NUM_ROWS // 4]
    lines = answers(capsys, "--abstain-below", str(threshold))
    for line, other in zip(lines, plain, strict=True):
        is_sure = max(line["probabilities"].values()) >= threshold
        assert line["predicted"] == (other["predicted"] if is_sure else None)
        assert ("abstained" in line) is not is_sure
    assert 0 < sum(line["predicted"] is None for line in lines) < NUM_ROWS


def test_a_set_holds_the_labels_above_the_quantile(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = answers(capsys, "--coverage", "0.8")
    kept = json.loads((folder / "experiments" / "x" / "calibration.json").read_text())["calibration"]
    gold = kept["gold"][0]
    assert len(gold) == kept["num_rows"] == 24
    least = gold[24 - 20]  # ceil(25 * 0.8) = 20
    for line in lines:
        assert line["label_set"] == [label for label, share in line["probabilities"].items() if share >= least]


def test_the_calibration_is_made_once_for_a_checkpoint(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = answers(capsys, "--calibrate")
    with monkeypatch.context() as context:
        context.delattr("agents.predicting.calibration.validation_outputs")
        assert answers(capsys, "--calibrate") == first
    path = folder / "experiments" / "x" / "calibration.json"
    path.write_text(path.read_text().replace('"nll": [', '"nll": [0, '))
    assert answers(capsys, "--calibrate") == first, "a damaged one is made again"


def test_the_calibration_of_changed_data_is_not_kept(
    folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    kept = folder / "experiments" / "x" / "calibration.json"
    kept.unlink(missing_ok=True)
    expected = answers(capsys, "--coverage", "0.8", "--calibrate")
    kept.unlink()
    names = ["chess", "cooking", "sailing"]
    rows = [row | {"label": names[names.index(row["label"]) - 1]} for row in tiny_rows()]
    (folder / "tiny.jsonl").rename("whole.jsonl")
    write_jsonl(folder / "tiny.jsonl", rows)
    assert answers(capsys, "--coverage", "0.8", "--calibrate") != expected
    assert "the data has changed since" in caplog.text
    Path("whole.jsonl").rename("tiny.jsonl")
    assert answers(capsys, "--coverage", "0.8", "--calibrate") == expected


@pytest.mark.parametrize("ending", ["csv.gz", "tsv", "xlsx"])
def test_an_ending_that_cannot_be_written_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    code, _, err = predict(capsys, "--input", "texts.jsonl", "--output", f"out.{ending}")
    last = ending.rpartition(".")[2]
    assert (code, err.splitlines()[-1]) == (
        2,
        f"command line: --output out.{ending}: .{last} cannot be written; .jsonl, .csv and .parquet can",
    )
    assert not Path(f"out.{ending}").exists()
    words = ["--output", f"out.{ending}", "--output-format", "jsonl"]
    assert predict(capsys, "--input", "texts.jsonl", *words)[0] == 0


@pytest.mark.parametrize(
    "words",
    [ANSWERS[-1], *(pytest.param(words, marks=pytest.mark.full) for words in ANSWERS[:-1])],
    ids=lambda words: " ".join(words) or "plain",
)
def test_every_way_gives_the_same_lines(folder: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """Standard output, a file, two processes, one text at a time, CSV and Parquet."""
    code, expected, err = predict(capsys, "--input", "texts.jsonl", *words)
    assert code == 0, err
    lines = [json.loads(line) for line in expected.splitlines()]
    for more in ([], ["--jobs", "2"], ["--resume"]):
        code, _, err = predict(capsys, "--input", "texts.jsonl", *words, "--output", "out.jsonl", *more)
        assert (code, (folder / "out.jsonl").read_text()) == (0, expected), err
    assert predict(capsys, "--input", "texts.jsonl", "--jobs", "2", *words)[1] == expected
    text = json.dumps({"title": lines[0]["title"], "text": lines[0]["text"]})
    (alone,) = map(json.loads, predict(capsys, "--text", text, *words)[1].splitlines())
    assert alone.keys() == lines[0].keys()
    assert alone["probabilities"] == pytest.approx(lines[0]["probabilities"], rel=1e-5)
    for jobs in ("1", "2"):
        for name in ("out.csv", "out.parquet"):
            assert predict(capsys, "--input", "texts.jsonl", *words, "--output", name, "--jobs", jobs)[0] == 0
        with (folder / "out.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [json.loads(row["probabilities"]) for row in rows] == [line["probabilities"] for line in lines]
        assert [row["predicted"] for row in rows] == [line["predicted"] or "" for line in lines]
        table = parquet.read_table(folder / "out.parquet").to_pylist()
        assert [dict(row["probabilities"]) for row in table] == [line["probabilities"] for line in lines]
        for row, line in zip(table, lines, strict=True):
            assert {name: value for name, value in row.items() if name in line} == {
                **line,
                "probabilities": row["probabilities"],
            }
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["experiments", "tiny.jsonl", "texts.jsonl", "out.jsonl", "out.csv", "out.parquet"]
    )


# What is refused.


def test_a_threshold_of_zero_is_given() -> None:
    """A run that has no labels refuses it like any other."""
    assert Shape(abstain_below=0.0).given() == ["--abstain-below"]
    assert Shape().given() == []


REFUSED: dict[str, tuple[int, str]] = {
    "--text a --top-k 0": (2, "--top-k must be at least 1, got 0"),
    "--text a --top-k 4": (2, "--top-k must be at most 3, the number of labels, got 4"),
    "--text a --abstain-below 1.5": (2, "--abstain-below must be between 0 and 1, got 1.5"),
    "--text a --abstain-below -0.1": (2, "--abstain-below must be between 0 and 1, got -0.1"),
    "--text a --abstain-below nan": (2, "--abstain-below must be between 0 and 1, got nan"),
    "--text a --coverage 0": (2, "--coverage must be between 0 and 1, without these, got 0"),
    "--text a --coverage 1": (2, "--coverage must be between 0 and 1, without these, got 1"),
    "--text a --coverage 0.99": (2, "--coverage 0.99 needs at least 99 validation rows, the run has 24"),
    "--text a --jobs 2": (2, "--jobs goes with --input"),
    "--text a --resume": (2, "--resume goes with --input"),
    "--text a --output-format parquet": (2, "Parquet needs a file as --output"),
    "--text a --attention --output-format csv": (2, "--attention is written as JSON lines only"),
    "--input texts.jsonl --jobs 0": (2, "--jobs must be at least 1, got 0"),
    "--input texts.jsonl --resume": (2, "--resume needs a file as --output"),
    "--input texts.jsonl --resume --output /dev/null": (2, "--resume needs a file as --output"),
    "--input latin.jsonl --output o.csv": (3, "latin.jsonl:1: not utf-8"),
    "--input empty.jsonl --jobs 2": (3, "empty.jsonl:1: no text"),
}


@pytest.mark.parametrize("words", REFUSED)
def test_bad_options_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str], words: str) -> None:
    (folder / "latin.jsonl").write_bytes(b'{"title": "\xff\xfe", "text": "\xe9"}\n')
    (folder / "empty.jsonl").write_text('{"title": "", "text": ""}\n')
    code, out, err = predict(capsys, *words.split())
    assert (code, out) == (REFUSED[words][0], ""), err
    assert REFUSED[words][1] in err.splitlines()[-1]


@pytest.mark.parametrize("words", ["--top-k 1", "--calibrate", "--coverage 0.8", "--abstain-below 0.5"])
def test_runs_that_cannot_are_refused(folder: Path, capsys: pytest.CaptureFixture[str], words: str) -> None:
    code, _, err = predict(capsys, "--text", "a", *words.split(), run="number")
    assert (code, f"agent regression cannot predict with {words.split()[0]}" in err) == (2, True), err
    code, _, err = predict(capsys, "--text", "a", *words.split(), run="several")
    assert code == (2 if words.split()[0] in ("--coverage", "--abstain-below") else 0), err
    code, _, err = predict(capsys, "--text", "a", *words.split(), run="no_valid")
    needs_valid = words.split()[0] in ("--coverage", "--calibrate")
    assert (code, "this run has no validation split" in err) == (2 if needs_valid else 0, needs_valid), err


def test_a_text_of_10_mb_is_predicted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(folder / "long.jsonl", [{"title": "a", "text": "rice" * 2_500_000}, *tiny_rows(3)])
    code, _, err = predict(capsys, "--input", "long.jsonl", "--output", "long.csv", "--top-k", "1")
    assert code == 0, err
    assert (folder / "long.csv").stat().st_size > 10_000_000
