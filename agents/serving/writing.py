"""A generated text as it grows, and which source tokens each of its tokens has looked at. S: source tokens, T: target tokens."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from agents.serving.served_run import ServedRun
from agents.translating.generator import Generator
from datasets.tokenizers.pair import sides_of

DIGITS = 4  # of an attention weight


class Abandoned(Exception):
    """Nobody reads the text any more."""


def written(run: ServedRun, text: str) -> AsyncIterator[str]:
    """JSON lines: {"text": what greedy search has written so far}, ..., and at last the answer. Raises Busy before the first."""
    generator = run.predictor
    assert isinstance(generator, Generator)
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[dict[str, Any] | None]()
    is_gone = threading.Event()

    def tell(line: dict[str, Any] | None) -> None:
        if is_gone.is_set():
            raise Abandoned
        loop.call_soon_threadsafe(lines.put_nowait, line)

    def finished(job: "asyncio.Future[dict[str, Any]]") -> None:
        error = job.exception()
        lines.put_nowait({"error": str(error)} if error else {"run": run.name, **job.result()})
        lines.put_nowait(None)

    run.batcher.alone(lambda: write(generator, text, lambda now: tell({"text": now}))).add_done_callback(finished)

    async def stream() -> AsyncIterator[str]:
        try:
            while (line := await lines.get()) is not None:
                yield json.dumps(line) + "\n"
        finally:
            is_gone.set()

    return stream()


def write(generator: Generator, text: str, show: Callable[[str], None]) -> dict[str, Any]:
    """Show a text as greedy search writes it; -> the answer by the run's own options, with its cross-attention."""
    translator, tokens = (
        generator.translator,
        generator.source_tokenizer.encode([text], **generator.corpus.length_options),
    )
    ids, mask = (torch.from_numpy(array).to(generator.device) for array in tokens.pad(np.arange(1)))
    so_far: list[int] = []

    def watch(newest: list[int]) -> None:
        so_far.extend(newest)
        show(translator.text_of(so_far).rstrip("\ufffd"))  # a character of several bytes is shown when it is whole

    greedy = replace(translator.options, beam_size=1, with_greedy=False)
    best = translator.hypotheses(ids, mask, greedy, watch=watch)[0][0]
    if translator.options.beam_size > 1:
        best = translator.hypotheses(ids, mask)[0][0]
    return {
        "predicted": translator.text_of(best.ids),
        "log_probability": best.log_probability,
        "is_complete": best.is_complete,
        "truncated": bool(tokens.truncated[0]),
        "attention": attention(generator, ids, mask, best.ids),
    }


@torch.no_grad()
def attention(generator: Generator, ids: torch.Tensor, mask: torch.Tensor, target: list[int]) -> dict[str, Any]:
    """`source` (S) and `target` (T) tokens, and `weights` (T, S) of the last layer, averaged over heads, as token t was chosen."""
    source, own = sides_of(generator.artifacts.tokenizer)
    start = generator.translator.start
    # Each token is chosen from what stands before it.
    before = torch.tensor([[*start, *target][:-1]], dtype=torch.long, device=ids.device)
    layers = generator.translator.model.cross_attention_of(ids, mask, before)  # each (1, A, T', S)
    weights = layers[-1][0].mean(dim=0)[len(start) - 1 :]
    return {
        "source": [_shown(source, id) for id in ids[0].tolist()],
        "target": [_shown(own, id) for id in target],
        "weights": [[round(weight, DIGITS) for weight in row] for row in weights.tolist()],
    }


def _shown(tokenizer: Any, id: int) -> str:
    """A token as a reader knows it; a special one, or a space, by its name."""
    return tokenizer.decode([id]).strip() or str(tokenizer.token(id))
