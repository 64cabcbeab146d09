"""`compare` on real small runs: what is one recipe, what is refused, left out and said, in every form."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY_CONFIG, tiny_rows, write_jsonl

from main import main
from utils.files.sealed import sealed

RUNS = {"plain": [], "wide": ["model.embedding_size=32"]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recipes under three seeds each."""
    folder = tmp_path_factory.mktemp("compared")
    write_jsonl(folder / "tiny.jsonl", tiny_rows())
    (folder / "tiny.yaml").write_text(TINY_CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, words in RUNS.items():
            for seed in (1, 2, 3):
                words_of = [
                    f"name={name}-seed{seed}",
                    f"seed={seed}",
                    "train.num_epochs=2",
                    "metrics=[accuracy, macro_f1]",
                ]
                assert main(["tiny.yaml", *words_of, *words]) == 0
    return folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them to change."""
    shutil.copytree(trained, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work" / "experiments"


def output(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert main(["compare", *words]) == code
    captured = capsys.readouterr()
    return captured.out, captured.err


def report_of(runs: Path, name: str) -> dict:  # type: ignore[type-arg]
    return dict(json.loads((runs / name / "report.json").read_text()))


def test_a_recipe_is_a_row_with_the_spread_of_its_seeds(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = output(capsys, "--format", "csv", "--metric", "accuracy")
    rows = {row["config"]: row for row in csv.DictReader(io.StringIO(out))}
    assert set(rows) == set(RUNS)
    for name, row in rows.items():
        values = [report_of(runs, f"{name}-seed{seed}")["test"]["accuracy"] for seed in (1, 2, 3)]
        assert float(row["mean"]) == pytest.approx(np.mean(values))
        assert float(row["deviation"]) == pytest.approx(np.std(values, ddof=1))
        assert [float(value) for value in row["values"].split()] == values
        assert row["runs"] == "3"
        seconds = [report_of(runs, f"{name}-seed{seed}")["train"]["seconds"] for seed in (1, 2, 3)]
        assert float(row["seconds"]) == pytest.approx(np.mean(seconds))
    assert rows["wide"]["model.embedding_size"] == "32"
    assert not {"seed", "name", "train.num_epochs"} & set(next(iter(rows.values()))), "only what differs"


def test_every_form_says_the_same(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mean = np.mean([report_of(runs, f"wide-seed{seed}")["test"]["macro_f1"] for seed in (1, 2, 3)])
    for form, mark in {"table": "──", "md": "| --- |", "latex": r"\toprule", "html": "<svg"}.items():
        out, _ = output(capsys, "--format", form, "--metric", "macro_f1")
        assert f"{mean:.4f}" in out
        assert mark in out
        assert "other rows and other seeds" in out
        assert "seeds explain" in out
    assert "http" not in out.replace("http://www.w3.org/2000/svg", ""), "an HTML report needs nothing else"
    _, err = output(capsys, "--format", "html", "--output", "report.html")
    assert "written: report.html" in err
    assert Path("report.html").read_text().startswith("<!DOCTYPE html>")
    for place in ("nowhere/report.html", "experiments"):
        _, err = output(capsys, "--output", place, code=5)
        assert f"{place}: cannot be written" in err.splitlines()[-1]


def test_single_runs_get_mcnemars_test_and_their_disagreements(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = ["experiments/plain-seed1", "experiments/wide-seed1"]
    out, _ = output(capsys, *pair, "--metric", "accuracy")
    assert "McNemar's exact test p = " in out
    assert "other rows, the same models" in out
    out, err = output(capsys, *pair, "--rows")
    lines = [
        [json.loads(line) for line in (runs / Path(p).name / "predictions.jsonl").read_text().splitlines()]
        for p in pair
    ]
    different = [a["id"] for a, b in zip(*lines, strict=True) if a["predicted"] != b["predicted"]]
    assert [json.loads(line)["id"] for line in out.splitlines()] == different
    assert f"{len(different)} of {len(lines[0])} rows are answered differently" in err
    _, err = output(capsys, "--rows", code=2)
    assert "--rows needs two finished runs, got 6" in err


def test_a_metric_that_no_report_has_is_counted(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = output(capsys, "--metric", "macro_recall", "--format", "csv")
    assert out.splitlines()[1].split(",")[2] == "macro_recall"
    _, err = output(capsys, "--metric", "acuracy", code=2)
    assert "there is no metric 'acuracy' in all of these runs; known: loss, accuracy, macro_f1" in err


def test_loss_and_areas_are_compared_over_rows_too(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for metric in ("loss", "auroc"):  # AUROC is in no report
        out, _ = output(capsys, "--metric", metric)
        assert "other rows and other seeds" in out
        assert "seeds explain" in out
    report = report_of(runs, "plain-seed1")
    report.pop("digest")
    report["test"]["loss"] += 1  # as an agent's own loss is, of which predictions say nothing
    (runs / "plain-seed1" / "report.json").write_text(json.dumps(sealed(report)))
    out, _ = output(capsys, "--metric", "loss")
    assert "(other seeds)" in out


def test_other_test_rows_are_refused_or_kept_apart(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny.yaml", "name=other", "train.num_epochs=1", "data.split_seed=5"]) == 0
    _, err = output(capsys, "experiments/plain-seed1", "experiments/other", code=2)
    assert "were tested on different data (24 against 24 rows, the first difference in row 1)" in err
    out, err = output(capsys)
    assert "2 sets of test rows, which are not compared with each other: a table each" in err
    assert "other is better" not in out
    assert "better than other" not in out


def test_what_is_no_finished_run_is_named_and_counted(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "plain-seed1" / "report.json").unlink()
    (runs / "plain-seed2" / "report.json").write_text("{")
    (runs / "plain-seed3" / "config.yaml").write_text("agent: classification\n")
    (runs / "foreign").mkdir()
    (runs / "wide-seed1" / "predictions.jsonl").write_text('{"gold": "a"}\n')
    out, err = output(capsys)
    assert "experiments/plain-seed1: unfinished (no report yet; logged up to step " in err
    assert "plain-seed2: cannot be read" in err
    assert "plain-seed3/config.yaml: is damaged, or was changed by hand" in err
    assert "skipped: experiments/foreign: holds no run" in err
    assert "wide-seed1: cannot be read: predictions.jsonl has 1 lines, and 24 rows were tested" in err
    assert "7 folders: 2 compared, 1 unfinished, 4 skipped" in err
    assert "plain" not in out
    _, err = output(capsys, "experiments/plain-seed1", "experiments/wide-seed2", "--rows", code=2)
    assert err.startswith("experiments/plain-seed1: unfinished (no report yet")
    assert err.splitlines()[-1] == "compare: --rows needs two finished runs, got 1"


def test_a_named_folder_without_a_run_is_named_and_changes_nothing(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ["experiments/plain-seed1", "experiments/wide-seed1"]
    (runs.parent / "foreign" / "checkpoints").mkdir(parents=True)
    out, err = output(capsys, *pair, "foreign")
    assert out == output(capsys, *pair)[0]
    assert "skipped: foreign: holds no run" in err
    assert "3 folders: 2 compared, 0 unfinished, 1 skipped" in err
    assert main(["tiny.yaml", "name=other", "train.num_epochs=1", "data.split_seed=5"]) == 0
    _, err = output(capsys, "experiments/plain-seed1", "experiments/other", "foreign", code=2)
    assert "were tested on different data" in err


def test_a_folder_in_which_nothing_can_be_compared_is_refused(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny.yaml", "name=other", "train.num_epochs=1", "data.split_seed=5"]) == 0
    _, err = output(capsys, "--metric", "nosuch", "--format", "csv", "--output", "none.csv", code=2)
    assert "there is no metric 'nosuch' in all of these runs; known: loss, accuracy" in err.splitlines()[-1]
    assert not Path("none.csv").exists()


def test_a_negative_option_is_a_number_and_a_formula_is_text(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["name==1+1", "optimizer.name=Adafactor", "optimizer.beta2_decay=-0.7", "train.num_epochs=1"]
    assert main(["tiny.yaml", *words]) == 0
    out, _ = output(capsys, "--format", "csv", "--metric", "accuracy")
    rows = {row["config"]: row for row in csv.DictReader(io.StringIO(out))}
    assert rows["'=1+1"]["optimizer.beta2_decay"] == "-0.7"


def test_a_seed_counts_once(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(runs / "plain-seed1", runs / "a-copy")
    out, err = output(capsys, "--format", "csv")
    assert "experiments/plain-seed1: has the config and the seed of experiments/a-copy, and counts once" in err
    assert "7 folders: 6 compared, 0 unfinished, 0 skipped, 1 repeated" in err
    assert [line.split(",")[1] for line in out.splitlines()[1:]] == ["3", "3"]


def test_one_set_that_cannot_be_compared_does_not_stop_the_others(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tiny.yaml", "name=other", "train.num_epochs=1", "data.split_seed=5", "metrics=[mcc]"]) == 0
    (runs / "other" / "predictions.jsonl").unlink()
    out, err = output(capsys, "--metric", "macro_f1")
    assert "wide" in out
    both, _ = output(capsys, "--metric", "loss", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(both)))
    assert {(row["config"], row["test_set"]) for row in rows} == {("other", "1"), ("plain", "2"), ("wide", "2")}
    assert len({line.count(",") for line in both.splitlines()}) == 1
    assert "other (1 run): compare: there is no metric 'macro_f1' in all of these runs; known: loss, mcc" in err
    _, err = output(capsys, "--rows", "--metric", "mcc", code=2)
    assert "--rows prints JSON lines; leave --metric and --format out" in err


def test_predictions_that_do_not_give_the_reports_figure_are_refused(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = report_of(runs, "wide-seed2")
    report.pop("digest")
    report["test"]["accuracy"] = 0.999
    (runs / "wide-seed2" / "report.json").write_text(json.dumps(sealed(report)))
    named = [f"experiments/wide-seed{seed}" for seed in (1, 2, 3)]
    _, err = output(capsys, *named, "--metric", "accuracy", code=2)
    assert "wide-seed2: its predictions give accuracy 0." in err
    assert "its report says 0.9990" in err


def test_of_a_folder_such_a_run_is_left_out_and_named(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, _ = output(capsys, "--metric", "accuracy", "--format", "csv")
    report = report_of(runs, "wide-seed2")
    report.pop("digest")
    report["test"]["accuracy"] = 0.999
    (runs / "wide-seed2" / "report.json").write_text(json.dumps(sealed(report)))
    after, err = output(capsys, "--metric", "accuracy", "--format", "csv")
    old, new = ({row["config"]: row for row in csv.DictReader(io.StringIO(text))} for text in (before, after))
    assert (old["wide"]["runs"], new["wide"]["runs"]) == ("3", "2")
    assert {name: row for name, row in old.items() if name != "wide"} == {
        name: row for name, row in new.items() if name != "wide"
    }
    assert "skipped: experiments/wide-seed2: its predictions give accuracy 0." in err
    assert "6 folders: 5 compared, 0 unfinished, 1 skipped" in err


def test_nothing_to_compare_is_one_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    for place, words in {"nowhere": "nowhere: no such folder", "empty": "empty: holds no run"}.items():
        out, err = output(capsys, place, code=2)
        assert out == ""
        assert len(err.splitlines()) == 1
        assert words in err


def test_no_finished_run_has_a_code_of_its_own(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("report.json", "predictions.jsonl"):
        (runs / "plain-seed1" / name).unlink()
    out, err = output(capsys, "experiments/plain-seed1", "--format", "csv", code=4)
    assert (out, err.splitlines()[-1]) == ("", "compare: no finished run in experiments/plain-seed1")


def test_runs_on_changed_data_are_another_recipe(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The test rows are the same; without a word the two would be one row."""
    rows = tiny_rows()
    for split, own in {"train": rows[:60], "valid": rows[60:80], "test": rows[80:]}.items():
        write_jsonl(Path(f"{split}.jsonl"), own)
    words = [f"data.{split}={split}.jsonl" for split in ("train", "valid", "test")] + [
        "data.split=null",
        "train.num_epochs=1",
    ]
    assert main(["tiny.yaml", *words, "name=files-1", "seed=1"]) == 0
    write_jsonl(Path("train.jsonl"), rows[:40])
    assert main(["tiny.yaml", *words, "name=files-2", "seed=2"]) == 0
    assert main(["tiny.yaml", *words, "name=files-3", "seed=1"]) == 0
    out, err = output(capsys, "experiments/files-1", "experiments/files-2", "experiments/files-3", "--format", "csv")
    table = list(csv.DictReader(io.StringIO(out)))
    assert sorted(row["runs"] for row in table) == ["1", "2"]
    assert len({row["data.sha256"] for row in table}) == 2
    assert "counts once" not in err


def test_more_than_five_recipes_are_compared_with_the_best(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(4):
        assert main(["tiny.yaml", f"name=more{i}", "train.num_epochs=1", f"optimizer.lr={0.01 * (i + 1)}"]) == 0
    out, _ = output(capsys, "--metric", "accuracy")
    assert out.count("adjusted for all pairs") == 5
