"""LAMB against its algorithm in NumPy, and Muon with AdamW against torch's two optimizers."""

import numpy as np
import pytest
import torch
from torch import nn

from utils.optimizers.building import build_optimizer
from utils.optimizers.lamb import Lamb


def test_lamb_is_its_algorithm() -> None:
    torch.manual_seed(0)
    weight, bias = (
        nn.Parameter(torch.randn(4, 3, dtype=torch.float64)),
        nn.Parameter(torch.randn(4, dtype=torch.float64)),
    )
    optimizer = Lamb(
        [{"params": [weight], "weight_decay": 0.1}, {"params": [bias]}], lr=0.01, betas=(0.9, 0.99), eps=1e-6
    )
    expected = [p.detach().numpy().copy() for p in (weight, bias)]
    m, v = [np.zeros_like(p) for p in expected], [np.zeros_like(p) for p in expected]
    for step in range(1, 6):
        gradients = [torch.randn_like(p) for p in (weight, bias)]
        weight.grad, bias.grad = gradients
        optimizer.step()
        for i, (gradient, decay) in enumerate(zip(gradients, (0.1, 0.0), strict=True)):
            g = gradient.numpy()
            m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.99 * v[i] + 0.01 * g**2
            r = (m[i] / (1 - 0.9**step)) / (np.sqrt(v[i] / (1 - 0.99**step)) + 1e-6) + decay * expected[i]
            ratio = np.linalg.norm(expected[i]) / np.linalg.norm(r) if expected[i].ndim == 2 else 1.0
            expected[i] = expected[i] - 0.01 * ratio * r
    np.testing.assert_allclose(weight.detach().numpy(), expected[0], atol=1e-12)
    np.testing.assert_allclose(bias.detach().numpy(), expected[1], atol=1e-12)


class Small(nn.Module):
    """An embedding, two layers of an encoder, one of a decoder and a head, by their names in the models."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.encoders = nn.ModuleList([nn.Module()])
        self.encoders[0].embedding = nn.Embedding(10, 4)
        self.encoders[0].layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.layers = nn.ModuleList([nn.Linear(4, 4)])
        self.head = nn.Module()
        self.head.layers = nn.ModuleList([nn.Linear(4, 2)])

    def gradients(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)


SECTION = {"name": "Muon", "lr": 0.01, "momentum": 0.95, "nesterov": True, "ns_steps": 5, "betas": [0.9, 0.95]}
SECTION |= {"eps": 1e-8, "weight_decay": 0.1, "layer_decay": None}


def test_muon_moves_the_matrices_of_layers_and_adamw_the_rest() -> None:
    ours, theirs = Small(), Small()
    optimizer = build_optimizer(ours, SECTION)
    hidden = [layer.weight for layer in (*theirs.encoders[0].layers, *theirs.layers)]  # type: ignore[misc, union-attr]
    decayed = [theirs.encoders[0].embedding.weight, theirs.head.layers[0].weight]  # type: ignore[index, union-attr]
    others = [p for p in theirs.parameters() if p.ndim == 1]
    muon = torch.optim.Muon(hidden, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95))
    for seed in range(4):
        ours.gradients(seed)
        theirs.gradients(seed)
        optimizer.step()
        muon.step()
        adamw.step()
    for (name, own), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own, other, msg=name, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["Muon", "LAMB"])
def test_a_saved_state_goes_on_to_the_same_bits(name: str) -> None:
    section = (
        SECTION
        if name == "Muon"
        else {"name": "LAMB", "lr": 0.01, "betas": [0.9, 0.99], "eps": 1e-6, "weight_decay": 0.1}
    )
    whole, first, second = Small(), Small(), Small()
    optimizers = [build_optimizer(model, section) for model in (whole, first, second)]
    for seed in range(6):
        for model, optimizer in [
            (whole, optimizers[0]),
            (first, optimizers[1]) if seed < 3 else (second, optimizers[2]),
        ]:
            if model is second and seed == 3:
                second.load_state_dict(first.state_dict())
                optimizer.load_state_dict(optimizers[1].state_dict())
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] / (1 + seed)  # as a schedule does
            model.gradients(seed)
            optimizer.step()
    for own, other in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(own, other)
