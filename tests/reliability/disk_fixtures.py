"""Fixtures of this room; a test file imports those that it uses."""

import atexit
import functools
import shutil
import signal
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from disk_cases import IS_FULL, MODELS, workplace
from disk_setups import can_mount
from disk_zygote import Ended, Zygote

import main

needs_mount = pytest.mark.skipif(
    not can_mount(), reason="needs the right to mount (root): the limit on file sizes is tested"
)


@functools.cache
def _shared_zygote() -> Zygote:
    zygote = Zygote()
    atexit.register(zygote.close)
    return zygote


@pytest.fixture
def zygote() -> Zygote:
    """Starts the program in forks; one for all test files, each of which imports this fixture."""
    return _shared_zygote()


@functools.cache
def finished_run(model: str) -> Path:
    """A workplace with the finished run experiments/tiny of a model; not to be changed: copy it."""
    folder = Path(tempfile.mkdtemp(prefix="glassbox-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    ended = _shared_zygote().run(workplace(folder / "place", MODELS[model]), "tiny.yaml")
    assert ended.code == 0, ended.err
    return folder / "place"


@pytest.fixture(params=list(MODELS) if IS_FULL else ["either"])
def finished(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """(the model's name, its finished run): every case with both models, or with one of them drawn by the case's name."""
    drawn = sorted(MODELS)[zlib.crc32(request.node.name.encode()) % len(MODELS)]
    model = drawn if request.param == "either" else request.param
    return model, finished_run(model)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """`python main.py ARGUMENTS` in this process; what hangs for 10 s is an error."""

    def run(place: Path, *arguments: str) -> Ended:
        monkeypatch.chdir(place)
        monkeypatch.setenv("COLUMNS", "200")
        capsys.readouterr()
        old = signal.signal(signal.SIGALRM, _hangs)
        signal.alarm(10)
        started = time.process_time()
        try:
            code = main.main(list(arguments))
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, old)
        output = capsys.readouterr()
        return Ended(code, time.process_time() - started, output.out, output.err)

    return run


def _hangs(*_: object) -> None:
    raise TimeoutError("hangs")
