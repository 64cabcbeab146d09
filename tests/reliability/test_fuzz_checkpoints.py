"""Seeded fuzzing of every file that a start or a prediction reads: refused or the same values, and never another kind of error.

Each mutant is cut, flipped, spliced, repeated, or has numbers and words of the file exchanged, and all of them together may not take
500 MB. 1 to 5 s for each file in `make test`; in `make test-full` 300 s for each file of a checkpoint, 20 s for the others.
"""

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from disk_cases import FILES, IS_FULL, rewrite, same, store_with_two, torch_bytes
from disk_fixtures import finished_run, zygote  # noqa: F401
from fuzz import GROWTH, SLOW, resident

from agents.classifying.artifacts import saved_labels
from agents.running.predictor import Predictor
from datasets.store.store import TokenStore, parse_tokenizer
from utils.config.config import Config
from utils.errors import CheckpointError, ConfigError
from utils.runs.checkpoint import MANIFEST, MODEL, STATE, CheckpointStore
from utils.runs.experiment import Experiment
from utils.runs.saved import saved_config

WORDS = [
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e999",
    b"NaN",
    b"9" * 25,
    b'""',
    b"[]",
    b"{}",
    b"\xff\xfe",
    b"\x00",
    b"\\u0000",
    b'"\\ud800"',
    b"[" * 40,
    b'{"a":' * 9,
]
FEWEST = 100
pytestmark = [pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore:Detected pickle protocol")]


def mutants(whole: bytes, seed: int, seconds: float) -> Iterator[bytes]:
    """Changed copies until the time is over; at least FEWEST, however busy the machine is."""
    rng, deadline, num_made = random.Random(seed), time.monotonic() + seconds, 0
    while num_made < FEWEST or time.monotonic() < deadline:
        num_made += 1
        data = bytearray(whole)
        for _ in range(rng.choice([1, 1, 1, 2, 5])):
            _change(data, rng)
        if data != whole:
            yield bytes(data)


def _change(data: bytearray, rng: random.Random) -> None:
    i, j = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    kind = rng.randrange(8)
    if kind <= 1 and data:
        data[min(i, len(data) - 1)] ^= 1 << rng.randrange(8)
    elif kind == 2:
        del data[i:]
    elif kind == 3:
        del data[i : i + rng.randrange(1, 20)]
    elif kind == 4:
        data[i:i] = data[j : j + rng.randrange(1, 50)]
    elif kind == 5:
        data[i : i + rng.randrange(4)] = rng.choice(WORDS)
    elif kind == 6:
        data[i:i] = rng.randbytes(rng.randrange(1, 9))
    else:
        digits = [k for k, sign in enumerate(data) if 48 <= sign < 58]
        if digits:
            data[rng.choice(digits)] = rng.choice(b"0123456789-.e")


def fuzz(
    path: Path, read: Callable[[], Any], refusals: tuple[type[Exception], ...], seconds: float, fix: Any = None
) -> list[Any]:
    """-> what the accepted mutants gave."""
    whole, accepted, before = path.read_bytes(), [], resident()
    for mutant in mutants(whole, len(whole), seconds):
        is_told = True
        path.write_bytes(mutant)
        started = time.process_time()
        try:
            if fix is not None:
                fix()
            accepted.append(read())
        except refusals as error:
            is_told = not isinstance(error, CheckpointError) or str(error).isprintable()
        except BaseException as error:
            raise AssertionError(f"{type(error).__name__}: {error}; of {mutant[:2000]!r}") from error
        assert is_told, mutant[:2000]
        assert time.process_time() - started < SLOW, mutant[:2000]
    path.write_bytes(whole)
    assert resident() - before < GROWTH
    return accepted


@pytest.mark.parametrize("name", FILES)
def test_the_checkpoint_reader(tmp_path: Path, name: str) -> None:
    """No mutant of any of the three files is ever loaded."""
    store = store_with_two(tmp_path)
    path = store.folder / "step-2" / name
    accepted = fuzz(path, lambda: store.load(2), (CheckpointError,), 300 if IS_FULL else 5)
    whole = store.load(2)
    assert all(same(values[2], whole[2]) and same(values[0], whole[0]) for values in accepted), (
        "only blanks in JSON may differ"
    )
    assert name == MANIFEST or not accepted


@pytest.mark.parametrize("name", FILES)
def test_the_parsers_behind_the_hash(tmp_path: Path, name: str) -> None:
    """With a manifest that was made to fit: loaded as what it says, or refused in the same words; never another error."""
    store = store_with_two(tmp_path)
    folder = store.folder / "step-2"

    def sealed() -> None:
        try:
            rewrite(folder)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise CheckpointError("not to be sealed") from None

    if name == STATE:  # without the random state: 5 kB that hide the rest
        (folder / STATE).write_bytes(torch_bytes({"run": {"step": 2, "name": "x"}, "values": [1, 2.5, None, True]}))
    fuzz(folder / name, lambda: store.load(2), (CheckpointError,), 20 if IS_FULL else 5, sealed)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a finished run, in a place of its own."""
    shutil.copytree(finished_run("boe"), tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return Path("experiments/tiny")


@pytest.mark.parametrize("name", ["config.yaml", "labels.json", "tokenizer.json"])
def test_the_files_of_a_run(run: Path, name: str) -> None:
    """Whatever is accepted predicts what the run itself does."""
    texts = ["boil the rice and castle the king", "hoist the sail slowly"]
    expected = Predictor(run).predict(texts)
    accepted = fuzz(run / name, lambda: Predictor(run).predict(texts), (CheckpointError,), 20 if IS_FULL else 3)
    for lines in accepted:
        assert lines == expected


def test_the_report_of_a_run(run: Path) -> None:
    config = Config(saved_config(run), run / "config.yaml", {})
    experiment = Experiment.open(config)
    whole = experiment.report
    accepted = fuzz(run / "report.json", lambda: experiment.report, (CheckpointError,), 20 if IS_FULL else 2.5)
    experiment.close()
    assert all(report == whole for report in accepted)


def test_the_readers_alone(run: Path) -> None:
    """Before any hash is compared."""
    for name, read, refusals in (
        ("config.yaml", lambda: saved_config(run), (CheckpointError, ConfigError)),
        ("labels.json", lambda: saved_labels(run), (CheckpointError,)),
        ("tokenizer.json", lambda: parse_tokenizer((run / "tokenizer.json").read_bytes()), (ValueError,)),
    ):
        fuzz(run / name, read, refusals, 20 if IS_FULL else 1)


def test_the_header_of_a_token_store(run: Path) -> None:
    """Whatever is accepted is the store that was written."""
    (folder,) = Path(".cache/tokens").glob("[0-9a-f]*")
    whole = TokenStore(folder).header
    refusals = (OSError, ValueError, KeyError, TypeError, AttributeError)  # of which open_store builds a new one
    accepted = fuzz(folder / "header.json", lambda: TokenStore(folder).header, refusals, 20 if IS_FULL else 3)
    assert all(header == whole for header in accepted)


def test_a_mutant_is_a_file_like_the_first(tmp_path: Path) -> None:
    """The same seed gives the same mutants, and few of them are noise from end to end."""
    whole = json.dumps({"a": list(range(50))}).encode()
    first, second = ([next(many) for _ in range(200)] for many in (mutants(whole, 1, 9), mutants(whole, 1, 9)))
    assert first == second
    assert len(set(first)) > 150
    assert CheckpointStore(tmp_path).latest() is None
    assert MODEL != MANIFEST
