"""The padded layout and the packed one: the same numbers, and what only the packed one does."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graphs.layers.packed_attention import packed_attention
from graphs.layers.token_layout import PackedTokens, PaddedTokens
from graphs.models.text_classifier import FeedForward, TextClassifier
from graphs.models.transformer import TransformerEncoder

SIZES = {"hidden_size": 16, "num_layers": 3, "num_heads": 4, "intermediate_size": 24, "max_positions": 32}
NO_SHARE = {
    "dropout": 0.0,
    "attention_dropout": 1e-9,
}  # rounds to none, and takes the way of attention dropout on a CPU


def texts(lengths: list[int]) -> tuple[Tensor, Tensor]:
    """(B, T) random ids, from 5 to 59, and their mask."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.randint(5, 60, mask.shape) * mask, mask


def batch(lengths: list[int], is_pair: bool = False) -> dict[str, Tensor]:
    """A field of random texts; under padding any id stands, and the second segment."""
    ids, mask = texts(lengths)
    field = {"input_ids": ids.masked_fill(~mask, 7), "attention_mask": mask}
    return field | ({"token_type_ids": (torch.rand(mask.shape) < 0.5).long().masked_fill(~mask, 1)} if is_pair else {})


def results(model: TextClassifier, fields: list[dict[str, Tensor]]) -> list[Tensor]:
    """Logits, and the gradients of all parameters."""
    model.zero_grad()
    logits = model(fields)
    (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).mean().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert len(gradients) == len(list(model.parameters()))
    return [logits, *gradients]


@pytest.mark.parametrize("lengths", [[7, 5, 1], [4, 4]], ids=str)
@pytest.mark.parametrize("pooling", ["cls", "pooler", "mean", "max", "attention"])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_padded_tokens_have_the_logits_and_gradients_of_packed_ones(
    monkeypatch: pytest.MonkeyPatch, norm: str, positions: str, pooling: str, lengths: list[int]
) -> None:
    """For a pair, in evaluation, in training without dropout, and by what makes dropout on a CPU fast."""
    calls: list[str] = []
    kept = lambda *given, **how: calls.append("packed") or packed_attention(*given, **how)  # noqa: E731
    monkeypatch.setattr("graphs.layers.attention.packed_attention", kept)
    torch.manual_seed(0)
    options: dict[str, Any] = {"norm": norm, "positions": positions, "pooling": pooling}
    model = TextClassifier([TransformerEncoder(60, **SIZES, **options, **NO_SHARE)], FeedForward(16, 3))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)  # with BERT's 0.02 all tokens would be attended to alike
    fields = [batch(lengths, is_pair=True)]
    found: dict[tuple[bool, bool], list[Tensor]] = {}
    for is_training in (True, False):
        for packed in (True, False):
            model.train(is_training).encoders[0].packed = packed
            calls.clear()
            found[is_training, packed] = results(model, fields)
            assert len(calls) == (3 if packed else 0)
    for is_training in (True, False):
        for packed, padded in zip(found[is_training, True], found[is_training, False], strict=True):
            torch.testing.assert_close(padded, packed, atol=1e-6, rtol=1e-6)


def test_the_option_chooses_the_layout() -> None:
    ids, mask = texts([5, 3])
    for packed in (True, False):
        encoder = TransformerEncoder(60, **SIZES, packed=packed)
        shapes: list[tuple[int, ...]] = []
        encoder.layers[0].register_forward_hook(lambda _, given, output, shapes=shapes: shapes.append(output.shape))
        encoder(ids, mask)
        assert shapes == [(8, 16) if packed else (2, 5, 16)]


def test_layouts_agree_on_where_tokens_are() -> None:
    _, mask = texts([4, 2])
    values = torch.arange(8.0).view(2, 4, 1)
    packed, padded = PackedTokens.of(mask), PaddedTokens(mask)
    assert packed.positions.tolist() == [0, 1, 2, 3, 0, 1]
    assert padded.positions.tolist() == [[0, 1, 2, 3]] * 2
    assert packed.strip(values).flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert packed.pad(packed.strip(values)).flatten().tolist() == [0, 1, 2, 3, 4, 5, 0, 0]
    assert torch.equal(padded.pad(padded.strip(values)), values)
    assert packed.first(packed.strip(values)).tolist() == padded.first(values).tolist() == [[0], [4]]


@pytest.mark.parametrize("options", [{}, {"norm": "post"}, {"positions": "rotary"}])
def test_attention_weights_are_those_that_the_states_were_made_with(options: dict[str, str]) -> None:
    torch.manual_seed(0)
    encoder = TransformerEncoder(60, **SIZES, **options).eval()
    ids, mask = texts([6, 3])
    made: list[tuple[Tensor, ...]] = []  # what the attention of each layer was given, and what it returned
    for layer in encoder.layers:
        layer.attention.register_forward_hook(lambda _, given, output: made.append((*given, output)))
    tokens = PackedTokens.of(mask)
    encoder.encode(ids, tokens)
    seen = encoder.attention_of(ids, mask)
    assert [weights.shape for weights in seen] == [(2, 4, 6, 6)] * 3
    for weights, layer, (hidden, _, rotation, _, output) in zip(seen, encoder.layers, made[:3], strict=True):
        torch.testing.assert_close(weights.sum(-1), mask[:, None, :].expand(2, 4, 6).float())
        assert not weights[1, :, :, 3:].any()
        value = tokens.pad(layer.attention.project(hidden, rotation))[:, :, 2].transpose(1, 2)  # (B, A, T, D)
        context = tokens.strip((weights @ value).transpose(1, 2)).flatten(1)
        torch.testing.assert_close(layer.attention.output(context), output)


@pytest.mark.parametrize("pooling", ["cls", "pooler", "mean", "max", "attention"])
@pytest.mark.parametrize("lengths", [[3, 0], [0, 3], [2, 0, 4]])
def test_a_text_without_a_real_token_is_refused(lengths: list[int], pooling: str) -> None:
    """Its first token would be another text's, or none."""
    ids, mask = texts(lengths)
    encoder = TransformerEncoder(60, **SIZES, pooling=pooling)
    with pytest.raises(ValueError, match=f"text {lengths.index(0)} of the batch has no real token"):
        encoder(ids, mask)


def test_token_index_given_is_token_index_found() -> None:
    _, mask = texts([6, 3, 1])
    found, given = PackedTokens.of(mask), PackedTokens.of(mask, mask.flatten().nonzero().squeeze(1))
    assert all(torch.equal(a, b) for a, b in zip(found[:3], given[:3], strict=True))
    assert found.offsets.tolist() == [0, 6, 9, 10]
    assert found.offsets.dtype == torch.int32


@pytest.mark.parametrize("lengths", [[6, 3, 1], [4, 4]], ids=str)
@pytest.mark.parametrize(
    "attention_dropout", [0.0, 1e-9], ids=["torch's function", "ours, with a share that rounds to none"]
)
@pytest.mark.parametrize("options", [{}, {"norm": "post"}, {"positions": "rotary"}, {"checkpoint_activations": True}])
def test_the_first_tokens_alone_have_the_states_that_they_have_among_all(
    options: dict[str, Any], attention_dropout: float, lengths: list[int]
) -> None:
    torch.manual_seed(0)
    encoder = TransformerEncoder(60, **SIZES, **options, dropout=0, attention_dropout=attention_dropout)
    ids, mask = texts(lengths)
    tokens, probe = PackedTokens.of(mask), torch.randn(len(lengths), 16)
    states, gradients = [], []
    for first_only in (False, True):
        encoder.zero_grad()
        found = encoder.encode(ids, tokens, first_only=first_only)
        states.append(found if first_only else found[tokens.offsets[:-1]])
        (states[-1] * probe).sum().backward()
        gradients.append([parameter.grad for parameter in encoder.parameters()])
    torch.testing.assert_close(states[1], states[0])
    for cut, whole in zip(*reversed(gradients), strict=True):
        torch.testing.assert_close(cut, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("pooling", "num_states"), [("cls", 2), ("pooler", 2), ("mean", 9)])
def test_the_last_layer_does_what_the_pooling_wants_and_no_more(pooling: str, num_states: int) -> None:
    encoder = TransformerEncoder(60, **SIZES, pooling=pooling)
    seen: list[int] = []
    for layer in encoder.layers:
        layer.feed_forward.register_forward_hook(lambda _, given, output: seen.append(len(output)))
    encoder(*texts([6, 3]))
    assert seen == [9, 9, num_states]
