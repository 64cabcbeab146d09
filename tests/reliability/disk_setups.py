"""What is done to a forked process before the program runs in it: a small disk, another user, a disk that fails at the n-th call."""

import builtins
import ctypes
import errno
import io
import os
import random
import resource
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_NAMESPACE, PRIVATE, READ_ONLY = 0x20000, 0x40000 | 0x4000, 1


def _mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    if LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode()) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"mount {target}: {os.strerror(code)}")


def private_mounts() -> None:
    """Mounts of this process from now on are its own, and end with it."""
    if LIBC.unshare(NEW_NAMESPACE) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("none", "/", "none", PRIVATE, "")


def can_mount() -> bool:
    """Whether this process may have mounts of its own."""
    pid = os.fork()
    if pid == 0:
        try:
            private_mounts()
            os._exit(0)
        except OSError:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def small_disk(folder: str, size: int, result: str) -> None:
    """A disk of so many bytes in place of a folder, with its content; at the end what lies there is copied to `result`."""
    content = [(path, path.stat().st_size) for path in Path(folder).rglob("*") if path.is_file()]
    aside = f"{folder}.aside"
    shutil.copytree(folder, aside)
    private_mounts()
    pages = sum(-(-length // 4096) for _, length in content)
    _mount("tmpfs", folder, "tmpfs", 0, f"size={pages * 4096 + max(size, 4096)},mode=755")
    shutil.copytree(aside, folder, dirs_exist_ok=True)
    os.chdir(Path.cwd())  # into the new one, where it is this
    _at_exit(lambda: shutil.copytree(folder, result))


def read_only_disk(folder: str) -> None:
    """The folder, mounted read-only."""
    private_mounts()
    _mount(folder, folder, "none", 0x1000, "")
    _mount(folder, folder, "none", 0x1000 | 0x20 | READ_ONLY, "")


def file_limit(size: int) -> None:
    """No file may grow beyond so many bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def memory_limit(extra: int) -> None:
    """No more than so many bytes of memory above what is mapped now."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")
    resource.setrlimit(resource.RLIMIT_AS, (mapped + extra, mapped + extra))


def force_unsafe_load() -> None:
    """Make torch.load forget weights_only where a call does not say it."""
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"


def other_user() -> None:
    """Nobody, who owns nothing."""
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


def alarm_storm(seconds: float) -> None:
    """Signals without end: every slow system call is interrupted."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


def move_at_save(number: int, old: str, new: str) -> None:
    """Rename a folder (or remove it, where `new` is empty) just before the number-th checkpoint is written."""
    from utils.runs.checkpoint import CheckpointStore

    save, calls = CheckpointStore.save, [0]

    def call(*arguments: Any) -> None:
        calls[0] += 1
        if calls[0] == number:
            Path(old).rename(new) if new else shutil.rmtree(old)
        save(*arguments)

    CheckpointStore.save = call  # type: ignore[method-assign]


def failing_disk(folder: str, at: int, kind: str, log: str) -> None:
    """From now on the `at`-th call that writes below the folder fails; its name is noted in `log`. kind: see FaultLayer."""
    FaultLayer(folder, at, kind, log).install()


def _at_exit(work: Any) -> None:
    leave = os._exit

    def work_and_leave(code: int) -> None:
        try:
            work()
        finally:
            leave(code)

    os._exit = work_and_leave  # type: ignore[assignment]


class FaultLayer:
    """Counts calls that change the disk below a folder, and fails one: `EIO`, `ENOSPC` once, or all from it on with `dead`.

    `list` notes every call; `short` makes every write from it on take one to seven bytes at a time, `slow` makes every call wait.
    """

    def __init__(self, folder: str, at: int, kind: str, log: str) -> None:
        self.folder, self.at, self.kind, self.log = os.path.realpath(folder), at, kind, log
        self.count = 0

    def install(self) -> None:
        """Take the place of open, fsync, rename and the like."""
        for name in ("rename", "replace", "mkdir", "unlink", "rmdir"):
            setattr(os, name, self._guarded(name, getattr(os, name)))
        sync = os.fsync
        os.fsync = lambda descriptor: (self.call("fsync", f"/proc/self/fd/{descriptor}"), sync(descriptor))[1]  # type: ignore[assignment, func-returns-value]
        original = io.open
        io.open = builtins.open = lambda *args, **options: self._open(original, *args, **options)  # type: ignore[assignment]

    def call(self, name: str, path: Any) -> bool:
        """Count a call; fail if it is the one. -> whether it is one of ours."""
        place = os.path.realpath(path) if isinstance(path, str | os.PathLike) else ""
        if not place.startswith(self.folder):
            return False
        self.count += 1
        is_due = self.count == self.at or (self.kind == "dead" and self.count > self.at)
        if self.count == self.at or self.kind == "list":
            with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "w") as file:
                file.write(f"{name} {place}\n")
        if self.kind == "slow":
            import time

            time.sleep(0.003)
        if is_due and self.kind in ("EIO", "ENOSPC", "dead"):
            code = errno.EIO if self.kind == "dead" else getattr(errno, self.kind)
            raise OSError(code, os.strerror(code), None if name in ("fsync", "write") else str(path))
        return True

    def _guarded(self, name: str, original: Any) -> Any:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            folder = options.get("dir_fd")  # as shutil.rmtree removes what lies in a folder
            self.call(name, path if folder is None else f"{Path(f'/proc/self/fd/{folder}').readlink()}/{path}")
            return original(path, *arguments, **options)

        return call

    def _open(self, original: Any, path: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        is_writing = set(mode) & set("wax+")
        if not (is_writing and self.call("open", path)):
            return original(path, mode, *arguments, **options)
        buffered = io.BufferedWriter(_FaultyFile(self, path, mode.replace("t", "").replace("b", "")))
        names = dict(zip(("buffering", "encoding", "errors", "newline"), arguments, strict=False)) | options
        text = {key: names.get(key) for key in ("encoding", "errors", "newline")}
        return buffered if "b" in mode else io.TextIOWrapper(buffered, **text)  # type: ignore[arg-type]


class _FaultyFile(io.FileIO):
    def __init__(self, layer: FaultLayer, path: Any, mode: str) -> None:
        super().__init__(path, mode)
        self.layer, self.place = layer, path

    def write(self, data: Any) -> int:
        self.layer.call("write", self.place)
        if self.layer.kind == "short" and self.layer.count >= self.layer.at:
            data = memoryview(data)[: random.randrange(1, 8) if len(data) < 500 else len(data) // 3]
        return super().write(data)


def streams(out: str | None, error: str | None) -> None:
    """Standard output and error as a shell may leave them to a program that starts; None: as they are."""
    for number, name, kind in ((1, "stdout", out), (2, "stderr", error)):
        if kind is not None:
            _stream(number, name, kind)
            setattr(sys, f"__{name}__", getattr(sys, name))  # as if Python had found it so


def _stream(number: int, name: str, kind: str) -> None:
    """kind: closed, full, no reader, or the encoding that PYTHONIOENCODING names."""
    if kind == "closed":
        os.close(number)
        setattr(sys, name, None)
    elif kind == "full":
        os.dup2(os.open("/dev/full", os.O_WRONLY), number)
    elif kind == "no reader":
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, number)
    else:
        setattr(sys, name, io.TextIOWrapper(io.FileIO(number, "w", closefd=False), encoding=kind))
