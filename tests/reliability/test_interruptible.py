"""C8: a signal ends a library call that does not come back."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import tokenizers
from disk_fixtures import zygote  # noqa: F401
from disk_zygote import Zygote
from tokenizers import models, pre_tokenizers

from datasets.tokenizers.special_tokens import SPECIAL
from datasets.tokenizers.subword import ByteBPETokenizer, SubwordTokenizer
from utils.errors import Stopped
from utils.machine import signals
from utils.machine.interruptible import interruptible

HOSTILE = pre_tokenizers.Split(tokenizers.Regex(r"(a|aa)+$"), "isolated")  # exponential: 0.3 s for a text of 28 letters
TEXTS = ["a" * 27 + "x"] * 1000


def encode() -> None:
    library = tokenizers.Tokenizer(models.WordLevel({name: id for id, name in enumerate(SPECIAL)}, unk_token="[UNK]"))
    library.pre_tokenizer = HOSTILE
    SubwordTokenizer(library).encode(TEXTS)


def train() -> None:
    tokenizer = ByteBPETokenizer()
    tokenizer.tokenizer.pre_tokenizer = HOSTILE
    tokenizer.train([TEXTS])


def stopped(work: str, number: str) -> int:
    """In a process of its own, which the call does not outlive: -> the exit code; 99 where the signal was not heard in time."""
    started = time.monotonic()
    threading.Timer(0.3, os.kill, (os.getpid(), int(number))).start()
    try:
        with signals.installed():
            {"encode": encode, "train": train}[work]()
    except Stopped as error:
        return error.exit_code if time.monotonic() - started < 15 else 99
    return 98


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("work", ["encode", "train"])
def test_a_signal_is_heard_while_the_library_works(
    tmp_path: Path, zygote: Zygote, work: str, number: int, code: int
) -> None:
    (tmp_path / "place").mkdir()
    ended = zygote.run(tmp_path / "place", "call:test_interruptible.stopped", work, str(int(number)))
    assert (ended.code, ended.err) == (code, "")


def test_what_a_call_returns_or_raises_comes_through() -> None:
    assert interruptible(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 / 0)
    with pytest.raises(SystemExit):
        interruptible(lambda: exec("raise SystemExit(3)"))
