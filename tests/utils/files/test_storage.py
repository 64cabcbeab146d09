"""Files that are whole or absent: whatever fails, the old content stays, nothing is left lying, and the error says where."""

import errno
import multiprocessing
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recorder import record

from utils.errors import StorageError
from utils.files import storage
from utils.files.storage import atomic_write, beside, free_bytes, remove, remove_leftovers, storage_errors

LEFT = "0123456789abcdef"  # the random end of a temporary name


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
        monkeypatch.setattr(os if call in ("fsync", "open") else Path, call, failing(code))
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
    kept = [".tmp-notes", ".tmp-1.5-", f"a-{LEFT}", ".tmp-d-²", ".tmp-e-" + "9" * 30, f".tmp-f-{LEFT[:-1]}"]
    of_old_versions = [".tmp-a.json-box-123", ".tmp-b-box_2.x-999999999"]  # a process of such a version holds no lock
    for name in [f".tmp-a.json-{LEFT}", ".tmp-old-box-7", *kept, *of_old_versions]:
        (tmp_path / name).write_text("x")
    os.utime(tmp_path / ".tmp-old-box-7", (0, time.time() - 90000))
    (tmp_path / f".tmp-step-5-{LEFT}").mkdir()
    (tmp_path / f".tmp-step-5-{LEFT}" / "model").write_text("x")
    with beside(tmp_path / "c") as file, beside(tmp_path / "g", is_folder=True) as folder:
        remove_leftovers(tmp_path)
        assert names(tmp_path) == sorted([*kept, *of_old_versions, file.name, folder.name])
        remove_leftovers(tmp_path, is_claimed=True)
        assert names(tmp_path) == sorted([*kept, file.name, folder.name])
    assert names(tmp_path) == sorted(kept)


def in_another_container(folder: Path, ready: Any, go_on: Any) -> None:
    """A process that makes a folder, seen from outside under no number and host that would tell it."""
    with beside(folder / "store", is_folder=True) as temporary:
        (temporary / "ids").write_text("half")
        ready.set()
        go_on.wait(20)
        (temporary / "ids").write_text("all")
        temporary.rename(folder / "store")


@pytest.mark.parametrize("is_killed", [False, True])
def test_what_another_process_is_making_is_told_by_its_lock_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    """Containers may share host name and process numbers: neither says anything."""
    context = multiprocessing.get_context("fork")
    ready, go_on = context.Event(), context.Event()
    process = context.Process(target=in_another_container, args=(tmp_path, ready, go_on))
    process.start()
    assert ready.wait(20)
    monkeypatch.setattr(os, "kill", failing(errno.ESRCH))  # no such process here
    monkeypatch.setattr("socket.gethostname", lambda: "the-same")
    remove_leftovers(tmp_path)
    assert len(names(tmp_path)) == 1
    monkeypatch.undo()
    process.kill() if is_killed else go_on.set()
    process.join(20)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ([] if is_killed else ["store"])


def test_a_name_of_255_bytes_has_room_for_a_temporary_one(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127, "日" * 85):
        atomic_write(tmp_path / name, "content")
        assert (tmp_path / name).read_text() == "content"


def test_a_new_folder_taken_for_a_leftover_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    real = Path.mkdir

    def mkdir(path: Path) -> None:
        real(path)
        made.append(path)
        if len(made) == 1:
            remove_leftovers(tmp_path)
            assert not path.exists()

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with beside(tmp_path / "store", is_folder=True) as folder:
        assert folder == made[1]
        assert folder.is_dir()
    with pytest.raises(FileNotFoundError), beside(tmp_path / "nowhere" / "store", is_folder=True):
        pass
    with pytest.raises(FileNotFoundError), beside(tmp_path / "nowhere" / "file"):
        pass


def test_leftovers_that_cannot_be_removed_stop_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        (tmp_path / f".tmp-{name}-{LEFT}").touch()
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
    (left,) = names(tmp_path)
    assert re.fullmatch(r"\.tmp-old-step-5-[0-9a-f]{16}", left)
    monkeypatch.undo()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == []
