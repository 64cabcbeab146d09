"""Hashes of files are remembered, and never a stale one."""

import errno
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from datasets.store import file_hashes as cache
from datasets.store.file_hashes import check_writable, content_key, file_hashes
from utils.errors import DataError, StorageError


def write_old(path: Path, data: bytes) -> Path:
    """A file that was last changed a minute ago."""
    path.write_bytes(data)
    os.utime(path, (time.time() - 60,) * 2)
    return path


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that happened in the test lies a minute back when a hash is remembered, the time of change of the inode too."""
    monkeypatch.setattr(cache, "RACY_SECONDS", -60.0)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read to be hashed."""
    names: list[str] = []
    real = cache.sha256_of
    monkeypatch.setattr(cache, "sha256_of", lambda path: (names.append(path.name), real(path))[1])
    return names


def test_a_hash_is_that_of_the_content(tmp_path: Path) -> None:
    path = write_old(tmp_path / "a", b"content")
    for _ in range(2):
        assert file_hashes([path], tmp_path / "memory" / "hashes.json") == [hashlib.sha256(b"content").hexdigest()]


def test_an_unchanged_file_is_read_once(tmp_path: Path, hashed: list[str], later: None) -> None:
    paths = [write_old(tmp_path / name, name.encode()) for name in "abc"]
    first = file_hashes(paths, tmp_path / "hashes.json")
    write_old(tmp_path / "b", b"longer")
    second = file_hashes(paths, tmp_path / "hashes.json")
    assert hashed == ["a", "b", "c", "b"]
    assert [first[i] == second[i] for i in range(3)] == [True, False, True]


def test_a_file_of_a_moment_ago_is_not_trusted(tmp_path: Path, hashed: list[str]) -> None:
    """It may change again within the resolution of the clock of its file system."""
    path = tmp_path / "a"
    path.write_bytes(b"one")
    before = path.stat()
    first = file_hashes([path], tmp_path / "hashes.json")
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_hashes([path], tmp_path / "hashes.json") != first
    assert hashed == ["a", "a"]


def test_an_edit_that_sets_the_time_back_is_noticed(tmp_path: Path, later: None) -> None:
    path = write_old(tmp_path / "a", b"one")
    first, stat = file_hashes([path], tmp_path / "hashes.json"), path.stat()
    time.sleep(0.02)  # the clock of a file system moves on every few milliseconds
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert [path.stat().st_ino, path.stat().st_size, path.stat().st_mtime_ns] == [stat.st_ino, 3, stat.st_mtime_ns]
    assert file_hashes([path], tmp_path / "hashes.json") != first


def test_another_file_of_the_same_size_and_time_is_noticed(tmp_path: Path, later: None) -> None:
    path = write_old(tmp_path / "a", b"one")
    first = file_hashes([path], tmp_path / "hashes.json")
    stat = path.stat()
    other = write_old(tmp_path / "b", b"two")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)
    assert file_hashes([path], tmp_path / "hashes.json") != first


MEMORIES: list[Any] = [b"", b"{", b"\xff", b"[]", b"null", {}, {"PATH": None}, {"PATH": []}, {"PATH": [3, 0, 0]}]


@pytest.mark.parametrize("memory", MEMORIES, ids=str)
def test_a_damaged_memory_is_forgotten(tmp_path: Path, memory: Any) -> None:
    path = write_old(tmp_path / "a", b"one")
    stat = path.stat()
    if isinstance(memory, dict):
        entry = memory.get("PATH") and [
            stat.st_size,
            stat.st_mtime_ns,
            stat.st_ctime_ns,
            stat.st_ino,
        ]  # without the hash
        memory = json.dumps({str(path.resolve()): entry} if memory else {}).encode()
    (tmp_path / "hashes.json").write_bytes(memory)
    for _ in range(2):
        assert file_hashes([path], tmp_path / "hashes.json") == [hashlib.sha256(b"one").hexdigest()]


def test_the_key_is_content_order_names_and_options(tmp_path: Path) -> None:
    a, b = write_old(tmp_path / "a", b"one"), write_old(tmp_path / "b", b"two")
    copy = write_old(tmp_path / "copy", b"one")
    cases: list[tuple[list[Path], dict[str, Any]]] = [
        ([a, b], {}),
        ([b, a], {}),
        ([a], {}),
        ([copy, b], {}),
        ([a, b], {"x": 1}),
        ([a, b], {"x": None}),
        ([a, b], {"y": 1}),
    ]
    keys = [content_key(files, options, tmp_path / "hashes.json") for files, options in cases]
    assert len(set(keys)) == len(cases)
    again = content_key(iter([a, b]), {"y": 1}, tmp_path / "hashes.json")
    assert again == keys[-1]
    orders = [
        content_key([a], dict(pairs), tmp_path / "h.json") for pairs in ([("x", 1), ("y", 2)], [("y", 2), ("x", 1)])
    ]
    assert orders[0] == orders[1]


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path / 'none'}: cannot be read: No such file"):
        file_hashes([tmp_path / "none"], tmp_path / "hashes.json")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/cache: cannot be written: .*; see data.cache_folder"):
        check_writable(tmp_path / "file" / "cache")


def test_what_a_start_before_could_not_remove_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".tmp-probe-0123456789abcdef").touch()
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_digit_in_the_memory_is_not_believed(tmp_path: Path, later: None) -> None:
    path = write_old(tmp_path / "a", b"one")
    (expected,) = file_hashes([path], tmp_path / "hashes.json")
    memory = tmp_path / "hashes.json"
    assert expected in memory.read_text()
    memory.write_text(memory.read_text().replace(expected, expected[:-1] + ("0" if expected[-1] != "0" else "1")))
    assert file_hashes([path], memory) == [expected]


def test_a_memory_of_an_older_version_is_made_again(tmp_path: Path, later: None) -> None:
    path = write_old(tmp_path / "a", b"one")
    stat = path.stat()
    wrong = {str(path.resolve()): [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, "0" * 64]}
    (tmp_path / "hashes.json").write_text(json.dumps(wrong))
    assert file_hashes([path], tmp_path / "hashes.json") == [hashlib.sha256(b"one").hexdigest()]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_hash_that_cannot_be_remembered_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: None, code: int
) -> None:
    def fail(path: Path, content: str) -> None:
        raise StorageError(os.strerror(code)) from OSError(code, os.strerror(code))

    path = write_old(tmp_path / "a", b"one")
    monkeypatch.setattr(cache, "atomic_write", fail)
    assert file_hashes([path], tmp_path / "hashes.json") == [hashlib.sha256(b"one").hexdigest()]
    (tmp_path / "file").touch()
    assert file_hashes([path], tmp_path / "file" / "below" / "hashes.json") == [hashlib.sha256(b"one").hexdigest()]


def test_a_memory_that_cannot_be_read_now_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: None) -> None:
    """It holds the hashes of other data sets, too."""
    a, b = write_old(tmp_path / "a", b"one"), write_old(tmp_path / "b", b"two")
    memory = tmp_path / "hashes.json"
    file_hashes([a], memory)
    before = memory.read_bytes()

    def fail(path: Path) -> None:
        raise StorageError(f"{path}: cannot be read now: Too many open files")

    monkeypatch.setattr(cache, "read_sealed", fail)
    assert file_hashes([b], memory) == [hashlib.sha256(b"two").hexdigest()]
    assert memory.read_bytes() == before
