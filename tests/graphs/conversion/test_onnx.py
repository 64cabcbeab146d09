"""A classifier as an ONNX graph: eager's logits for any number and length of texts, and torch's LSTM by the operator of ONNX."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graphs.conversion.onnx import OnnxLSTM, OnnxModel, named_inputs, to_int8, to_onnx
from graphs.models import ENCODERS
from graphs.models.text_classifier import FeedForward, TextClassifier

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
SIZES = {"hidden_size": 8, "num_layers": 1, "num_heads": 2, "intermediate_size": 12, "max_positions": 32}
SHAPES = [[9, 4, 4, 1, 12], [3], [1, 1], [1], [31, 30], [6, 6]]


def model_of(name: str, num_fields: int = 1, **options: Any) -> TextClassifier:
    torch.manual_seed(0)
    encoders = [ENCODERS[name](60, **options) for _ in range(num_fields)]
    return TextClassifier(encoders, FeedForward(num_fields * encoders[0].output_size, 3)).eval()


def field_of(lengths: list[int]) -> dict[str, Tensor]:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return {"input_ids": torch.randint(5, 60, mask.shape) * mask, "attention_mask": mask}


def test_a_bilstm_is_two_lstms_of_onnx_a_layer() -> None:
    model = model_of("bilstm", embedding_size=6, hidden_size=5, num_layers=2, pooling="last")
    before = str(model)
    content = to_onnx(model, [field_of([7, 5, 2])])
    assert str(model) == before
    nodes = [node.op_type for node in onnx.load_from_string(content).graph.node]
    assert nodes.count("LSTM") == 4
    assert "Loop" not in nodes
    graph = OnnxModel(content)
    small = OnnxModel(to_int8(content))
    for lengths in SHAPES:
        fields = [field_of(lengths)]
        torch.testing.assert_close(graph(fields), model(fields), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(small(fields), model(fields), atol=1e-2, rtol=0)


@pytest.mark.full
def test_two_fields_the_second_in_windows() -> None:
    """The number of windows is that of the texts in the traced batch, and another one later."""
    model = model_of("transformer", 2, **SIZES)

    def fields_of(first: list[int], second: list[int], num_windows: list[int]) -> list[dict[str, Tensor]]:
        windows = torch.tensor(num_windows)
        index = {"text_index": torch.arange(len(windows)).repeat_interleave(windows), "num_windows": windows}
        return [field_of(first), field_of(second) | index]

    fields = fields_of([3, 3, 2], [3, 2, 3], [1, 1, 1])
    assert list(named_inputs(fields))[-3:] == ["attention_mask_2", "text_index_2", "num_windows_2"]
    graph = OnnxModel(to_onnx(model, fields))
    for given in (([4, 9, 1], [6, 6, 5, 2], [1, 2, 1]), ([2], [7, 7, 1], [3]), ([1], [1], [1])):
        fields = fields_of(*given)
        torch.testing.assert_close(graph(fields), model(fields), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("options", [{"num_layers": 2}, {"bidirectional": True}, {"batch_first": False}])
def test_an_lstm_of_another_kind_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="only an LSTM of one layer"):
        OnnxLSTM(nn.LSTM(4, 4, **({"batch_first": True} | options)))
