"""C8 and C10: no name leads out of the run's folder, and no text of a stranger drives the terminal."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TINY_CONFIG, tiny_rows, write_jsonl
from disk_cases import IS_FULL, assert_refused, copied, rewrite, workplace
from disk_fixtures import finished, in_process, zygote  # noqa: F401
from disk_zygote import Ended, Zygote

from utils.errors import GlassboxError, printable
from utils.files.storage import atomic_write, unfinished
from utils.runs.checkpoint import CheckpointStore

EVIL = [
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "over\rwritten",
    "\u202egnp.exe",
    "two\nlines",
    "\x9b31m",
    "\u2066x\u2069",
    "a\x7fb",
]
NAMES = ["..", "../out", "/tmp/glassbox-out", "a/../../b", "nul\\0byte", "two\\nlines", "x" * 300, ".hidden", "~/x\\t"]


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_never_leads_out_of_the_folder(tmp_path: Path, in_process: Callable[..., Ended], name: str) -> None:
    place = workplace(tmp_path / "a/place", f'name: "{name}"\n' + TINY_CONFIG)
    before = everything(tmp_path)
    assert_refused(in_process(place, "tiny.yaml"), 2, "name must be one folder's name", seconds=5)
    assert everything(tmp_path) - before <= {"a/place/experiments", "a/place/.cache"}


def test_labels_and_texts_that_are_paths_stay_texts(tmp_path: Path, zygote: Zygote) -> None:
    place = workplace(tmp_path / "a/place")
    labels = {"chess": "../../../out", "sailing": "/tmp/glassbox-out", "cooking": "x" * 300}
    rows = [row | {"label": labels[row["label"]], "title": f"../{i}"} for i, row in enumerate(tiny_rows(60))]
    write_jsonl(place / "tiny.jsonl", rows)
    before = everything(tmp_path)
    ended = zygote.run(place, "tiny.yaml")
    assert ended.code == 0, ended.err
    outside = everything(tmp_path) - before - {"a/place.out", "a/place.err"}
    assert {path.split("/")[2] for path in outside} == {"experiments", ".cache"}
    assert not Path("/tmp/glassbox-out").exists()


@pytest.mark.parametrize("best", ["../../outside", "/etc", True, -1.5, None])
def test_a_manifest_never_leads_out_of_the_folder(
    tmp_path: Path, finished: tuple[str, Path], in_process: Callable[..., Ended], best: object
) -> None:
    place = copied(finished[1], tmp_path / "place")
    for path in (place / "experiments/tiny/checkpoints").iterdir():
        rewrite(path, best_step=best)
    ended = in_process(place, "predict", "experiments/tiny", "--text", "x")
    assert_refused(ended, 4, "MANIFEST.json: is damaged", seconds=2)


def test_a_link_in_the_way_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("kept")
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("file", unfinished(Path("file")).name):
        (folder / name).symlink_to(outside)
    atomic_write(folder / "file", "new")
    assert (outside.read_text(), (folder / "file").read_text(), (folder / "file").is_symlink()) == (
        "kept",
        "new",
        False,
    )


def test_a_checkpoint_folder_that_is_a_link_is_not_emptied(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    store = CheckpointStore(tmp_path / "checkpoints", keep=1)
    for step in (1, 2, 3):
        if step == 2:
            (store.folder / "step-2").symlink_to(outside)
        store.save(step, 0, {}, {}, {})
    assert (outside / "kept").read_text() == "x"


# The terminal.


@pytest.mark.parametrize("text", EVIL)
def test_an_error_is_one_printable_line(text: str) -> None:
    message = str(GlassboxError(f"a.jsonl:1: the label {text} is unknown"))
    assert message.isprintable()
    assert message.startswith("a.jsonl:1: the label ")
    assert printable(printable(text)) == printable(text) != text
    assert printable("Zürich 日本 ✓") == "Zürich 日本 ✓"


@pytest.mark.parametrize("text", EVIL if IS_FULL else EVIL[::3])
def test_a_label_cannot_drive_the_terminal(tmp_path: Path, zygote: Zygote, text: str) -> None:
    """Neither in the report of a run, nor in that of a test on other data, nor in the refusal of a label that is unknown."""
    place = workplace(tmp_path / "place", TINY_CONFIG.replace("num_epochs: 2", "num_epochs: 1"))
    rows = [row | {"label": row["label"].replace("chess", text)} for row in tiny_rows(60)]
    write_jsonl(place / "tiny.jsonl", rows)
    write_jsonl(place / "other.jsonl", [row | {"label": row["label"] + text} for row in tiny_rows(6)])
    run = zygote.run(place, "tiny.yaml")
    test = zygote.run(place, "test", "experiments/tiny")
    refused = zygote.run(place, "test", "experiments/tiny", "--data", "other.jsonl")
    assert (run.code, test.code, refused.code) == (0, 0, 3), run.err + test.err
    log = (place / "experiments/tiny/run.log").read_text()
    for output in (run.out, run.err, test.out, test.err, refused.err, log):
        assert all(line.isprintable() for line in output.split("\n")), output
    assert printable(text) in run.out
    assert printable(text) in refused.error
