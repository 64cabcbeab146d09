"""The padded BiLSTM is the packed one: values and gradients."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from graphs.models.bilstm import BiLSTM, reversed_positions

TEXTS = [[5, 6, 7, 8, 9, 3], [4], [10, 11, 12], [2, 2, 5, 5]]


class PackedBiLSTM(nn.Module):
    """The same model as torch's documentation would have it: nn.LSTM(bidirectional=True) over a packed sequence."""

    def __init__(self, ours: BiLSTM, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(ours.embedding.weight.detach().clone(), freeze=False)
        size, layers = self.embedding.embedding_dim, len(ours.forward_layers)
        self.lstm = nn.LSTM(size, hidden_size, layers, batch_first=True, bidirectional=True)
        for name, parameter in self.lstm.named_parameters():
            parameter.data.copy_(our_parameter(ours, name).detach())

    def forward(self, input_ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(hidden (B, T, 2H), last states (B, 2H))"""
        packed = pack_padded_sequence(self.embedding(input_ids), lengths, batch_first=True, enforce_sorted=False)
        output, (last, _) = self.lstm(packed)
        return pad_packed_sequence(output, batch_first=True)[0], torch.cat([last[-2], last[-1]], dim=-1)


def our_parameter(ours: BiLSTM, name: str) -> nn.Parameter:
    """weight_ih_l1_reverse of nn.LSTM is weight_ih_l0 of our second backward layer."""
    layers = ours.backward_layers if name.endswith("_reverse") else ours.forward_layers
    kind, _, depth = name.removesuffix("_reverse").rpartition("_l")
    parameter: nn.Parameter = getattr(layers[int(depth)], f"{kind}_l0")
    return parameter


def pooled(pooling: str, hidden: Tensor, last: Tensor, mask: Tensor) -> Tensor:
    if pooling == "last":
        return last
    texts = [states[row] for states, row in zip(hidden, mask, strict=True)]
    return torch.stack([text.amax(dim=0) if pooling == "max" else text.mean(dim=0) for text in texts])


@pytest.mark.parametrize("pooling", ["last", "max", "mean"])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_equals_the_packed_computation_with_gradients(pooling: str, num_layers: int) -> None:
    torch.manual_seed(1)
    ours = BiLSTM(20, embedding_size=7, hidden_size=5, num_layers=num_layers, pooling=pooling).double()  # type: ignore[arg-type]
    packed = PackedBiLSTM(ours, 5).double()
    input_ids = pad_sequence([torch.tensor(text) for text in TEXTS], batch_first=True)
    mask = input_ids > 0
    hidden, last = packed(input_ids, mask.sum(dim=1))
    expected, actual = pooled(pooling, hidden, last, mask), ours(input_ids, mask)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    for output in (actual, expected):
        (output * torch.linspace(-1, 1, output.numel(), dtype=torch.double).view_as(output)).sum().backward()
    for name, parameter in packed.lstm.named_parameters():
        torch.testing.assert_close(our_parameter(ours, name).grad, parameter.grad, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.embedding.weight.grad, packed.embedding.weight.grad, rtol=0, atol=1e-12)


def test_reversing_twice_gives_every_position_back() -> None:
    mask = torch.arange(6) < torch.tensor([[6], [1], [4]])
    positions = reversed_positions(mask)
    assert positions[2].tolist() == [3, 2, 1, 0, 4, 5]
    assert torch.equal(positions.gather(1, positions), torch.arange(6).expand(3, 6))
