"""Compiled layers give the numbers of plain ones in all that a run does, and never run into torch's limit of graphs."""

from collections.abc import Iterator

import pytest
import torch
import torch._dynamo
import torch._dynamo.utils
from torch import Tensor, nn

from graphs.models.transformer import TransformerEncoder, TransformerLayer

# Sizes that the first batches do not have as numbers of texts or tokens: torch.compile would take the two for one at first.
SIZES = {"hidden_size": 28, "num_layers": 3, "num_heads": 7, "intermediate_size": 12, "max_positions": 32}
LIMIT = 4  # half of torch's, so that a test need not make more than that
DROPOUTS = {"dropout": 0.0, "attention_dropout": 0.0}  # compiled layers draw other random numbers
PADDED = [[5, 3], [12, 1], [31, 30, 2, 8], [17, 16, 17]]
ALL = [*PADDED, [9], [3], [4, 4], [6, 6, 6], [1], [1, 1], [2, 1]]


@pytest.fixture
def strict() -> Iterator[None]:
    """A recompile beyond the limit is an error, not a warning after which nothing is compiled."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True, recompile_limit=LIMIT):
        yield
    torch._dynamo.reset()


def pair(**options: object) -> list[TransformerEncoder]:
    """An encoder, and the same with compiled layers."""
    encoders = []
    for is_compiled in (False, True):
        torch.manual_seed(0)
        encoders.append(TransformerEncoder(60, **SIZES, **DROPOUTS, **options, compile_layers=is_compiled))
    return encoders


def results(encoder: TransformerEncoder, ids: Tensor, mask: Tensor, *, is_mixed: bool) -> list[Tensor | None]:
    """The vectors of a batch, and in training all gradients; as in a run, evaluation is in float32 always."""
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=is_mixed and encoder.training)
    with autocast, torch.set_grad_enabled(encoder.training):
        encoded = encoder(ids, mask).to(encoder.embeddings.token.weight.dtype)
    if encoder.training:
        encoder.zero_grad()
        (encoded * torch.arange(28)).square().sum().backward()
    return [encoded, *(parameter.grad for parameter in encoder.parameters() if encoder.training)]


def assert_same_epoch(encoders: list[TransformerEncoder], lengths: list[list[int]], *, is_mixed: bool) -> None:
    """Training on every batch, then evaluation."""
    for is_training in (True, False):
        for row in lengths:
            mask = torch.arange(max(row)) < torch.tensor(row)[:, None]
            ids = torch.randint(5, 60, mask.shape) * mask
            found = [results(encoder.train(is_training), ids, mask, is_mixed=is_mixed) for encoder in encoders]
            for plain, compiled in zip(*found, strict=True):
                torch.testing.assert_close(compiled, plain)


def learn_from(encoders: list[TransformerEncoder], first: int) -> None:
    """As `freeze` does: only layers from this one on learn, and what follows them."""
    for encoder in encoders:
        encoder.embeddings.requires_grad_(first == 0)
        for i, layer in enumerate(encoder.layers):
            layer.requires_grad_(i >= first)


@pytest.mark.parametrize(("lengths", "most"), [(PADDED, 5), pytest.param(ALL, 25, marks=pytest.mark.full)])
@pytest.mark.parametrize("is_mixed", [True, pytest.param(False, marks=pytest.mark.full)])
def test_a_run_stays_compiled_and_has_the_numbers_of_a_plain_one(
    monkeypatch: pytest.MonkeyPatch, strict: None, lengths: list[list[int]], most: int, is_mixed: bool
) -> None:
    """Training and evaluation, first of the last layer alone, then of all."""
    compile_eagerly = lambda layer, **options: nn.Module.compile(layer, backend="eager", **options)  # noqa: E731
    monkeypatch.setattr(TransformerLayer, "compile", compile_eagerly)
    encoders = pair()
    for first in (2, 0):
        learn_from(encoders, first)
        assert_same_epoch(encoders, lengths, is_mixed=is_mixed)
    num_graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert LIMIT < num_graphs <= most, "more than the most: a guard has come that need not be"


@pytest.mark.full
@pytest.mark.parametrize("options", [{}, {"norm": "post", "positions": "rotary", "activation": "geglu"}])
def test_torch_s_own_compiler_gives_the_numbers_of_plain_layers(strict: None, options: dict[str, str]) -> None:
    encoders = [encoder.double() for encoder in pair(**options)]  # its sums are in another order
    assert_same_epoch(encoders, [[5, 3], [12, 1], [31, 30, 2, 8]], is_mixed=False)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2
