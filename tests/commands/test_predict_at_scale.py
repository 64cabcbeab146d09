"""predict: several processes, kill -9 and --resume, CSV and Parquet, options of the answers, each with the others."""

import contextlib
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import ROOT, TINY_CONFIG, tiny_rows, write_jsonl
from pyarrow import parquet

from main import main

NUM_ROWS, CHUNK = 410, 16
CONFIGS = {
    "x": TINY_CONFIG,
    "several": TINY_CONFIG.replace("data:\n", "data:\n  multi_label: true\n"),
    "number": TINY_CONFIG.replace("classification", "regression").replace("data:\n", "data:\n  label: length\n"),
    "no_valid": TINY_CONFIG.replace("[0.6, 0.2, 0.2]", "[0.8, 0, 0.2]"),
}
ANSWERS = [[], ["--calibrate"], ["--top-k", "2"], ["--abstain-below", "0.6"], ["--coverage", "0.8"]]
ANSWERS.append([word for words in ANSWERS for word in words])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each of CONFIGS."""
    folder, before = tmp_path_factory.mktemp("trained"), Path.cwd()
    os.chdir(folder)
    try:
        write_jsonl(folder / "tiny.jsonl", [row | {"length": len(row["text"])} for row in tiny_rows()])
        for name, config in CONFIGS.items():
            (folder / f"{name}.yaml").write_text(config)
            assert main([f"{name}.yaml"]) == 0, name
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def folder(trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder to work in, with the runs and texts of many chunks in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("agents.predicting.parallel.CHUNK", CHUNK)
    (tmp_path / "experiments").symlink_to(trained / "experiments")
    (tmp_path / "tiny.jsonl").symlink_to(trained / "tiny.jsonl")
    write_jsonl(tmp_path / "texts.jsonl", tiny_rows(NUM_ROWS))
    return tmp_path


def predict(capsys: pytest.CaptureFixture[str], *words: str, run: str = "x") -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["predict", f"experiments/{run}", *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def answers(capsys: pytest.CaptureFixture[str], *words: str, run: str = "x") -> list[dict[str, Any]]:
    code, out, err = predict(capsys, "--input", "texts.jsonl", *words, run=run)
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


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


# Killed and resumed.


def forked(*words: str) -> int:
    """`main` in a copy of this process, whose id it returns."""
    process = os.fork()
    if process == 0:
        os._exit(main(["predict", "experiments/x", *words]))
    return process


def ended(process: int) -> int:
    """The exit code of such a copy; negative: the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def killed_at(process: int, path: Path, size: int, delay: float) -> int:
    """Kill such a copy some time after its file has a size; -> its exit code, if it ends before that."""
    while not path.exists() or path.stat().st_size < size:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(process, signal.SIGKILL)
    return ended(process)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="one"),
        pytest.param(["--jobs", "2"], id="jobs", marks=pytest.mark.full),
        pytest.param(["--top-k", "1"], id="csv", marks=pytest.mark.full),
    ],
)
def test_killed_at_any_moment_it_loses_and_doubles_no_line(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """The same bytes as without a kill, and under the file's name never anything else."""
    name = "out.csv" if words == ["--top-k", "1"] else "out.jsonl"
    whole = folder / f"whole-{name}"
    write_jsonl(folder / "texts.jsonl", tiny_rows(5000))
    assert predict(capsys, "--input", "texts.jsonl", "--output", whole.name, *words)[0] == 0
    chance, codes, partial = random.Random(len(words)), list[int](), folder / f"{name}.partial" / "lines.jsonl"
    while 0 not in codes:
        assert not (folder / name).exists()
        size = (partial.stat().st_size if partial.exists() else 0) + chance.randrange(200_000)
        process = forked("--input", "texts.jsonl", "--output", name, "--resume", *words)
        codes.append(killed_at(process, partial, size, chance.uniform(0, 0.02)))
    assert codes[:-1] == [-signal.SIGKILL] * (len(codes) - 1)
    assert len(codes) > 4
    assert (folder / name).read_bytes() == whole.read_bytes()
    assert ended(forked("--input", "texts.jsonl", "--output", name, "--resume", *words)) == 0
    assert (folder / name).read_bytes() == whole.read_bytes()
    assert not [path for path in folder.iterdir() if path.name.endswith(".partial") or path.name.startswith(".tmp-")]


@pytest.fixture
def unfinished(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    """The folder of a prediction that a bad row at its end has stopped, and the lines that it should have."""
    expected = predict(capsys, "--input", "texts.jsonl")[1]
    with (folder / "texts.jsonl").open("a") as file:
        file.write("{\n")
    code, _, err = predict(capsys, "--input", "texts.jsonl", "--output", "out.jsonl")
    assert code == 3
    assert "out.jsonl.partial; --resume goes on from there" in err
    assert not (folder / "out.jsonl").exists()
    return folder / "out.jsonl.partial", expected


def test_a_bad_row_that_is_fixed_is_gone_on_from(
    unfinished: tuple[Path, str], folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_jsonl(folder / "texts.jsonl", tiny_rows(NUM_ROWS))
    predicted = list[int]()
    from agents.running.predictor import Predictor

    lines = Predictor.lines
    monkeypatch.setattr(Predictor, "lines", lambda self, chunk: predicted.append(len(chunk)) or lines(self, chunk))
    assert predict(capsys, "--input", "texts.jsonl", "--output", "out.jsonl", "--resume")[0] == 0
    assert (folder / "out.jsonl").read_text() == unfinished[1]
    assert predicted == [NUM_ROWS % CHUNK], "all but the last chunk were there"


@pytest.mark.parametrize(
    "tail",
    [b"{", b"\0" * 50_000, b'{"id": "texts.jsonl:1"', b"\0" * 50, b"\0" * 50 + b"\n", b"\xff\n", b"[]\n", b"1\n"],
)
def test_what_is_not_whole_is_made_again(
    unfinished: tuple[Path, str], folder: Path, capsys: pytest.CaptureFixture[str], tail: bytes
) -> None:
    write_jsonl(folder / "texts.jsonl", tiny_rows(NUM_ROWS))
    with (unfinished[0] / "lines.jsonl").open("ab") as file:
        file.write(tail)
    code, _, err = predict(capsys, "--input", "texts.jsonl", "--output", "out.jsonl", "--resume")
    assert (code, (folder / "out.jsonl").read_text()) == (0, unfinished[1]), err


def test_other_texts_and_another_run_are_refused(
    unfinished: tuple[Path, str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (unfinished[0] / "lines.jsonl").read_bytes()
    write_jsonl(folder / "few.jsonl", tiny_rows(100))
    rows = tiny_rows(NUM_ROWS)
    write_jsonl(folder / "texts.jsonl", [*rows[:50], rows[50] | {"text": "other"}, *rows[51:]])
    cases = {
        "texts.jsonl:51 is not what the input has at texts.jsonl:51": ["--input", "texts.jsonl"],
        "texts.jsonl:1 is not what the input has at few.jsonl:1": ["--input", "few.jsonl"],
        "was made with top_k None, not 2; give the same run and options": ["--input", "texts.jsonl", "--top-k", "2"],
        "was made with temperature None, not [": ["--input", "texts.jsonl", "--calibrate"],
    }
    for problem, words in cases.items():
        code, _, err = predict(capsys, *words, "--output", "out.jsonl", "--resume")
        assert (code, problem in err.splitlines()[-1]) == (2, True), err
    write_jsonl(folder / "texts.jsonl", rows[:100])
    code, _, err = predict(capsys, "--input", "texts.jsonl", "--output", "out.jsonl", "--resume")
    assert (code, "more lines than the input has rows" in err.splitlines()[-1]) == (2, True), err
    code, _, err = predict(capsys, "--input", "texts.jsonl", "--output", "out.jsonl", "--resume", run="no_valid")
    assert (code, "was made with checkpoint " in err) == (2, True)
    assert (unfinished[0] / "lines.jsonl").read_bytes() == before
    assert predict(capsys, "--input", "few.jsonl", "--output", "out.jsonl")[0] == 0, "without --resume it begins anew"
    assert not unfinished[0].exists()


def test_a_folder_of_that_name_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out.jsonl.partial").mkdir()
    (folder / "out.jsonl.partial" / "mine").write_text("kept")
    (folder / "other.jsonl.partial").symlink_to("experiments")
    (folder / "third.jsonl.partial").write_text("kept")
    for name in ("out.jsonl", "other.jsonl", "third.jsonl"):
        code, _, err = predict(capsys, "--input", "texts.jsonl", "--output", name)
        assert (code, "is not an unfinished prediction" in err) == (5, True), err
    assert (folder / "out.jsonl.partial" / "mine").read_text() == "kept"


# Several processes.


@pytest.fixture
def fed(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A prediction by two processes that has written lines, and waits for more on standard input."""
    command = [
        sys.executable,
        str(ROOT / "main.py"),
        "predict",
        "experiments/x",
        "--input",
        "-",
        "--output",
        "out.jsonl",
    ]
    process = subprocess.Popen(
        [*command, "--jobs", "2"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    feed(process, 8000)
    path = folder / "out.jsonl.partial" / "lines.jsonl"
    until(lambda: path.exists() and path.stat().st_size > 0)
    yield process
    process.kill()
    process.wait()


def feed(process: "subprocess.Popen[str]", number: int) -> None:
    assert process.stdin is not None
    for row in tiny_rows(number):
        process.stdin.write(json.dumps(row) + "\n")
    process.stdin.flush()


def until(is_so: Any) -> None:
    for _ in range(1200):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it takes too long")


def test_a_killed_process_is_one_clear_error(fed: "subprocess.Popen[str]", folder: Path) -> None:
    children = psutil.Process(fed.pid).children()
    assert len(children) == 2
    children[0].kill()
    with contextlib.suppress(BrokenPipeError):
        feed(fed, 100_000)
    assert fed.stderr is not None
    lines = fed.stderr.read().splitlines()
    assert fed.wait(60) == 7, lines
    assert lines[-1] == "one of the 2 processes of --jobs was killed (out of memory?); use fewer"
    assert "Traceback" not in "".join(lines)
    assert not (folder / "out.jsonl").exists()
    until(lambda: not any(child.is_running() for child in children))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all(fed: "subprocess.Popen[str]", folder: Path, number: int) -> None:
    children = psutil.Process(fed.pid).children()
    os.killpg(fed.pid, number)  # as a terminal does
    assert fed.wait(60) == 128 + number
    until(lambda: not any(child.is_running() for child in children))
    assert not (folder / "out.jsonl").exists()
    assert (folder / "out.jsonl.partial" / "lines.jsonl").stat().st_size > 0


# What is refused.

REFUSED: dict[str, tuple[int, str]] = {
    "--text a --top-k 0": (2, "--top-k must be at least 1, got 0"),
    "--text a --top-k 4": (2, "--top-k must be at most 3, the number of labels, got 4"),
    "--text a --abstain-below 1.5": (2, "--abstain-below must be between 0 and 1, got 1.5"),
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
