"""explain: what it prints and writes, and what it refuses."""

import json
import os
import pty
import re
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY_CONFIG, tiny_rows, write_jsonl
from explained_runs import TEXT, folder, trained
from small_documents import write_corpus

from main import main

ROWS = [
    {"title": "Boil <b>the</b> rice", "text": "salt & whisk the eggs"},
    {"title": "", "text": "castle the king"},
    {"title": "sail", "text": ""},
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the data of the runs and texts.jsonl."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.jsonl").symlink_to(folder() / "tiny.jsonl")
    write_jsonl(tmp_path / "texts.jsonl", ROWS)  # type: ignore[arg-type]
    return tmp_path


def explain(capsys: pytest.CaptureFixture[str], *words: str, run: str = "two fields") -> tuple[int, str, str]:
    folder = trained(run)
    capsys.readouterr()
    code = main(["explain", str(folder), *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def test_json_lines_hold_the_prediction_and_each_word(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = explain(capsys, "--input", "texts.jsonl", "--json", "--method", "occlusion", "--nearest", "2")
    *lines, last = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert len(lines) == len(ROWS)
    assert last["faithfulness"]["texts"] == len(ROWS)
    for row, line in zip(ROWS, lines, strict=True):
        assert {name: line[name] for name in row} == row
        assert line["explained"]["label"] == line["predicted"]
        assert line["explained"]["value"] == pytest.approx(line["probabilities"][line["predicted"]], abs=1e-5)
        assert [word["word"] for word in line["words"]] == [*row["title"].split(), *row["text"].split()]
        assert all(row[word["field"]][word["start"] : word["end"]] == word["word"] for word in line["words"])  # type: ignore[literal-required]
        assert len(line["nearest"]) == 2


def test_a_field_named_like_a_key_of_the_line_is_nested(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"title": "words", "text": "similarity"}
    rows = [{names.get(name, name): value for name, value in row.items()} for row in tiny_rows()]
    (place / "tiny.jsonl").unlink()  # a link
    write_jsonl(place / "tiny.jsonl", rows)
    (place / "run.yaml").write_text(TINY_CONFIG)
    assert main(["run.yaml", "train.num_epochs=1", "data.fields=[words, similarity]", "name=run"]) == 0
    capsys.readouterr()
    texts = {"words": "Boil the rice", "similarity": "salt the eggs"}
    command = ["explain", "experiments/run", "--text", json.dumps(texts), "--method", "occlusion", "--nearest", "1"]
    assert main([*command, "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["fields"] == texts
    assert [word["word"] for word in line["words"]] == [*texts["words"].split(), *texts["similarity"].split()]
    assert line["nearest"][0]["fields"].keys() == texts.keys()
    assert isinstance(line["nearest"][0]["similarity"], float)
    assert main([*command, "--output", "words.html"]) == 0
    assert "Boil" in (place / "words.html").read_text()


def test_one_text_is_not_checked_by_deletion(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = explain(capsys, "--text", json.dumps(TEXT), "--label", "chess", "--json")
    (line,) = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert line["explained"]["label"] == "chess"
    assert line["explained"]["method"] == "integrated_gradients"
    assert abs(line["explained"]["gap"]) < 0.05
    assert not any(Path().glob("**/events*"))


def test_a_number_and_several_labels(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run, words in (("number", []), ("several labels", ["--label", "sailing"])):
        code, out, _ = explain(capsys, "--text", "castle the king", "--json", *words, run=run)
        line = json.loads(out)
        assert code == 0
        assert line["explained"]["label"] == (words[-1] if words else None)
        own = line["predicted"] if run == "number" else line["probabilities"]["sailing"]
        assert line["explained"]["value"] == pytest.approx(own, rel=1e-4)


class Tags(HTMLParser):
    """The tags of a page, what its open ones are, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_no_other_and_shows_markup_as_text(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = explain(capsys, "--input", "texts.jsonl", "--output", "page.html", "--nearest", "1")
    assert (code, out) == (0, "")
    page, tags = Path("page.html").read_text(), Tags()
    tags.feed(page)
    assert tags.open == []
    assert not {tag for tag, _ in tags.seen} & {"script", "link", "img", "b"}
    assert "url(" not in page
    assert not re.search(r"https?://", page)
    assert "Boil <b>the</b> rice" in tags.text
    assert "salt & whisk the eggs" in tags.text
    assert "comprehensiveness" in tags.text
    colours = [attrs["style"] for tag, attrs in tags.seen if "title" in attrs]
    assert len(colours) == len(set(colours)) or len(colours) > 5


def test_lines_are_plain_where_there_is_no_terminal(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = explain(capsys, "--input", "texts.jsonl", "--method", "gradient_x_input")
    assert code == 0
    assert "\x1b" not in out
    assert "text: castle the king\n" in out
    assert "ratio of comprehensiveness" in out


def test_words_are_coloured_on_a_terminal(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, (reader, writer) = [], pty.openpty()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def read() -> None:
        while part := os.read(reader, 65536):
            shown.append(part)
            if b"END" in part:
                return

    thread = threading.Thread(target=read)
    thread.start()
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert (
            main(["explain", str(trained("two fields")), "--text", "castle \x1b[31m the king", "--method", "occlusion"])
            == 0
        )
        print("END", file=terminal, flush=True)
        thread.join(timeout=20)
    text = b"".join(shown).decode()
    assert re.search(r"\x1b\[[0-9;]*48;[0-9;]*m", text), "a background"
    assert "\\x1b[31m" in text, "an escape of the text itself is shown"
    assert "\x1b[31m" not in text


def test_tensorboard_gets_the_texts_where_asked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shutil.copytree(trained("two fields"), place / "experiments" / "x")
    before = set((place / "experiments" / "x").iterdir())
    assert main(["explain", "experiments/x", "--input", "texts.jsonl", "--method", "occlusion", "--tensorboard"]) == 0
    (new,) = set((place / "experiments" / "x").iterdir()) - before
    events = EventAccumulator(str(new))
    events.Reload()
    assert len(events.Tags()["tensors"]) == len(ROWS)
    (event,) = events.Tensors("explain/00/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    assert "&#60;b&#62;" in text
    assert "**" in text or "~~" in text


def test_unusable_rows_are_refused_or_skipped(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(place / "bad.jsonl", [ROWS[0], {"title": " ", "text": ""}, ROWS[1]])  # type: ignore[list-item]
    code, _, err = explain(capsys, "--input", "bad.jsonl", "--method", "occlusion")
    assert code == 3
    assert "bad.jsonl:2: no text" in err
    options = ["--on-bad-row", "skip", "--method", "occlusion", "--nearest", "1"]
    code, out, _ = explain(capsys, "--input", "bad.jsonl", "--json", *options)
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [line.get("problem") for line in lines[:3]] == [None, "no text", None]
    for form in ("x.html", "x.txt"):
        assert explain(capsys, "--input", "bad.jsonl", "--output", form, *options)[0] == 0
        assert "no text" in Path(form).read_text()


def test_nothing_has_no_nearest_texts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "none.csv").write_text("title,text,id\n,,1\n")
    options = ["--on-bad-row", "skip", "--method", "occlusion", "--nearest", "2", "--json"]
    for words in (["--input", "none.csv"], ["--text", ""]):
        code, out, _ = explain(capsys, *words, *options)
        assert (code, json.loads(out.splitlines()[0])["problem"]) == (0, "no text")
    (place / "none.csv").write_text("title,text,id\n")
    assert explain(capsys, "--input", "none.csv", *options)[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--text", ""], 3, "no text"),
        (["--text", "king", "--label", "tennis"], 2, "unknown label 'tennis'; known: chess, cooking, sailing"),
        (
            ["--text", "king", "--method", "magic"],
            2,
            "magic: unknown method; this run can integrated_gradients, occlusion",
        ),
        (["--text", "king", "--method", "attention_rollout"], 2, "model bilstm has no attention; this run can"),
        (["--text", "king", "--nearest", "-1"], 2, "--nearest must not be negative, got -1"),
        (["--text", "king", "--output", "x.pdf"], 2, "must end in .html, .jsonl or .txt"),
        (["--input", "nothing.jsonl"], 3, "no such file"),
        (["--input", "texts.jsonl", "--format", "pdf"], 2, "--format must be one of"),
    ],
)
def test_bad_input_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    found, out, err = explain(capsys, *words)
    assert (found, out) == (code, "")
    assert message in err.splitlines()[-1]


def test_no_run_and_a_damaged_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    assert main(["explain", "nowhere", "--text", "king"]) == 4
    shutil.copytree(trained("two fields"), place / "x")
    for path in (place / "x").glob("checkpoints/*/model.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    assert main(["explain", "x", "--text", "king"]) == 4
    assert "Traceback" not in capsys.readouterr().err


def test_a_run_that_predicts_nothing_for_a_text_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_corpus(place)
    assert main(["documents.yaml", "name=documents"]) == 0
    assert main(["explain", "experiments/documents", "--text", "king"]) == 2
    assert (
        "a run of agent pretraining cannot explain; classification, regression, similarity can"
        in capsys.readouterr().err
    )


def test_without_captum_the_others_still_work(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    code, _, err = explain(capsys, "--text", "castle the king")
    assert code == 2
    assert "needs the package captum: pip install captum" in err.splitlines()[-1]
    assert explain(capsys, "--text", "castle the king", "--method", "gradient_x_input")[0] == 0
