"""predict: texts from the command line, where the lines go, and what a terminal is shown of them."""

import contextlib
import json
import os
import pty
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY_CONFIG, tiny_rows, write_jsonl

from main import joined, main
from utils.files.storage import beside, unfinished
from utils.machine.streams import to_json

ROWS = tiny_rows(5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run `x`, which reads the one field `text`."""
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder):
        write_jsonl(folder / "tiny.jsonl", tiny_rows())
        config = TINY_CONFIG.replace("[title, text]", "[text]").replace("num_epochs: 2", "num_epochs: 1")
        (folder / "x.yaml").write_text(config)
        assert main(["x.yaml"]) == 0
    return folder


@pytest.fixture
def folder(trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder to work in, with the run in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").symlink_to(trained / "experiments")
    write_jsonl(tmp_path / "texts.jsonl", ROWS)
    return tmp_path


def predict(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["predict", "experiments/x", *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


# Texts that look like options.


@pytest.mark.parametrize(
    "text", ["-terrible", "--x", "--", "-", "-1", "--debug", "-h", "--text", "--output", "- a b", "=x"]
)
@pytest.mark.parametrize("is_joined", [False, True], ids=["two words", "--text=TEXT"])
def test_a_text_may_begin_with_a_dash(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, is_joined: bool
) -> None:
    words = [f"--text={text}"] if is_joined else ["--text", text]
    code, out, err = predict(capsys, *words, "--device", "cpu")
    assert code == 0, err
    assert json.loads(out)["text"] == text


def test_an_option_that_is_given_twice_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two texts argparse would keep the last one without a word."""
    for name, words in {"--text": ["--text", "b"], "--device": ["--device", "cpu", "--device=cpu"]}.items():
        code, out, err = predict(capsys, "--text", "a", *words)
        assert (code, out) == (2, "")
        assert err == f"command line: {name} is given twice\n"


def test_an_option_is_joined_with_its_value_alone() -> None:
    assert joined(["a", "--text", "-b", "--debug", "--text", "--text"]) == [
        "a",
        "--text=-b",
        "--debug",
        "--text=--text",
    ]
    assert joined(["walk", "--label", "-pos"]) == ["walk", "--label=-pos"]
    assert joined(["--textual", "--text"]) == ["--textual", "--text"], "argparse says that a value is missing"


@pytest.mark.parametrize(("command", "is_promised"), [("predict", True), ("test", False)])
def test_help_promises_standard_input_where_it_is_read(
    capsys: pytest.CaptureFixture[str], command: str, is_promised: bool
) -> None:
    assert main([command, "--help"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert ("- for standard input, jsonl by default" in words) is is_promised
    assert "jsonl for -" not in words


# Where the lines go.


def expected(capsys: pytest.CaptureFixture[str]) -> str:
    return predict(capsys, "--input", "texts.jsonl")[1]


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".tmp-")]


@pytest.mark.parametrize("before", [None, 0o600, 0o664])
@pytest.mark.parametrize("link", ["none", "relative", "absolute", "two links"])
def test_a_file_is_replaced_and_a_link_to_it_stays(
    folder: Path, capsys: pytest.CaptureFixture[str], before: int | None, link: str
) -> None:
    (folder / "other").mkdir()
    target = folder / "other" / "lines.jsonl"
    if before is not None:
        target.write_text("old")
        target.chmod(before)
    old = target.open() if before is not None else None  # a reader of the old content keeps it
    name = folder / "lines.jsonl"
    leads_to = {"relative": Path("other/lines.jsonl"), "absolute": target, "two links": Path("second")}.get(link)
    (folder / "second").symlink_to(target)
    if leads_to is not None:
        name.symlink_to(leads_to)
    else:
        name = target
    code, out, err = predict(capsys, "--input", "texts.jsonl", "--output", str(name))
    assert (code, out) == (0, ""), err
    assert target.read_text() == expected(capsys)
    assert name.is_symlink() == (leads_to is not None)
    assert not target.is_symlink()
    assert leftovers(folder) == leftovers(target.parent) == []
    if old is not None:
        assert old.read() == "old"
        assert stat.S_IMODE(target.stat().st_mode) == before, "its rights are kept"


def test_a_fifo_is_written_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(folder / "fifo")
    (folder / "link").symlink_to("fifo")
    for name in ("fifo", "link"):
        found: list[str] = []
        reader = threading.Thread(target=lambda into=found: into.append((folder / "fifo").read_text()), daemon=True)  # type: ignore[misc]
        reader.start()
        code, _, err = predict(capsys, "--input", "texts.jsonl", "--output", name)
        assert code == 0, err
        reader.join(20)
        assert found == [expected(capsys)]
        assert stat.S_ISFIFO((folder / "fifo").stat().st_mode)
    assert leftovers(folder) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a device")
@pytest.mark.parametrize(("minor", "code", "message"), [(3, 0, "5 rows read"), (7, 5, "No space left on device")])
def test_a_device_is_written_and_never_replaced(
    folder: Path, capsys: pytest.CaptureFixture[str], minor: int, code: int, message: str
) -> None:
    """The null device and the full one, made new: the old code replaced them by a file."""
    try:
        os.mknod(folder / "device", 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        (folder / "device").open("w").close()
    except OSError:
        pytest.skip("no device can be made here")
    found, _, err = predict(capsys, "--input", "texts.jsonl", "--output", "device")
    assert found == code
    assert message in err.splitlines()[-1]
    assert stat.S_ISCHR((folder / "device").stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1"])
def test_standard_output_has_other_names(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert predict(capsys, "--input", "texts.jsonl", "--output", name)[:2] == (0, expected(capsys))


@pytest.mark.parametrize("path", ["/dev/fd", "/proc/self/fd"])
def test_an_open_file_is_not_replaced(folder: Path, capsys: pytest.CaptureFixture[str], path: str) -> None:
    """What another program has written to it stays, as after the shell's >>."""
    (folder / "lines.jsonl").write_text("before\n")
    with (folder / "lines.jsonl").open("a") as file:
        assert predict(capsys, "--input", "texts.jsonl", "--output", f"{path}/{file.fileno()}")[0] == 0
        file.write("after\n")
    assert (folder / "lines.jsonl").read_text() == f"before\n{expected(capsys)}after\n"


REFUSED: dict[str, str] = {
    "folder": "folder: cannot be written: Is a directory",
    "nowhere/lines.jsonl": "nowhere/lines.jsonl: cannot be written: No such file or directory",
    "texts.jsonl/x": "texts.jsonl/x: cannot be written: Not a directory",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_written_is_storage(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (folder / "folder").mkdir()
    code, out, err = predict(capsys, "--input", "texts.jsonl", "--output", name)
    assert (code, out, err.splitlines()[-1]) == (5, "", REFUSED[name])


def test_a_failed_prediction_leaves_the_old_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "lines.jsonl").write_text("old")
    with (folder / "texts.jsonl").open("a") as file:
        file.write("{\n")
    assert predict(capsys, "--input", "texts.jsonl", "--output", "lines.jsonl")[0] == 3
    assert (folder / "lines.jsonl").read_text() == "old"
    assert leftovers(folder) == []


def test_a_link_at_the_name_of_the_unfinished_file_is_not_followed(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of unfinished files cannot be guessed; one that was planted is no file of ours even so."""
    (folder / "victim").write_text("kept")
    planted = folder / ".tmp-planted"
    planted.symlink_to("victim")
    monkeypatch.setattr("utils.files.storage.unfinished", lambda path: planted)
    code, _, err = predict(capsys, "--input", "texts.jsonl", "--output", "lines.jsonl")
    assert (code, (folder / "victim").read_text()) == (5, "kept"), err


def test_what_a_killed_prediction_left_is_swept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left, made = unfinished(folder / "lines.jsonl"), folder / ".tmp-notes"  # one of ours, and one of the user's
    left.write_text("half")
    made.write_text("kept")
    with beside(folder / "other.jsonl") as under_way:
        assert predict(capsys, "--input", "texts.jsonl", "--output", "lines.jsonl")[0] == 0
        assert sorted(leftovers(folder)) == sorted([made.name, under_way.name])


# On a terminal.

HOSTILE = ["\x1b[31mred", "a\x9b31m", "\u202egnp.exe", "\x7f", "\u2066x\u2069", "\U000e0001", "caf\u00e9 \u65e5\u672c \U0001f600", "\u2028", "\r\n\t"]  # fmt: skip


def shown(values: dict[str, Any]) -> str:
    """What a terminal is sent."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        terminal.write(to_json(values, terminal))
        terminal.flush()
        found = os.read(ours, 4096).decode()
    os.close(ours)
    return found.removesuffix("\r\n")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_terminal_gets_printable_json_and_a_file_the_letters(folder: Path, text: str) -> None:
    values = {"id": text, "text": f"a {text} b"}
    line = shown(values)
    assert line.isprintable()
    assert json.loads(line) == values
    assert not text.isprintable() or text in line
    with (folder / "file").open("w", encoding="utf-8") as file:
        assert to_json(values, file) == json.dumps(values, ensure_ascii=False) + "\n"


def test_a_prediction_cannot_drive_the_terminal(folder: Path) -> None:
    ours, theirs = pty.openpty()
    write_jsonl(folder / "texts.jsonl", [{"text": "".join(HOSTILE)}])
    assert main(["predict", "experiments/x", "--input", "texts.jsonl", "--output", os.ttyname(theirs)]) == 0
    line = os.read(ours, 65536).decode().removesuffix("\r\n")
    os.close(theirs)
    os.close(ours)
    assert line.isprintable()
    assert json.loads(line)["text"] == "".join(HOSTILE)
