"""A model's graph: of the padded computation, with nothing of the model or of the random numbers changed."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from datasets.batches.text_batch import TextBatch, collate
from datasets.tokenizers.tokens import Tokens
from graphs.models.bag_of_embeddings import BagOfEmbeddings
from graphs.models.text_classifier import FeedForward, TextClassifier
from graphs.models.transformer import TransformerEncoder
from utils.training.tracing import TracingError, write_graph

SIZES: dict[str, Any] = {"hidden_size": 8, "num_layers": 2, "num_heads": 2, "intermediate_size": 16}


def batch() -> TextBatch:
    lengths = np.array([3, 1, 4])
    tokens = Tokens.from_lengths(np.arange(2, 10, dtype=np.int32), lengths, np.zeros(3, dtype=bool))
    return collate([tokens, tokens], {}, np.arange(3))


def classifier(kind: str) -> TextClassifier:
    torch.manual_seed(0)
    encoders: list[Any] = [
        TransformerEncoder(20, **SIZES) if kind == "transformer" else BagOfEmbeddings(20, kind == "sparse")
        for _ in range(2)
    ]
    return TextClassifier(encoders, FeedForward(2 * encoders[0].output_size, 3))


@pytest.mark.parametrize("kind", ["transformer", "dense", "sparse"])
def test_the_graph_is_that_of_padded_texts_and_changes_nothing(tmp_path: Path, kind: str) -> None:
    model = classifier(kind)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    with SummaryWriter(str(tmp_path)) as writer:
        write_graph(writer, model, batch())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(encoder.packed for encoder in model.encoders if kind == "transformer")
    nodes = EventAccumulator(str(tmp_path)).Reload().Graph().node
    operations = {node.op for node in nodes}
    assert not operations & {"aten::nonzero", "aten::cumsum"}, (
        "of packed texts, whose number of tokens depends on values"
    )
    shapes = [node.attr["_output_shapes"].list.shape[0] for node in nodes if node.name.startswith("input/")]
    assert [3, 4] in [[int(dim.size) for dim in shape.dim] for shape in shapes]


def test_a_model_that_draws_in_evaluation_draws_nothing_for_good(tmp_path: Path) -> None:
    class Noisy(BagOfEmbeddings):
        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return super().forward(input_ids, attention_mask) * torch.rand(())

    model = TextClassifier([Noisy(20), Noisy(20)], FeedForward(20, 3))
    state = torch.get_rng_state()
    with SummaryWriter(str(tmp_path)) as writer, contextlib.suppress(TracingError):
        write_graph(writer, model, batch())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_of_another_argument_is_refused_in_one_line(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer, pytest.raises(TracingError) as caught:
        write_graph(writer, torch.nn.Linear(2, 2), batch())
    assert "\n" not in str(caught.value)
