"""The encoder-decoder: equal to torch's and Marian's, packed and padded, with a cache and without; nothing leaks."""

from typing import Any

import pytest
import torch
from pairs import BEGIN, SIZES, VOCAB, from_marian, from_torch, like_marian, marian, pair_batch, torch_transformer
from torch import Tensor
from torch.nn.attention import varlen
from varlen_by_hand import plain_varlen

from graphs.layers import packed_attention
from graphs.losses.token_cross_entropy import TokenCrossEntropy
from graphs.models.encoder_decoder import EncoderDecoder

VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {"norm": "post", "attention_dropout": 0.0},
    "learned": {"positions": "learned", "tie_embeddings": "target"},
    "rotary": {"positions": "rotary", "activation": "geglu", "tie_embeddings": "none"},
    "uneven": {"num_decoder_layers": 1, "checkpoint_activations": True},
}


def model_of(variant: str, **options: Any) -> EncoderDecoder:
    torch.manual_seed(1)
    return EncoderDecoder(VOCAB, **SIZES | VARIANTS[variant] | options)


def with_paths(model: EncoderDecoder, *, packed: bool) -> EncoderDecoder:
    model.packed = model.encoder.packed = packed
    return model


@pytest.fixture(params=list(VARIANTS))
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Other libraries.


def test_it_is_marian() -> None:
    theirs, batch = marian(), pair_batch()
    model = like_marian(theirs)
    padded = batch.target_ids.masked_fill(~batch.target_mask, 0)
    asked = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask.long(), "decoder_input_ids": padded}
    logits = theirs(**asked).logits[batch.target_mask]
    own = model(batch)
    torch.testing.assert_close(own, logits, atol=1e-5, rtol=1e-5)
    for found in (own, logits):
        torch.nn.functional.cross_entropy(found, batch.labels, reduction="sum").backward()
    known = {name: parameter.grad for name, parameter in theirs.named_parameters() if parameter.grad is not None}
    known |= {f"model.{side}.embed_positions.weight": torch.zeros(64, 32) for side in ("encoder", "decoder")}  # fixed
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if "position" not in name}
    for name, gradient in from_marian(known).items():
        if name in gradients:
            torch.testing.assert_close(
                gradients.pop(name), gradient, atol=1e-4, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
            )
    assert not gradients


def test_it_is_nn_transformer() -> None:
    theirs, batch = torch_transformer(), pair_batch()
    model = EncoderDecoder(VOCAB, **SIZES, positions="rotary", norm="pre")
    model.positions = model.encoder.positions = "none"  # type: ignore[assignment]  # torch's has none
    missing = model.load_state_dict(from_torch(dict(theirs.state_dict())), strict=False)
    assert missing.missing_keys == ["encoders.0.embeddings.token.weight"]
    assert not missing.unexpected_keys
    table = model.table
    hidden = theirs(
        table[batch.input_ids],
        table[batch.target_ids],
        tgt_mask=torch.nn.Transformer.generate_square_subsequent_mask(batch.target_ids.shape[1]) < 0,
        src_key_padding_mask=~batch.attention_mask,
        memory_key_padding_mask=~batch.attention_mask,
        tgt_is_causal=True,
    )
    logits = (hidden @ table.T)[batch.target_mask]
    own = model(batch)
    torch.testing.assert_close(own, logits, atol=1e-5, rtol=1e-5)
    weight = torch.randn(own.shape, generator=torch.Generator().manual_seed(0))
    expected = torch.autograd.grad((logits * weight).sum(), list(theirs.parameters()))
    known = from_torch({name: g for (name, _), g in zip(theirs.named_parameters(), expected, strict=True)})
    (own * weight).sum().backward()
    for name, parameter in model.named_parameters():
        if name in known:
            torch.testing.assert_close(parameter.grad, known.pop(name), atol=1e-4, rtol=1e-4)
    assert not known


# Its own ways to compute.


def test_packed_is_padded(variant: str) -> None:
    batch, found = pair_batch(), []
    for packed in (True, False):
        model = with_paths(model_of(variant), packed=packed).train()
        loss = model(batch, TokenCrossEntropy()).loss
        loss.backward()
        found.append([model(batch), loss, *(parameter.grad for parameter in model.parameters())])
    for ours, other in zip(*found, strict=True):
        torch.testing.assert_close(ours, other, atol=1e-4, rtol=1e-4)


def test_without_padding_on_a_gpu_is_padded(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way to the kernel, whose results are computed by hand here; on CUDA the kernel itself."""
    batch, model = pair_batch(), model_of(variant).train()
    padded = model(batch, TokenCrossEntropy()).loss
    expected = torch.autograd.grad(padded, list(model.parameters()))
    calls: list[str] = []
    monkeypatch.setattr(
        varlen, "varlen_attn", lambda *given, **window: calls.append("") or plain_varlen(*given, **window)
    )
    monkeypatch.setattr(packed_attention, "fits_kernel", lambda hidden, num_heads, p: True)
    found = model(batch, TokenCrossEntropy()).loss
    gradients = torch.autograd.grad(found, list(model.parameters()))
    assert len(calls) >= len(model.encoder.layers) + 2 * len(model.layers)
    torch.testing.assert_close(found, padded)
    for ours, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, other, atol=1e-4, rtol=1e-4)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_cuda_it_is_what_it_is_on_the_cpu(dtype: torch.dtype) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    torch.manual_seed(1)
    model = EncoderDecoder(VOCAB, **SIZES | {"hidden_size": 64}).train()
    batch = pair_batch()
    expected = model(batch, TokenCrossEntropy()).loss
    there = type(batch)(**{name: value.cuda() for name, value in vars(batch).items()})
    with torch.autocast("cuda", dtype, enabled=dtype == torch.bfloat16):
        found = model.cuda()(there, TokenCrossEntropy()).loss
    found.backward()
    torch.testing.assert_close(found.cpu(), expected, rtol=2e-2 if dtype == torch.bfloat16 else 1e-4, atol=0)
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_each_pair_alone_has_the_logits_of_the_batch(variant: str) -> None:
    batch, model = pair_batch(), model_of(variant).eval()
    whole = model(batch).split(batch.target_mask.sum(dim=1).tolist())
    for row, logits in enumerate(whole):
        sources, targets = int(batch.attention_mask[row].sum()), int(batch.target_mask[row].sum())
        alone = {
            "input_ids": batch.input_ids[row : row + 1, :sources],
            "target_ids": batch.target_ids[row : row + 1, :targets],
        }
        alone |= {"attention_mask": torch.ones(1, sources, dtype=torch.bool), "token_index": torch.arange(sources)}
        alone |= {"target_mask": torch.ones(1, targets, dtype=torch.bool), "target_index": torch.arange(targets)}
        torch.testing.assert_close(model(type(batch)(**alone)), logits, atol=1e-5, rtol=1e-5)


def test_step_by_step_is_all_at_once(variant: str) -> None:
    """Three rows of a text, two of which come to nothing and are continued from the other one."""
    batch, model = pair_batch(), model_of(variant).eval()
    logits = torch.zeros(*batch.target_ids.shape, VOCAB).masked_scatter(batch.target_mask[:, :, None], model(batch))
    generation = model.begin(batch.input_ids, batch.attention_mask, 3)
    texts, parents = torch.arange(5), torch.tensor([[0, 0, 2]]).expand(5, -1)
    for position in range(batch.target_ids.shape[1]):
        right = batch.target_ids[:, position]
        given = torch.stack([right, right.roll(1), right], dim=1)
        given[:, 2] = given[:, 2] if position < 2 else BEGIN
        found = model.step(given, generation)
        is_real = batch.target_mask[:, position]
        torch.testing.assert_close(found[is_real, 0], logits[is_real, position], atol=1e-4, rtol=1e-4)
        if position > 0:
            assert not torch.allclose(found[is_real, 1], logits[is_real, position], atol=1e-3)
        generation.keep(texts, parents)
    kept = torch.tensor([1, 4])
    generation.keep(kept, parents[:2])
    assert model.step(torch.full((2, 3), 7), generation).shape == (2, 3, VOCAB)


@pytest.mark.parametrize("packed", [True, False])
def test_no_target_sees_what_comes_after_it(variant: str, packed: bool) -> None:
    batch, model = pair_batch(longest=(9, 7)), with_paths(model_of(variant), packed=packed).eval()
    before = rows_of(model(batch), batch)
    for position in range(1, 7):
        changed = batch.target_ids.clone()
        changed[:, position] = (changed[:, position] + 1) % VOCAB
        after = rows_of(model(type(batch)(**vars(batch) | {"target_ids": changed})), batch)
        assert torch.equal(after[:, :position], before[:, :position])
        assert not torch.equal(after[0, position:], before[0, position:])


@pytest.mark.parametrize("packed", [True, False])
def test_the_gradient_of_what_comes_after_is_exactly_zero(packed: bool) -> None:
    for variant in ("paper", "rotary"):
        batch, model = pair_batch(), with_paths(model_of(variant), packed=packed).train()
        embedded: list[Tensor] = []
        model.embeddings.register_forward_hook(lambda *call, kept=embedded: kept.append(call[2]))
        logits = rows_of(model(batch), batch)
        (gradient,) = torch.autograd.grad(logits[0, 3].sum(), embedded)
        gradient = rows_of(gradient, batch) if packed else gradient
        assert gradient[0, :4].abs().sum(dim=-1).min() > 0
        assert torch.count_nonzero(gradient[0, 4:]) == 0
        assert torch.count_nonzero(gradient[1:]) == 0


def test_source_padding_changes_nothing() -> None:
    batch, model = pair_batch(), model_of("paper").eval()
    other = batch.input_ids.masked_fill(~batch.attention_mask, 11)
    assert torch.equal(model(type(batch)(**vars(batch) | {"input_ids": other})), model(batch))


def rows_of(packed: Any, batch: Any) -> Tensor:
    """(N, X) of the real target tokens -> (B, T, X)."""
    shape = (*batch.target_mask.shape, packed.shape[-1])
    return torch.zeros(shape, dtype=packed.dtype).masked_scatter(batch.target_mask[:, :, None], packed)


def test_every_weight_learns(variant: str) -> None:
    model, batch = model_of(variant).train(), pair_batch()
    model(batch, TokenCrossEntropy()).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0, name


def test_cross_attention_is_what_the_model_uses(variant: str) -> None:
    batch, model = pair_batch(), model_of(variant).eval()
    found = model.cross_attention_of(batch.input_ids, batch.attention_mask, batch.target_ids)
    assert len(found) == len(model.layers)
    for weights in found:
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))
        assert torch.count_nonzero(weights.masked_select(~batch.attention_mask[:, None, None, :])) == 0


def test_bad_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="num_heads must divide hidden_size 32, got 5"):
        EncoderDecoder(VOCAB, **SIZES | {"num_heads": 5})
    with pytest.raises(ValueError, match="tie_embeddings: all needs one tokenizer for both sides"):
        EncoderDecoder(VOCAB, 30, **SIZES)
    batch = pair_batch(longest=(9, 7))
    model = EncoderDecoder(VOCAB, **SIZES, positions="learned", max_positions=6)
    with pytest.raises(ValueError, match="a target of 7 tokens is longer than max_positions 6"):
        model.decode(batch.target_ids, None, None)  # type: ignore[arg-type]
