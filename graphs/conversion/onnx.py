"""A text classifier as an ONNX graph (https://onnx.ai), its 8-bit form, and a graph as a model again.

B: texts, T: tokens of the longest, W: windows of all texts, L: labels, H: hidden size of an LSTM. The graph's inputs are a batch's
tensors by their names, numbered where there are several fields: `input_ids` (B, T) or `input_ids_1`, ..., all int64; its output is
`logits` (B, L). B, W and each T are free.
"""

import contextlib
import copy
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

OUTPUT = "logits"


def named_inputs(fields: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The fields of a batch as the graph's inputs."""
    return {
        f"{name}_{number}" if len(fields) > 1 else name: tensor.long()
        for number, field in enumerate(fields, start=1)
        for name, tensor in field.items()
    }


def to_onnx(model: nn.Module, fields: Sequence[dict[str, Tensor]]) -> bytes:
    """The graph of a classifier in evaluation; fields: those of a batch of at least two texts and tokens, from which it is traced.

    Raises ImportError without the packages onnx and onnxscript.
    """
    inputs, traced = named_inputs(fields), _Traced(model, [list(field) for field in fields])
    sizes = [dict.fromkeys(range(tensor.ndim), torch.export.Dim.DYNAMIC) for tensor in inputs.values()]
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            traced.eval(),
            tuple(inputs.values()),
            dynamo=True,
            dynamic_shapes=(tuple(sizes),),
            input_names=list(inputs),
            output_names=[OUTPUT],
            verbose=False,
        )
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


class _Traced(nn.Module):
    """A classifier with the graph's inputs one after another, and its LSTMs as ONNX's own."""

    def __init__(self, model: nn.Module, names: list[list[str]]) -> None:
        super().__init__()
        self.model, self.names = copy.deepcopy(model), names
        for name, module in list(self.model.named_modules()):
            if isinstance(module, nn.LSTM):
                self.model.set_submodule(name, OnnxLSTM(module))

    def forward(self, *inputs: Tensor) -> Tensor:
        given = iter(inputs)
        fields = [{name: next(given) for name in names} for names in self.names]
        return self.model([field | {"attention_mask": field["attention_mask"].bool()} for field in fields])


class OnnxLSTM(nn.Module):
    """A forward nn.LSTM of one layer as the operator LSTM of ONNX; torch.export would unroll it over the example's length.

    ONNX has the gates in the order input, output, forget, cell, torch has input, forget, cell, output.
    """

    input_weight: Tensor  # (1, 4H, input size)
    hidden_weight: Tensor  # (1, 4H, H)
    bias: Tensor  # (1, 8H)

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        if lstm.num_layers > 1 or lstm.bidirectional or not lstm.batch_first:
            raise ValueError("only an LSTM of one layer and direction, batch first")
        self.hidden_size = lstm.hidden_size
        parts = {name: self._reordered(tensor.detach()) for name, tensor in lstm.named_parameters()}
        self.register_buffer("input_weight", parts["weight_ih_l0"])
        self.register_buffer("hidden_weight", parts["weight_hh_l0"])
        self.register_buffer("bias", torch.cat([parts["bias_ih_l0"], parts["bias_hh_l0"]], dim=1))

    def _reordered(self, gates: Tensor) -> Tensor:
        """(4H, ...) -> (1, 4H, ...)."""
        input_gate, forget_gate, cell, output_gate = gates.chunk(4)
        return torch.cat([input_gate, output_gate, forget_gate, cell])[None]

    def forward(self, hidden: Tensor) -> tuple[Tensor, None]:
        """(B, T, input size) -> (B, T, H), and no final state."""
        num_texts, num_tokens, _ = hidden.shape
        found = torch.onnx.ops.symbolic(
            "LSTM",
            (hidden.transpose(0, 1), self.input_weight, self.hidden_weight, self.bias),
            attrs={"hidden_size": self.hidden_size},
            dtype=hidden.dtype,
            shape=(num_tokens, 1, num_texts, self.hidden_size),
        )
        return found.squeeze(1).transpose(0, 1), None


def to_int8(content: bytes) -> bytes:
    """The graph in 8 bits: weights once, scaled by channel, and activations at each run. Raises ImportError without onnx.

    Of MiniLM on BBC News (223 texts) one scale a matrix changed 4 labels, or 1 with unsigned weights, and a
    probability by 0.38 and 0.26; one a channel changed 1 label, and a probability by 0.09.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as name, _quiet():
        whole, small = Path(name) / "whole.onnx", Path(name) / "small.onnx"
        whole.write_bytes(_with_own_weights(content))
        quantize_dynamic(whole, small, weight_type=QuantType.QInt8, per_channel=True)
        return small.read_bytes()


def _with_own_weights(content: bytes) -> bytes:
    """The graph with weights of its own for each LSTM.

    onnxruntime's quantiser changes their shape in place, and would do so twice where the two texts of a siamese encoder share them.
    """
    import onnx

    model = onnx.load_model_from_string(content)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    taken = set[str]()
    for node in (node for node in model.graph.node if node.op_type == "LSTM"):
        for place, name in enumerate(node.input):
            if name in taken:
                own = model.graph.initializer.add()
                own.CopyFrom(weights[name])
                own.name = node.input[place] = f"{name}_of_{node.name}"
            elif name in weights:
                taken.add(name)
    return bytes(model.SerializeToString())


class OnnxModel(nn.Module):
    """A graph run by onnxruntime on the CPU, called like the classifier that it was made of."""

    def __init__(self, content: bytes) -> None:
        """Raises ImportError without onnxruntime, and its own errors for content that is no such graph."""
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.names = [each.name for each in self.session.get_inputs()]

    def forward(self, fields: Sequence[dict[str, Tensor]]) -> Tensor:
        """The fields of a batch -> logits (B, L) on the device of the batch."""
        inputs = named_inputs(fields)
        given = {name: inputs[name].cpu().numpy() for name in self.names}
        (logits,) = self.session.run([OUTPUT], given)
        return torch.from_numpy(logits).to(fields[0]["input_ids"].device)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' own warnings and progress."""
    loggers: list[Any] = [logging.getLogger(name) for name in (None, "torch.onnx", "torch")]
    levels = [each.level for each in loggers]
    try:
        for each in loggers:
            each.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
