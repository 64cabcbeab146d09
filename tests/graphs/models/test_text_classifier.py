"""Encoders get of a batch what they ask for, and the windows of a text become one vector."""

import torch
from torch import Tensor, nn

from graphs.models.text_classifier import FeedForward, TextClassifier

FIELD = {
    "input_ids": torch.tensor([[1, 2], [3, 0], [4, 5]]),
    "attention_mask": torch.tensor([[True, True], [True, False], [True, True]]),
    "token_index": torch.tensor([0, 1, 2, 4, 5]),
}
WINDOWS = FIELD | {"text_index": torch.tensor([0, 1, 1]), "num_windows": torch.tensor([1, 2])}


class Encoder(nn.Module):
    """The first id of each text, as a vector of two."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        self.seen = ["input_ids", "attention_mask"]
        return input_ids[:, :1].float().expand(-1, 2)


class Curious(Encoder):
    """One that asks for more than the other."""

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_index: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        self.seen = ["token_index", *(["token_type_ids"] if token_type_ids is not None else [])]
        return input_ids[:, :1].float().expand(-1, 2)


def model_of(*encoders: nn.Module) -> TextClassifier:
    model = TextClassifier(encoders, FeedForward(2 * len(encoders), 3))
    model.head = nn.Identity()
    return model


def test_an_encoder_is_given_what_its_forward_has_parameters_for() -> None:
    plain, curious = Encoder(), Curious()
    model_of(plain, curious)([FIELD, FIELD])
    assert plain.seen == ["input_ids", "attention_mask"]
    assert curious.seen == ["token_index"]
    model_of(curious)([FIELD | {"token_type_ids": torch.zeros(3, 2, dtype=torch.long)}])
    assert curious.seen == ["token_index", "token_type_ids"]


def test_a_text_is_the_mean_of_its_windows() -> None:
    assert model_of(Encoder())([WINDOWS]).tolist() == [[1.0, 1.0], [3.5, 3.5]]
    assert model_of(Encoder())([FIELD]).tolist() == [[1.0, 1.0], [3.0, 3.0], [4.0, 4.0]]


def test_every_field_has_its_own_windows() -> None:
    whole = {name: FIELD[name][:2] for name in ("input_ids", "attention_mask")}
    assert model_of(Encoder(), Encoder())([WINDOWS, whole]).tolist() == [[1, 1, 1, 1], [3.5, 3.5, 3, 3]]


def test_gradients_reach_every_window() -> None:
    table = nn.Embedding(6, 2)

    class Lookup(nn.Module):
        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return table(input_ids[:, 0])

    model_of(Lookup())([WINDOWS]).sum().backward()
    assert table.weight.grad is not None
    assert table.weight.grad[[1, 3, 4]].tolist() == [[1, 1], [0.5, 0.5], [0.5, 0.5]]
