"""Mutation fuzzing: sound bytes with a few changes, for a while, the same ones every time."""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from conftest import IS_FULL

SECONDS = 600.0 if IS_FULL else 3.0
SLOW, GROWTH = 5.0, 500 * 2**20  # a mutant may take so many seconds, all of them so many bytes more than before
STRANGE = [b"", b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r", b"\n", b'"', b"'", b"{", b"[", b"]" * 9, b",", b":",
           b"-1", b"0", b"1e999", b"NaN", b"null", b"true", b"9" * 30, b"2147483648", b"\\ud800", b"../", b"&a *a", b"!!x"]  # fmt: skip


def mutant(sound: Sequence[bytes], generator: random.Random) -> bytes:
    """One of the sound files with one to four changes: a bit, a byte, a strange piece, a piece lost, doubled or moved."""
    data = bytearray(generator.choice(sound))
    for _ in range(generator.randint(1, 4)):
        start = generator.randrange(len(data) + 1)
        end = min(len(data), start + int(generator.paretovariate(0.8)))
        piece = bytes(data[start:end])
        change = generator.randrange(6)
        if change == 0 and start < len(data):
            data[start] ^= 1 << generator.randrange(8)
        elif change == 1:
            data[start:end] = generator.choice(STRANGE)
        elif change == 2:
            del data[start:end]
        elif change == 3:
            data[start:start] = piece * generator.randint(1, 5)
        elif change == 4:
            del data[start:]
        else:
            at = generator.randrange(len(data) + 1)
            data[at:at] = generator.choice([piece, generator.randbytes(3), generator.choice(STRANGE)])
    return bytes(data)


def fuzz(
    sound: Sequence[bytes], use: Callable[[bytes], object], allowed: type[Exception], seconds: float = SECONDS
) -> int:
    """Give mutants to `use` for so many seconds; -> how many it took. Only `allowed` may be raised, in one line; no hang, no growth."""
    generator, accepted, before = random.Random(1), 0, resident()
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        data, began = mutant(sound, generator), time.process_time()
        try:
            use(data)
            accepted += 1
        except allowed as error:
            assert len(str(error).splitlines()) == 1, f"{error!r} of {data[:2000]!r}"
        except BaseException as error:
            error.add_note(f"with {data[:2000]!r}")
            raise
        assert time.process_time() - began < SLOW, data[:2000]
    assert resident() - before < GROWTH
    return accepted


def resident() -> int:
    """Bytes of memory that this process holds; 0 where the system does not say."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * 4096 if status.exists() else 0
