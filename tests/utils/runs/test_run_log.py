"""The log of a run: every step once, however often it was killed; a sink that fails is told once and costs nothing else."""

import html
import io
import json
import logging
import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugin_util import markdown_to_safe_html
from tensorboard.plugins.hparams import plugin_data_pb2

from utils.drawing.confusion_image import draw_matrix, drawable
from utils.errors import printable
from utils.machine.progress_bar import StepBar
from utils.runs import run_log
from utils.runs.run_log import RunLog, set_up_console
from utils.runs.saved import metrics_of

logger = logging.getLogger("glassbox")


@pytest.fixture(autouse=True)
def console() -> Iterator[None]:
    """The logger as it was, whatever a test puts on it."""
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    yield
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)


def opened(folder: Path, step: int) -> RunLog:
    """A log that goes on after a step, in a later second: TensorBoard orders its files by their seconds."""
    if any(folder.glob("events.*")):
        wait_for_next_second()
    log = RunLog(folder)
    log.open_at(step, {"optimizer.lr": 0.1, "init_from": None, "data.join_fields": True, "data.split": [0.8, 0.2]})
    return log


def wait_for_next_second() -> None:
    time.sleep(1.001 - time.time() % 1)


def write(log: RunLog, first: int, last: int, value: float) -> None:
    for step in range(first, last + 1):
        log.scalars("train", {"loss": value}, step)
        if step % 4 == 0:
            log.scalars("valid", {"accuracy": value, "loss": 1.0}, step)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def tensorboard(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def points(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, round(event.value, 3)) for event in tensorboard(folder).Scalars(tag)]


# One run.


def test_metrics_stand_in_the_file_and_in_tensorboard(tmp_path: Path) -> None:
    log = opened(tmp_path, 0)
    write(log, 1, 8, 0.5)
    log.close()
    assert lines(tmp_path)[3:5] == [
        {"step": 4, "split": "train", "loss": 0.5},
        {"step": 4, "split": "valid", "accuracy": 0.5, "loss": 1.0},
    ]
    assert points(tmp_path, "train/loss") == [(step, 0.5) for step in range(1, 9)]
    assert points(tmp_path, "valid/accuracy") == [(4, 0.5), (8, 0.5)]


def test_metrics_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    log = opened(tmp_path, 0)
    write(log, 1, 3, 0.5)
    assert len(lines(tmp_path)) == 3
    log.flush()
    assert len(points(tmp_path, "train/loss")) == 3
    log.close()


# Kills and resumes.


def test_after_two_kills_every_step_stands_once(tmp_path: Path) -> None:
    write(opened(tmp_path, 0), 1, 11, 0.1)  # killed: never closed
    second = opened(tmp_path, 8)
    write(second, 9, 14, 0.2)
    second.flush()
    third = opened(tmp_path, 12)
    write(third, 13, 16, 0.3)
    third.close()
    expected = [*[(s, 0.1) for s in range(1, 9)], *[(s, 0.2) for s in range(9, 13)], *[(s, 0.3) for s in range(13, 17)]]
    assert [(line["step"], line["loss"]) for line in lines(tmp_path) if line["split"] == "train"] == expected
    assert points(tmp_path, "train/loss") == expected
    assert points(tmp_path, "valid/accuracy") == [(4, 0.1), (8, 0.1), (12, 0.2), (16, 0.3)]


@pytest.mark.parametrize(
    ("tail", "kept"),
    [
        (b'{"step": 4, "split": "tr', [1, 2, 3]),
        (b'{"step": 4}\n', [1, 2, 3]),
        (b"[1]\n3\nnull\n\n", [1, 2, 3]),
        (b"\x00\x00\xff\n", [1, 2, 3]),
        (b'{"step": NaN, "split": "train"}\n', [1, 2, 3]),
        (b'{"step": "x", "split": "train"}\n', [1, 2, 3]),
        (b'{"step": 4, "split": "train", "loss": 1}', [1, 2, 3, 4]),  # torn between the line and its end
    ],
)
def test_a_torn_line_is_dropped_and_spoils_nothing_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tail: bytes, kept: list[int]
) -> None:
    monkeypatch.setattr(RunLog, "_to_all", lambda self, write: None)
    whole = b"".join(b'{"step": %d, "split": "train", "loss": 1}\n' % step for step in (1, 2, 3))
    (tmp_path / "metrics.jsonl").write_bytes(whole + tail)
    for step in (4, 5, 6):
        log = opened(tmp_path, step)
        log.scalars("train", {"loss": 1}, step + 1)
        log.close()
    assert [line["step"] for line in lines(tmp_path)] == [*kept, 5, 6, 7]


def test_a_start_from_scratch_empties_the_file(tmp_path: Path) -> None:
    write(opened(tmp_path, 0), 1, 3, 0.1)
    log = opened(tmp_path, 0)
    write(log, 1, 2, 0.2)
    log.close()
    assert [(line["step"], line["loss"]) for line in lines(tmp_path)] == [(1, 0.2), (2, 0.2)]
    assert points(tmp_path, "train/loss") == [(1, 0.2), (2, 0.2)]


MATRIX = {"labels": ["a", "b"], "matrix": [[3, 1], [0, 0]]}
REPORT = {
    "valid": {"accuracy": 0.5, "confusion_matrix": MATRIX},
    "test": {"accuracy": 0.25, "per_class": {}, "confusion_matrix": MATRIX},
}


def test_the_final_metrics_of_a_run_that_goes_on_stand_once(tmp_path: Path) -> None:
    first = opened(tmp_path, 0)
    write(first, 1, 4, 0.1)
    first.report(REPORT, 4)
    first.close()
    assert [line["split"] for line in lines(tmp_path)][-2:] == ["best_valid", "test"]
    second = opened(tmp_path, 4)
    write(second, 5, 6, 0.2)
    second.report(REPORT, 6)
    second.close()
    final = [(line["split"], line["step"]) for line in lines(tmp_path) if line["split"] in run_log.FINAL]
    assert final == [("best_valid", 6), ("test", 6)]
    assert points(tmp_path, "with_best_weights/test_accuracy") == [(6, 0.25)]
    assert points(tmp_path, "train/loss") == [(1, 0.1), (2, 0.1), (3, 0.1), (4, 0.1), (5, 0.2), (6, 0.2)]


def test_the_report_has_its_settings_figures_and_mistakes(tmp_path: Path) -> None:
    log = opened(tmp_path, 0)
    log.report(REPORT, 4)
    line = {"gold": "a", "predicted": "b", "probabilities": {"a": 0.25, "b": 0.75}}
    mistakes = [line | {"id": str(i), "text": f"a|b\nc {i}"} for i in range(30)]
    log.mistakes("test", mistakes, ["text"], 4)
    log.mistakes("valid", [], ["text"], 4)
    log.close()
    events = tensorboard(tmp_path)
    assert {"valid/confusion_matrix", "test/confusion_matrix"} <= set(events.Tags()["images"])
    (text,) = [event.tensor_proto.string_val[0].decode() for event in events.Tensors("test/mistakes/text_summary")]
    (none,) = events.Tensors("valid/mistakes/text_summary")
    assert none.tensor_proto.string_val[0] == b"no mistakes"
    page = markdown_to_safe_html(text)
    found = [html.unescape(re.sub(r"<.*?>", "", cell)) for cell in re.findall(r"<td>(.*?)</td>", page)]
    assert found[:5] == ["0", "a", "b", "0.7500", "a|b c 0"]
    assert "<th><pre>confidence</pre></th>\n<th>text</th>" in page, "words are not broken for the texts' sake"
    assert len(text.splitlines()) == 2 + run_log.MAX_MISTAKES
    parameters = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    session = plugin_data_pb2.HParamsPluginData.FromString(parameters).session_start_info.hparams
    assert session["optimizer.lr"].number_value == 0.1
    assert session["data.join_fields"].string_value == "true"
    assert session["data.split"].string_value == "[0.8, 0.2]"
    assert "init_from" not in session, "a text among numbers would hide runs"


@pytest.mark.parametrize(
    "label",
    ["a|b", "a\\|b", "*bold*", "<b>", "[x](y)", "# h", "`c`", "a\r\nb", "x\u202ey", "x\u009by", "1 < 2 & 3", "_u_"],
)
@pytest.mark.parametrize("make", [run_log.markdown_cell, run_log._unbroken])
def test_a_cell_of_a_table_shows_a_text_letter_for_letter(label: str, make: Callable[[str], str]) -> None:
    """TensorBoard's page is what Python-Markdown makes of the table; only white space and controls look otherwise there."""
    cell = make(label)
    page = markdown_to_safe_html(f"| a | b |\n| --- | --- |\n| {cell} | end |")
    cells = re.findall(r"<td>(.*?)</td>", page, flags=re.DOTALL)
    cells = [html.unescape(each.removeprefix("<pre>").removesuffix("</pre>")) for each in cells]
    assert cells == [printable(" ".join(label.split())), "end"]


def test_a_run_of_before_goes_on_in_its_folder_of_summaries(tmp_path: Path) -> None:
    (tmp_path / "summaries").mkdir()
    log = opened(tmp_path, 0)
    write(log, 1, 2, 0.5)
    log.close()
    assert [path.parent.name for path in tmp_path.rglob("events.*")] == ["summaries"]


def test_single_points_come_after_the_curves(tmp_path: Path) -> None:
    log = opened(tmp_path, 0)
    write(log, 1, 4, 0.5)
    log.report(REPORT, 4)
    log.close()
    tags = sorted(tensorboard(tmp_path).Tags()["scalars"])
    single = [tag for tag in tags if len(points(tmp_path, tag)) == 1 and not tag.startswith("valid/")]
    assert single == tags[-len(single) :] == ["with_best_weights/test_accuracy", "with_best_weights/valid_accuracy"]


@pytest.mark.parametrize("label", ["体育", "กีฬา", "ספורט", "⚽", "Müll", "спорт"])
def test_labels_that_the_font_lacks_are_numbers_with_a_legend(tmp_path: Path, label: str) -> None:
    assert drawable(["sport", label]) == ["sport", "#2"]
    log = opened(tmp_path, 0)
    log.report({"test": {"confusion_matrix": MATRIX | {"labels": ["sport", label]}}}, 1)
    log.close()
    events = tensorboard(tmp_path).Tensors("test/confusion_matrix_legend/text_summary")
    assert label in events[0].tensor_proto.string_val[0].decode()
    assert drawable(["sport", "tech & co."]) == ["sport", "tech & co."]


def test_counts_are_written_as_large_as_their_cell_allows() -> None:
    """Their height in pixels: twice that of before, and less where the digits are many."""

    def height(count: int) -> int:
        cell = draw_matrix(["a", "b"], [[0, count], [count, 0]])[-112 - 8 : -56 - 8, -56 - 8 : -8]
        rows = np.flatnonzero((cell.min(axis=2) != cell[0, 0].min()).any(axis=1))
        return int(rows[-1] - rows[0] + 1)

    assert height(8) >= 18  # 10 with a font of 14 pixels
    assert height(8) > height(88888) >= 6


@pytest.mark.parametrize(("num_labels", "has_numbers"), [(2, True), (41, False), (3000, False)])
def test_a_matrix_with_many_labels_or_none_counted_is_drawn(num_labels: int, has_numbers: bool) -> None:
    image = draw_matrix(["label"] * num_labels, [[0] * num_labels for _ in range(num_labels)])
    cells = image[-num_labels - 8 : -8, -num_labels - 8 : -8] if not has_numbers else image[-120:-8, -120:-8]
    assert image.dtype == np.uint8
    assert (cells < 50).any() == has_numbers


def test_the_colour_of_a_cell_is_its_share_of_the_row() -> None:
    image = draw_matrix(["a", "b"], [[4, 0], [1, 1]])
    corners = [image[-y, -x].astype(int).sum() for y in (116, 60) for x in (116, 60)]  # beside the numbers
    assert corners[0] < corners[2] == corners[3] < corners[1] == 3 * 255


# Sinks that fail.


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """What the logger says."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


def fail(*arguments: object, **options: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_metrics_file_that_cannot_be_written_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: list[str]
) -> None:
    log = opened(tmp_path, 0)
    monkeypatch.setattr(log, "_append", fail)
    write(log, 1, 8, 0.5)
    log.close()
    message = "warning: metrics.jsonl cannot be written ([Errno 28] No space left on device); continuing without it"
    assert heard == [message]
    assert len(points(tmp_path, "train/loss")) == 8, "the other sink goes on"


@pytest.mark.parametrize("moment", ["add_scalar", "flush", "close"])
def test_a_tensorboard_that_cannot_be_written_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: list[str], moment: str
) -> None:
    log = opened(tmp_path, 0)
    monkeypatch.setattr(log._tensorboard.writer, moment, fail)
    write(log, 1, 8, 0.5)
    log.flush()
    log.report(REPORT, 8)
    log.close()
    assert len(heard) == 1
    assert heard[0].startswith("warning: TensorBoard cannot be written")
    assert len(lines(tmp_path)) == 12


def test_a_folder_that_is_gone_costs_one_warning_a_sink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: list[str]
) -> None:
    log = RunLog(tmp_path / "gone")
    (tmp_path / "gone").write_text("a file where the folder was")
    log.open_at(0, {})
    write(log, 1, 8, 0.5)
    log.flush()
    log.close()
    assert sorted(message.split()[1] for message in heard) == ["TensorBoard", "metrics.jsonl"]


# run.log and the terminal.


def test_run_log_holds_what_was_said_while_it_was_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logger, "propagate", False)  # pytest-xdist cannot send half a surrogate pair that it captures,
    monkeypatch.setattr(logger, "handlers", [])  # be it by logging or by stderr
    log = RunLog(tmp_path)
    logger.info("inside %s", "\udcff ü")
    log.close()
    logger.info("outside")
    assert [line[20:] for line in (tmp_path / "run.log").read_text().splitlines()] == ["inside \\udcff ü"]


def test_a_run_log_that_cannot_be_written_is_silent(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "nowhere")
    logger.info("into the void")
    log.close()


def test_the_console_says_each_line_once_and_to_the_stderr_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        set_up_console()
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        logger.info("a line with %d%%", 5)
        assert sys.stderr.getvalue() == "a line with 5%\n"  # type: ignore[attr-defined]


class GoneTerminal(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_terminal_that_is_gone_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    set_up_console()
    monkeypatch.setattr(sys, "stderr", GoneTerminal())
    logger.info("to nobody")


def test_a_bar_is_silent_where_nobody_looks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StepBar, "due", -math.inf)  # as in a run that has just begun
    with StepBar(10, "epoch 1", "steps") as bar:
        for i in range(10):
            bar.update(i + 1, "5 texts/s")
    assert capsys.readouterr() == ("", "")


def test_a_long_run_says_a_line_a_minute_where_there_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: list[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr(run_log.time, "monotonic", lambda: now)
    monkeypatch.setattr(StepBar, "due", -math.inf)
    log = opened(tmp_path, 0)
    for epoch in (1, 2, 3):  # 50 s each
        with StepBar(1500, f"epoch {epoch}", "steps") as bar:
            for step in range(50):
                now += 1
                bar.update(30 * (step + 1), "loss 0.5000  1,200 texts/s" if step > 5 else "")
    with StepBar(None, "reading a.csv", "texts") as bar:
        now += 40
        bar.update(123456)
    now += 3600
    with StepBar(10, "of another run", "steps") as bar:
        for step in range(50):
            now += 1
            bar.update(step)
    log.close()
    assert heard == [
        "epoch 2: 300 of 1,500 steps, loss 0.5000, 1,200 texts/s",
        "epoch 3: 600 of 1,500 steps, loss 0.5000, 1,200 texts/s",
        "reading a.csv: 123,456 texts",
    ]
    assert not (tmp_path / "metrics.jsonl").exists()
    assert "epoch 2: 300 of" in (tmp_path / "run.log").read_text()


FOREIGN = """
torn

5
[]
null
{"step": 3}
{"split": "x"}
{"step": "3", "split": "x"}
{"step": true, "split": "x"}
{"step": 1e999, "split": "x"}
{"step": 3, "split": null}
"""


def test_a_torn_or_foreign_line_of_metrics_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(f'{{"step": 3, "split": "x", "loss": 1.5}}{FOREIGN}'.encode() + b"\xff")
    assert metrics_of(tmp_path) == [{"step": 3, "split": "x", "loss": 1.5}]
