"""Every data set of worlds.py through the whole life of a run: most faults were at joints, where one stage gives to the next.

Every number of a report is counted again from predictions.jsonl by scikit-learn, and every row of a file by who wrote it.
"""

import ast
import json
from typing import Any

import numpy as np
import pytest
from jobs import Job
from lab import IS_FULL, preload
from sklearn import metrics as sklearn
from walking import RUN, Walk, lines_of
from worlds import SUBJECTS, WORLDS, Row

from agents import load

SAMPLE = ["csv", "several labels", "pairs", "one class missing in test"]  # of `make test`


class RowWalk(Walk):
    """A folder with one data set, in which commands are started."""

    def predictions(self) -> list[dict[str, Any]]:
        """Those of the test split; a run without one has no such file."""
        has_file = (self.folder / RUN / "predictions.jsonl").exists()
        assert has_file == ("test" in self.world.splits)
        return super().predictions() if has_file else []


@pytest.fixture(scope="module", params=[pytest.param(n, marks=[] if n in SAMPLE else pytest.mark.full) for n in WORLDS])
def walk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RowWalk:
    """A run of the data set."""
    return RowWalk(tmp_path_factory.mktemp("walk"), WORLDS[request.param]).done()


def gold_of(row: Row) -> list[str]:
    """The labels of a row in the order of the alphabet, in whatever way it holds them."""
    label = row["label"]
    if isinstance(label, str) and label.startswith("["):
        label = ast.literal_eval(label)
    if isinstance(label, list) and all(type(each) is int for each in label) and label:
        label = [name for name, is_set in zip(SUBJECTS, label, strict=True) if is_set]
    return sorted(label) if isinstance(label, list) else [label]


def counted(
    gold: list[list[str]], predicted: list[list[str]], labels: list[str], *, is_multi: bool
) -> dict[str, float]:
    """Accuracy and macro F1 by scikit-learn."""
    if is_multi:
        true, found = (np.array([[name in row for name in labels] for row in rows]) for rows in (gold, predicted))
        micro = sklearn.f1_score(true, found, average="micro", zero_division=0)
        macro = sklearn.f1_score(true, found, average="macro", zero_division=0)
        return {"accuracy": sklearn.accuracy_score(true, found), "micro_f1": micro, "macro_f1": macro}
    true, found = [row[0] for row in gold], [row[0] for row in predicted]
    macro = sklearn.f1_score(true, found, average="macro", zero_division=0)
    return {"accuracy": sklearn.accuracy_score(true, found), "macro_f1": macro}


def listed(value: Any) -> list[str]:
    return list(value) if isinstance(value, list) else [value]


def assert_counted(
    result: dict[str, Any], lines: list[dict[str, Any]], gold: list[list[str]], *, is_multi: bool
) -> None:
    """All figures of one split's result, by label, too, are those of its lines."""
    predicted = [listed(line["predicted"]) for line in lines]
    for name, value in counted(gold, predicted, list(result["per_class"]), is_multi=is_multi).items():
        assert result[name] == pytest.approx(value, abs=1e-9), name
    for label, figures in result["per_class"].items():
        true, found = [label in row for row in gold], [label in row for row in predicted]
        p, r, f, _ = sklearn.precision_recall_fscore_support(true, found, average="binary", zero_division=0)
        assert figures == pytest.approx({"precision": p, "recall": r, "f1": f, "support": sum(true)})
    if "confusion_matrix" in result:
        names = result["confusion_matrix"]["labels"]
        matrix = sklearn.confusion_matrix([g[0] for g in gold], [p[0] for p in predicted], labels=names)
        assert result["confusion_matrix"]["matrix"] == matrix.tolist()


def test_the_report_is_what_its_predictions_say(walk: RowWalk) -> None:
    report, lines = walk.report(), walk.predictions()
    for split in ("valid", "test"):
        assert (split in report) == (split in walk.world.splits)
    if "test" not in walk.world.splits:
        return
    assert len(lines) == report["data"]["test"]["used"] > 0
    assert_counted(report["test"], lines, [listed(line["gold"]) for line in lines], is_multi=walk.world.is_multi_label)


def test_every_row_of_the_files_is_used_or_skipped_and_counted(walk: RowWalk) -> None:
    world, data = walk.world, walk.report()["data"]
    splits = [data[split] for split in ("train", "valid", "test")]
    num_rows = len(world.rows) + len(world.test or [])
    assert sum(split["used"] for split in splits) == num_rows
    assert sum(sum(split["skipped"].values()) for split in splits) == world.num_skipped
    assert sum(split["read"] for split in splits) == num_rows + world.num_skipped


def test_the_predictions_are_rows_of_the_file_with_their_labels(walk: RowWalk) -> None:
    world = walk.world
    known = {tuple(row[field] for field in world.fields): gold_of(row) for row in [*world.rows, *(world.test or [])]}
    for line in walk.predictions() if world.keeps_texts else []:
        assert sorted(listed(line["gold"])) == known[tuple(line[field] for field in world.fields)]


def test_the_command_test_measures_what_the_training_did(walk: RowWalk) -> None:
    report = walk.report()
    if "test" not in walk.world.splits:
        run = walk.command("test", RUN, "--json")
        assert run.wait(60) == 2
        assert "--data" in run.stderr.splitlines()[-1]
        return
    found = json.loads(walk.does("test", RUN, "--json"))
    found.pop("data")
    assert found.pop("loss") == pytest.approx(report["test"].pop("loss"), rel=1e-5)
    assert found == report["test"]


def test_test_on_a_file_and_predict_on_it_agree(walk: RowWalk) -> None:
    world = walk.world
    measured = json.loads(walk.does("test", RUN, "--data", world.name, "--json"))
    lines = lines_of(walk.does("predict", RUN, "--input", world.name))
    assert len(lines) == len(world.rows) == measured["data"]["used"]
    assert measured["data"]["read"] == len(world.rows) + world.num_skipped
    assert_counted(measured, lines, [gold_of(row) for row in world.rows], is_multi=world.is_multi_label)


def test_one_text_is_predicted_alike_by_every_way(walk: RowWalk, monkeypatch: pytest.MonkeyPatch) -> None:
    world = walk.world
    row = {field: world.rows[0][field] for field in world.fields}
    expected = lines_of(walk.does("predict", RUN, "--input", world.name))[0]
    (walk.folder / "one.jsonl").write_text(json.dumps(row) + "\n")
    ways = [walk.does("predict", RUN, "--input", "one.jsonl")]
    ways.append(walk.does("predict", RUN, "--input", "-", stdin_from={"path": "one.jsonl"}))
    given = row[world.fields[0]] if len(row) == 1 else json.dumps(row)
    ways.append(walk.does("predict", RUN, "--text", given))
    monkeypatch.chdir(walk.folder)
    found = [*(lines_of(way)[0] for way in ways), load(RUN).predict([row])[0]]
    for line in found:
        assert line["predicted"] == expected["predicted"]
        assert line["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
        assert "gold" not in line


def test_two_processes_count_the_same_rows(walk: RowWalk) -> None:
    job = Job(walk, 2, "c.yaml", "name=two")
    assert job.wait(120) == [0, 0], job.errors
    two = json.loads((walk.folder / "experiments" / "two" / "report.json").read_bytes())
    for split in ("train", "valid", "test"):
        assert two["data"][split] == walk.report()["data"][split]


def test_the_export_gives_the_same_probabilities(walk: RowWalk) -> None:
    if walk.world is not WORLDS["exported"]:
        pytest.skip("only a BERT over one text is exported")
    import transformers

    walk.does("export", RUN, "--out", "hf")
    folder = str(walk.folder / "hf")
    pipeline = transformers.pipeline("text-classification", model=folder, tokenizer=folder, top_k=None)
    expected = lines_of(walk.does("predict", RUN, "--input", walk.world.name))[0]["probabilities"]
    found = {each["label"]: each["score"] for each in pipeline([walk.world.rows[0]["text"]])[0]}
    assert found == pytest.approx(expected, abs=1e-5)


preload("datasets.tokenizers.processes")
assert IS_FULL or SAMPLE
