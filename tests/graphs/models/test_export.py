"""torch.export takes a classifier over every encoder, for any number and length of texts, and the program gives eager's logits."""

import contextlib
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from graphs.models import ENCODERS
from graphs.models.text_classifier import FeedForward, TextClassifier

SIZES = {"hidden_size": 8, "num_layers": 2, "num_heads": 2, "intermediate_size": 12, "max_positions": 32}
LSTM = {"embedding_size": 6, "hidden_size": 5, "num_layers": 2}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *(("bag_of_embeddings", {"pooling": pooling}) for pooling in ("mean", "sum", "max")),
    *(("bilstm", LSTM | {"pooling": pooling}) for pooling in ("last", "max", "mean", "attention")),
    ("transformer", SIZES | {"norm": "pre", "positions": "learned", "pooling": "mean"}),
    ("transformer", SIZES | {"norm": "post", "positions": "sinusoidal", "pooling": "max"}),
    ("transformer", SIZES | {"norm": "pre", "positions": "rotary", "activation": "geglu", "pooling": "attention"}),
    ("bert", SIZES | {"pooling": "pooler"}),
    ("bert", SIZES | {"pooling": "cls"}),
]
SHAPES = [[9, 4, 4, 1, 12], [3], [1, 1], [1], [31, 30], [6, 6]]


def model_of(name: str, options: dict[str, Any], num_fields: int = 1) -> TextClassifier:
    """In evaluation; the table of a bag as an optimizer for sparse gradients has it."""
    torch.manual_seed(0)
    sizes = {"sparse_gradients": True} if name == "bag_of_embeddings" else {}
    encoders = [ENCODERS[name](60, **sizes, **options) for _ in range(num_fields)]
    return TextClassifier(encoders, FeedForward(num_fields * encoders[0].output_size, 3)).eval()


def field_of(name: str, lengths: list[int]) -> dict[str, Tensor]:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    field = {"input_ids": torch.randint(5, 60, mask.shape) * mask, "attention_mask": mask}
    if name in ("transformer", "bert"):
        field["token_type_ids"] = (torch.rand(mask.shape) < 0.5).long() * mask
    return field


def exported(model: TextClassifier, fields: list[dict[str, Tensor]]) -> ExportedProgram:
    """Texts and tokens are dynamic. torch unrolls an LSTM over the example's length but for this decomposition of its own."""
    patch: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    if "LSTM" in str(model):
        patches = pytest.importorskip("torch.export._patches")
        patch = patches.register_lstm_while_loop_decomposition()
    sizes = [{name: dict.fromkeys(range(tensor.ndim), Dim.DYNAMIC) for name, tensor in f.items()} for f in fields]
    with torch.no_grad(), patch:
        return torch.export.export(model, (fields,), dynamic_shapes=(sizes,), strict=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=[f"{n}-{o['pooling']}" for n, o in VARIANTS])
def test_an_exported_classifier_is_the_eager_one(name: str, options: dict[str, Any]) -> None:
    model = model_of(name, options)
    program = exported(model, [field_of(name, [7, 5, 2])]).module()
    for lengths in SHAPES:
        fields = [field_of(name, lengths)]
        torch.testing.assert_close(program(fields), model(fields), atol=1e-6, rtol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_fields_and_windows_are_exported_too() -> None:
    """Two fields with the same number of texts, the second one split into windows."""
    model = model_of("transformer", SIZES, num_fields=2)

    def fields_of(first: list[int], second: list[int], num_windows: list[int]) -> list[dict[str, Tensor]]:
        windows = torch.tensor(num_windows)
        index = {"text_index": torch.arange(len(windows)).repeat_interleave(windows), "num_windows": windows}
        return [field_of("transformer", first), field_of("transformer", second) | index]

    program = exported(model, fields_of([5, 3], [8, 2, 8], [2, 1])).module()
    for given in (([4, 9, 1], [6, 6, 5, 2], [1, 2, 1]), ([2], [7, 7, 1], [3])):
        fields = fields_of(*given)
        torch.testing.assert_close(program(fields), model(fields), atol=1e-6, rtol=1e-6)


def test_a_text_beyond_the_positions_is_refused_by_the_program() -> None:
    program = exported(model_of("bert", SIZES), [field_of("bert", [7, 5])]).module()
    with pytest.raises(AssertionError, match="32"):
        program([field_of("bert", [33, 2])])
