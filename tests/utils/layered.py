"""A stand-in for a text classifier: the parameters' names of the real encoders, and a forward pass through all of them."""

import torch
from torch import Tensor, nn

VOCAB_SIZE, SIZE = 20, 4


class Encoder(nn.Module):
    """embedding.weight, embedding_norm.*, layers.K.*, pooler.*."""

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB_SIZE, SIZE)
        self.embedding_norm = nn.LayerNorm(SIZE)
        self.layers = nn.ModuleList(nn.Linear(SIZE, SIZE) for _ in range(num_layers))
        self.pooler = nn.Linear(SIZE, SIZE)

    def forward(self, input_ids: Tensor) -> Tensor:
        """(B, T) -> (B, SIZE)."""
        hidden = self.embedding_norm(self.embedding(input_ids))
        for layer in self.layers:
            hidden = hidden + torch.tanh(layer(hidden))
        output: Tensor = torch.tanh(self.pooler(hidden.mean(dim=1)))
        return output


class Layered(nn.Module):
    """encoders.I.* and head.layers.0.*."""

    def __init__(self, num_layers: int = 3, num_encoders: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoders = nn.ModuleList(Encoder(num_layers) for _ in range(num_encoders))
        self.head = nn.ModuleDict({"layers": nn.Sequential(nn.Linear(SIZE * num_encoders, 2))})

    def forward(self, input_ids: Tensor) -> Tensor:
        """(B, T) -> (B, 2)."""
        logits: Tensor = self.head["layers"](torch.cat([encoder(input_ids) for encoder in self.encoders], dim=-1))
        return logits


def ids(seed: int, num_texts: int = 5) -> Tensor:
    """Random texts (B, 6)."""
    return torch.randint(1, VOCAB_SIZE, (num_texts, 6), generator=torch.Generator().manual_seed(seed))
