"""Files that are whole or absent: whatever fails, the old content stays, nothing is left lying, and the error says where."""

import errno
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recorder import record

from utils import storage
from utils.errors import StorageError
from utils.storage import atomic_write, free_bytes, machine, remove, remove_leftovers, storage_errors, unfinished

DEAD_PID = 2**22 + 1  # larger than any that Linux gives


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def failing(code: int) -> Callable[..., Any]:
    def fail(*arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


# Writing.


@pytest.mark.parametrize("content", ["", "plain", "ünïcode\n", b"\x00\xff", b""])
def test_what_is_written_is_read(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "file"
    for _ in range(2):
        atomic_write(path, content)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "replace", "open", "write"])
def test_a_failed_write_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    path = tmp_path / "file"
    atomic_write(path, "old")
    if call == "write":
        monkeypatch.setattr(storage, "write_synced", half_written(code))
    else:
        monkeypatch.setattr(os if call == "fsync" else Path, call, failing(code))
    with pytest.raises(StorageError) as caught:
        atomic_write(path, "x" * 12345)
    monkeypatch.undo()
    assert str(caught.value).startswith(f"{path}: cannot be written: {os.strerror(code)} (12,345 bytes needed, ")
    assert re.search(r"needed, [0-9,]+ free\)$", str(caught.value))
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def half_written(code: int) -> Callable[[Path, bytes], None]:
    def write(path: Path, data: bytes) -> None:
        path.write_bytes(data[: len(data) // 2])
        failing(code)()

    return write


@pytest.mark.parametrize("place", ["folder", "file/below", "nowhere/file"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=f"^{tmp_path / place}: cannot be written: "):
        atomic_write(tmp_path / place, "x")
    assert names(tmp_path) == ["file", "folder"]


def test_a_file_is_on_the_disk_before_its_name_and_its_name_before_we_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = record(monkeypatch, tmp_path)
    atomic_write(tmp_path / "file", "content")
    assert calls == ["fsync .tmp-file", "rename .tmp-file file", f"fsync {tmp_path.name}"]


# Errors.


def test_an_error_names_the_file_of_the_failed_call_and_never_a_temporary_one(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"^{tmp_path / 'a'}: cannot be written: Not a directory$"):
        with storage_errors(tmp_path / "b"):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", str(tmp_path / "a"))
    with pytest.raises(StorageError, match=f"^{tmp_path / 'b'}: cannot be written"):
        with storage_errors(tmp_path / "b"):
            raise OSError(errno.ENOSPC, "No space", str(tmp_path / ".tmp-b-1"))


def test_free_bytes_are_those_of_the_folder_that_would_hold_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_bytes(tmp_path / "not" / "yet" / "there") > 0
    monkeypatch.setattr(Path, "exists", failing(errno.EACCES))
    assert free_bytes(tmp_path) == 0, "an error message must not fail in turn"


# Leftovers.


def test_leftovers_of_dead_processes_are_swept_and_nothing_else(tmp_path: Path) -> None:
    here = machine()
    swept = [
        f".tmp-a.json-{here}-{DEAD_PID}",
        f".tmp-b-{here}-{os.getpid()}",  # our own number: an earlier process had it
        f".tmp-old-elsewhere-{DEAD_PID}",
    ]
    kept = [
        ".tmp-notes",
        ".tmp-1.5-",
        f"a-{DEAD_PID}",
        f".tmp-c-{here}-{os.getppid()}",
        ".tmp-d-²",
        ".tmp-e-" + "9" * 30,
    ]
    kept += [f".tmp-new-elsewhere-{DEAD_PID}"]
    for name in swept + kept:
        (tmp_path / name).write_text("x")
    os.utime(tmp_path / swept[-1], (0, time.time() - 90000))
    (tmp_path / f".tmp-step-5-{here}-{DEAD_PID}").mkdir()
    (tmp_path / f".tmp-step-5-{here}-{DEAD_PID}" / "model").write_text("x")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted(kept)
    remove_leftovers(tmp_path, is_claimed=True)
    assert f".tmp-new-elsewhere-{DEAD_PID}" not in names(tmp_path)
    assert f".tmp-c-{here}-{os.getppid()}" in names(tmp_path)


def test_leftovers_that_cannot_be_removed_stop_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        (tmp_path / f".tmp-{name}-{machine()}-{DEAD_PID}").touch()
    removed: list[Path] = []

    def refuse(path: Path, **options: bool) -> None:
        removed.append(path)
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    remove_leftovers(tmp_path)
    assert len(removed) == 2


def test_remove_takes_files_folders_links_and_nothing(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    (outside / "kept").write_text("x")
    (folder / "inner").write_text("x")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(outside)
    for name in ("folder", "file", "link", "nothing"):
        remove(tmp_path / name)
    assert names(tmp_path) == ["outside"]
    assert names(outside) == ["kept"]


def test_a_folder_that_is_half_removed_does_not_keep_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "step-5"
    folder.mkdir()
    (folder / "model").write_text("x")
    monkeypatch.setattr("shutil.rmtree", lambda *arguments, **options: None)  # killed at this moment
    remove(folder)
    assert names(tmp_path) == [unfinished(Path("old-step-5")).name]
    monkeypatch.undo()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == []
