"""The contract of every encoder in the table."""

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from graphs.models import ENCODERS
from graphs.models.bag_of_embeddings import BagOfEmbeddings
from graphs.models.text_classifier import FeedForward, TextClassifier
from graphs.models.transformer import TransformerEncoder
from utils.config.schema import sizes_of

VOCAB_SIZE = 20
VARIANTS: list[tuple[str, dict[str, object]]] = [
    ("bag_of_embeddings", {"embedding_size": 6, "pooling": pooling}) for pooling in ("mean", "sum", "max")
] + [
    ("bilstm", {"embedding_size": 6, "hidden_size": 5, "num_layers": layers, "pooling": pooling})
    for pooling in ("last", "max", "mean", "attention")
    for layers in (1, 2)
]
TINY = {"hidden_size": 8, "num_layers": 2, "num_heads": 2, "intermediate_size": 12, "max_positions": 24, "dropout": 0.0}
TINY |= {"attention_dropout": 0.0}
VARIANTS += [("bert", TINY | {"pooling": pooling}) for pooling in ("pooler", "cls", "mean", "max", "attention")]
VARIANTS += [
    ("transformer", TINY | {"norm": norm, "positions": positions, "activation": activation})
    for norm, positions, activation in (
        ("pre", "learned", "gelu"),
        ("post", "sinusoidal", "relu"),
        ("pre", "rotary", "geglu"),
        ("post", "rotary", "gelu_tanh"),
    )
]
OURS = dict(VARIANTS)
VARIANTS += [(name, {}) for name in ENCODERS if name not in dict(VARIANTS)]  # a new encoder is tested with its defaults


def build(name: str, options: dict[str, object], *, is_sparse: bool = False) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCAB_SIZE, "sparse_gradients": is_sparse, "num_labels": 2}
    return ENCODERS[name](*(sizes[size] for size in sizes_of(ENCODERS[name])), **options)


@pytest.fixture(params=VARIANTS, ids=lambda variant: "-".join(map(str, [variant[0], *variant[1].values()])))
def encoder(request: pytest.FixtureRequest) -> nn.Module:
    return build(*request.param)


def ids(*texts: list[int]) -> tuple[Tensor, Tensor]:
    """Texts padded to the longest, and their mask."""
    padded = nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True)
    return padded, padded > 0


def test_output_has_the_promised_size(encoder: nn.Module) -> None:
    assert encoder(*ids([5, 6, 7], [8])).shape == (2, encoder.output_size)


def test_padding_does_not_change_the_encoding(encoder: nn.Module) -> None:
    encoder.eval()
    alone, mask = ids([5, 6, 7])
    padded = torch.cat([alone, torch.zeros(1, 4, dtype=torch.long)], dim=1)
    torch.testing.assert_close(encoder(alone, mask), encoder(padded, padded > 0))


def test_what_lies_under_padding_does_not_count(encoder: nn.Module) -> None:
    encoder.eval()
    padded, mask = ids([5, 6, 7], [8, 9])
    garbage = padded.masked_fill(~mask, 11)
    torch.testing.assert_close(encoder(padded, mask), encoder(garbage, mask))


def test_batch_mates_do_not_change_the_encoding(encoder: nn.Module) -> None:
    encoder.eval()
    texts = [[5, 6, 7, 8], [9], [10, 11]]
    together = encoder(*ids(*texts))
    for text, vector in zip(texts, together, strict=True):
        torch.testing.assert_close(encoder(*ids(text))[0], vector)


SEGMENTED = [
    pytest.param(v, id="-".join(map(str, [v[0], *v[1].values()]))) for v in VARIANTS if v[0] in ("transformer", "bert")
]


@pytest.mark.parametrize("variant", SEGMENTED)
def test_segments_count_and_neither_padding_nor_batch_mates_do(variant: tuple[str, dict[str, object]]) -> None:
    encoder = build(*variant).eval()
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.3)  # what a start with 0.02 says of segments would be lost in the tolerance
    texts, segments = [[5, 6, 7, 8], [9], [10, 11, 12]], [[0, 0, 1, 1], [0], [0, 1, 1]]
    padded, mask = ids(*texts)
    types = ids(*segments)[0]
    together = encoder(padded, mask, token_type_ids=types)
    for text, segment, vector in zip(texts, segments, together, strict=True):
        alone = encoder(*ids(text), token_type_ids=torch.tensor([segment]))
        torch.testing.assert_close(alone[0], vector)
    torch.testing.assert_close(encoder(padded, mask, token_type_ids=types.masked_fill(~mask, 1)), together)
    without = encoder(padded, mask)
    torch.testing.assert_close(without[1], together[1])  # no types are those of the first segment
    assert not torch.allclose(without[0], together[0], atol=1e-3)


@pytest.mark.parametrize("variant", SEGMENTED)
def test_token_index_given_changes_nothing(variant: tuple[str, dict[str, object]]) -> None:
    """Bit for bit, gradients too: `Batch.to` makes it for a GPU, on a CPU the model finds it."""
    encoder = build(*variant)
    padded, mask = ids([5, 6, 7, 8], [9], [10, 11])
    results = []
    for index in (None, mask.flatten().nonzero().squeeze(1)):
        encoder.zero_grad()
        encoded = encoder(padded, mask, token_index=index)
        (encoded * torch.arange(encoder.output_size)).square().sum().backward()
        results.append([encoded, *(p.grad for p in encoder.parameters() if p.grad is not None)])
    assert len(results[0]) > 10
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_every_parameter_gets_a_gradient(encoder: nn.Module) -> None:
    weights = torch.linspace(1, 2, encoder.output_size)  # a plain sum of softmax weights would have no gradient
    (encoder(*ids([5, 6, 7, 8], [9, 10])) * weights).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_overfits_one_batch(encoder: nn.Module) -> None:
    model = TextClassifier([encoder], FeedForward(encoder.output_size, 2))
    padded, mask = ids([5, 6, 7, 8], [9, 10], [11], [12, 13, 5])
    labels = torch.tensor([0, 1, 0, 1])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model([{"input_ids": padded, "attention_mask": mask}]), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


def test_save_and_load_give_the_same_encoding(encoder: nn.Module, request: pytest.FixtureRequest) -> None:
    weights = safetensors.torch.load(safetensors.torch.save(encoder.state_dict()))
    name, options = request.node.callspec.params["encoder"]
    other = build(name, options)
    for parameter in other.parameters():
        nn.init.normal_(parameter)
    other.load_state_dict(weights)
    padded, mask = ids([5, 6, 7, 8], [9, 10])
    assert torch.equal(other.eval()(padded, mask), encoder.eval()(padded, mask))


def test_builds_on_meta_and_refuses_bad_sizes() -> None:
    with torch.device("meta"):
        for name in OURS:
            assert next(build(name, {}).parameters()).device.type == "meta"
            size = "hidden_size" if issubclass(ENCODERS[name], TransformerEncoder) else "embedding_size"
            with pytest.raises(ValueError, match=size):
                build(name, {size: 0})
            with pytest.raises(ValueError, match="dropout"):
                build(name, {"dropout": 1.5})


def test_word_dropout_changes_training_only() -> None:
    encoder = build("bilstm", {"embedding_size": 6, "hidden_size": 5, "word_dropout": 0.5})
    padded, mask = ids(list(range(2, 19)))
    assert not torch.equal(encoder(padded, mask), encoder(padded, mask))
    encoder.eval()
    assert torch.equal(encoder(padded, mask), encoder(padded, mask))


@pytest.mark.parametrize(("num_labels", "given", "size"), [(2, None, 10), (10, None, 10), (11, None, 100), (77, 6, 6)])
def test_a_bag_has_a_dimension_for_every_label(num_labels: int, given: int | None, size: int) -> None:
    """The classifier on E dimensions has rank E: 10 of them tell 77 labels apart badly."""
    assert BagOfEmbeddings(20, num_labels=num_labels, embedding_size=given).output_size == size
