"""Closed, full and broken streams, and streams in ASCII: every command with each, the promised code, nothing lost, nothing said twice."""

import atexit
import functools
import io
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, tiny_rows
from disk_cases import IS_FULL, MODELS, copied, workplace
from disk_fixtures import zygote  # noqa: F401
from disk_zygote import Ended, Zygote
from small_documents import write_corpus
from small_pairs import write_pairs

from utils.errors import ReaderGone, StorageError
from utils.machine.streams import is_utf8, prepare, to_json

LETTERS = "é日😀"  # in Latin-1, in the first plane, and beyond it
ONE_EPOCH = MODELS["boe"].replace("num_epochs: 2", "num_epochs: 1")
BERT = ONE_EPOCH.partition("model:")[0] + (
    "  join_fields: true\n  max_length: 24\ntokenizer: {name: wordpiece, vocab_size: 300, special_tokens: true}\n"
    "model: {name: bert, hidden_size: 16, num_layers: 1, num_heads: 2, intermediate_size: 24}\ntrain: {num_epochs: 1}\n"
)
COMMANDS = {
    "train": ["tiny.yaml", "name=new"],
    "finished": ["tiny.yaml"],
    "dry run": ["tiny.yaml", f"data.label={LETTERS}", "--dry-run"],
    "test": ["test", "experiments/tiny"],
    "test --json": ["test", "experiments/tiny", "--json"],
    "predict": ["predict", "experiments/tiny", "--input", "tiny.jsonl"],
    "compare": ["compare"],
    "board": ["board", "nowhere"],
    "compare as html": ["compare", "--format", "html"],
    "sweep": ["sweep", "nowhere.yaml"],
    "curve": ["curve", "tiny.yaml", "--sizes", "many"],
    "inspect --labels": ["inspect", "tiny.yaml", "--labels"],
    "find-lr": ["find-lr", "tiny.yaml", "--steps", "10"],
    "explain": ["explain", "experiments/tiny", "--input", "tiny.jsonl", "--method", "gradient_x_input"],
    "audit": ["audit", "experiments/tiny", "--data", "tiny.jsonl", "--sample", "5"],
    "walk": ["walk", "experiments/tiny", "--text", "boil the rice"],
    "list": ["list"],
    "export": ["export", "experiments/bert", "--out", "out"],
    "verify": ["verify", "experiments/bert"],
    "pretrain": ["documents.yaml", "name=again"],
    "test of documents": ["test", "experiments/documents", "--data", "tiny.txt"],
    "fill": ["fill", "experiments/documents", "chess [MASK] met"],
    "minimal-pairs": ["minimal-pairs", "experiments/documents", "--data", "pairs.jsonl"],
    "tokenizer": ["tokenizer", "documents.yaml", "--out", "words"],
    "seq2seq": ["pairs.yaml", "name=written"],
    "generate": ["generate", "experiments/pairs", "--input", "tiny.txt"],
    "generate --json": ["generate", "experiments/pairs", "--input", "tiny.txt", "--json"],
    "prepare": ["prepare", "papers", "--source", "papers", "--out", "split"],
    "serve": ["serve", "nowhere", "--port", "0"],
    "new": ["new", "loss", "mine"],
    "help": ["--help"],
    "refused": ["tiny.yaml", "model.hiden_size=3"],
    "usage": ["tiny.yaml", "--nope"],
}
KINDS = [("closed", None), (None, "closed"), ("closed", "closed"), ("full", None), (None, "full"), ("full", "full")]
KINDS += [("no reader", None), (None, "no reader"), ("ascii", "ascii"), ("latin-1", "latin-1")]
CASES = [(command, out, error) for command in COMMANDS for out, error in KINDS]
if not IS_FULL:  # every command once, and every kind
    CASES = [(command, *KINDS[3 * i % len(KINDS)]) for i, command in enumerate(COMMANDS)]
STOPPING = ("predict", "generate", "generate --json", "dry run")  # once nothing that they write arrives
FAILURES = {"refused": 2, "usage": 2, "board": 2, "sweep": 2, "curve": 2, "serve": 4, "verify": 4, "new": 2}
FULL = "standard output: cannot be written: No space left on device"


@functools.cache
def place_of(zygote: Zygote) -> Path:
    """A workplace with finished runs; not to be changed: copy it."""
    folder = Path(tempfile.mkdtemp(prefix="glassbox-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    place = workplace(folder / "place", ONE_EPOCH)
    rows = [row | {"label": row["label"] + LETTERS, LETTERS: row["label"]} for row in tiny_rows(60)]
    (place / "tiny.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "bert.yaml").write_text(BERT)
    (place / "papers").mkdir()
    papers = [{"title": f"paper {i}", "abstract": "words", "track": "main"} for i in range(40)]
    (place / "papers" / "acl2021.json").write_text(json.dumps(papers))
    write_corpus(place)
    write_pairs(place)
    pairs = {"sentence_good": "players met", "sentence_bad": "met players", "UID": f"order{LETTERS}"}
    (place / "pairs.jsonl").write_text(json.dumps(pairs) + "\n")
    for config in ("tiny.yaml", "bert.yaml", "documents.yaml", "pairs.yaml"):
        ended = zygote.run(place, config)
        assert ended.code == 0, ended.err
    return place


@functools.cache
def undisturbed(zygote: Zygote, command: str) -> Ended:
    place = place_of(zygote)
    ended = zygote.run(copied(place, place.with_name(f"undisturbed {command}")), *COMMANDS[command])
    assert ended.code == FAILURES.get(command, 0), ended.err
    return ended


def without_times(text: str) -> list[str]:
    return [line for line in text.splitlines() if " in " not in line and "parameters, " not in line]


def unescaped(text: str) -> str:
    """JSON's escapes as the characters that they stand for."""
    return json.loads('"' + text.replace('"', "\0").replace("\n", "\\n") + '"').replace("\0", '"')


@pytest.mark.parametrize(("command", "out", "error"), CASES)
def test_every_command_keeps_its_code_whatever_its_streams_are(
    tmp_path: Path, zygote: Zygote, command: str, out: str | None, error: str | None
) -> None:
    control = undisturbed(zygote, command)
    place = copied(place_of(zygote), tmp_path / "place")
    ended = zygote.run(place, *COMMANDS[command], streams=[out, error])
    is_lost = out == "full" and command not in FAILURES
    assert ended.code == (5 if is_lost else control.code), ended
    assert "Traceback" not in ended.err
    if out is None:
        assert without_times(ended.out) == without_times(control.out)
    if error is None and not (command in STOPPING and out in ("full", "no reader")):
        assert without_times(ended.err) == [*without_times(control.err), *[FULL] * is_lost]
    if command == "train":
        assert json.loads((place / "experiments/new/report.json").read_bytes())["train"]["steps"] > 0
        assert zygote.run(place, *COMMANDS[command]).err.startswith("experiments/new is finished")
    if command in ("export", "prepare"):
        assert any((place / COMMANDS[command][-1]).iterdir())
    if out in ("ascii", "latin-1"):
        assert_same_characters(command, ended.out, control.out)


def assert_same_characters(command: str, escaped: str, control: str) -> None:
    """In tables by eye, in JSON and YAML for whoever reads them back."""
    if command in ("predict", "test --json"):
        assert escaped.isascii()
        assert [json.loads(line) for line in escaped.splitlines()] == [
            json.loads(line) for line in control.splitlines()
        ]
        assert LETTERS in control
    elif command == "dry run":
        assert escaped.isascii()
        assert yaml.safe_load(escaped) == yaml.safe_load(control)
        assert yaml.safe_load(control)["data"]["label"] == LETTERS
    elif command in ("train", "finished", "test"):
        assert r"chess\u00e9\u65e5\ud83d\ude00" in escaped or r"\u65e5\ud83d\ude00" in escaped


@pytest.mark.parametrize(
    ("redirection", "code", "out", "err"),
    [
        (">&-", 2, "", "nope.yaml: no such config"),
        ("2>&-", 2, "", ""),
        ("<&- >&- 2>&-", 2, "", ""),
        ("2>/dev/full", 2, "", ""),
        ("--help >/dev/full", 5, "", FULL),
        ("--help 2>&-", 0, "usage:", ""),
        ("--help | true; exit ${PIPESTATUS[0]}", 0, "", ""),
    ],
)
def test_a_shell_closes_streams_before_python_starts(
    tmp_path: Path, redirection: str, code: int, out: str, err: str
) -> None:
    command = f'"{sys.executable}" "{ROOT}/main.py" nope.yaml {redirection}'
    ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == code, ended
    assert ended.stdout.startswith(out)
    assert ended.stderr.startswith(err)
    assert len(ended.stderr.splitlines()) == bool(err)


def test_the_first_file_that_is_opened_does_not_become_a_stream(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom utils.machine import streams\nstreams.prepare()\n"
        "with open('data', 'w') as file:\n    print('to nobody', flush=True)\n    print('to nobody', file=sys.stderr)\n"
        "    file.write(str(file.fileno()) + repr(sys.stdin.read()))"
    )
    (tmp_path / "code.py").write_text(code)
    command = f'"{sys.executable}" code.py <&- >&- 2>&-'
    assert subprocess.run(["bash", "-c", command], cwd=tmp_path, check=False).returncode == 0
    assert (tmp_path / "data").read_text() == "3''"


def test_json_in_another_encoding_has_escapes_and_the_same_values() -> None:
    values = {"text": f'"{LETTERS}\ud800"', LETTERS: [1.5, None]}
    for encoding in ("ascii", "latin-1", "utf-8", "utf_8", "cp1252"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="glassbox.escapes")
        assert is_utf8(stream) == encoding.startswith("utf")
        prepare()
        stream.write(to_json(values, stream))
        stream.flush()
        data = stream.buffer.getvalue()  # type: ignore[attr-defined]
        assert json.loads(data) == values
        assert LETTERS.encode() in data or encoding not in ("utf-8", "utf_8")


def test_a_failed_output_is_told_once_and_a_pipe_that_does_not_wait_is_waited_for() -> None:
    code = (
        f"import os, sys, threading, time; sys.path.insert(0, {str(ROOT)!r})\nfrom utils.machine import streams\nstreams.prepare()\n"
        "os.set_blocking(1, False)\nprint('x' * 10**6)\n"
    )
    ended = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = ended.communicate()
    assert (len(out), err, ended.returncode) == (10**6 + 1, b"", 0)
    assert (StorageError.exit_code, ReaderGone.exit_code, str(ReaderGone("gone"))) == (5, 0, "")
