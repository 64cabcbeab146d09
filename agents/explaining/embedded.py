"""A model as a function of one text's token embeddings. S: copies of the text, N: its tokens, E: embedding size, L: labels.

Token ids are not differentiable. So each token gets a row of its own in the embedding table, and these rows (N, E) are the input.
That works for any encoder that looks its tokens up in a table, however it does it. Positions and segments stay as they are.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agents.explaining.words import Reading
from agents.running.predictor import Predictor
from datasets.batches.examples import EVALUATION
from datasets.rows.records import Record


class EmbeddedText:
    """rows: for each encoder (1, N, E) the embeddings of the text's tokens; called with (S, N, E) of each, -> outputs (S, L)."""

    def __init__(self, predictor: Predictor, record: Record) -> None:
        self.model, agent = predictor.model, predictor.agent
        examples = agent.encode([record])
        self.reading = Reading(
            record, predictor.corpus, predictor.artifacts.tokenizer, [field.text(0) for field in examples.fields]
        )
        batch: Any = examples.collate(np.zeros(1, dtype=np.int64), EVALUATION).to(predictor.device)
        self.fields: list[dict[str, Tensor]] = [dict(field) for field in batch.fields]
        count = len(list(self.model.get_submodule("encoders").children()))  # 1 of a siamese model
        tables = [token_table(self.model, f"encoders.{i % count}", predictor) for i in range(len(self.fields))]
        self.names = [name for name, _ in tables]
        self.rows = tuple(
            table[field["input_ids"][field["attention_mask"]]][None].detach()
            for (_, table), field in zip(tables, self.fields, strict=True)
        )

    @property
    def baselines(self) -> tuple[Tensor, ...]:
        """The rows with zeros for the words; in models over words that is padding's embedding."""
        pairs = zip(self.rows, self.reading.owners, strict=True)
        is_special = [torch.tensor([token is None for token in own], device=rows.device) for rows, own in pairs]
        return tuple(rows * mask[:, None] for rows, mask in zip(self.rows, is_special, strict=True))

    def __call__(self, *rows: Tensor) -> Tensor:
        fields, parts = [], dict[str, list[Tensor]]()
        for name, field, own in zip(self.names, self.fields, rows, strict=True):
            table = parts.setdefault(name, [own.new_zeros(1, own.shape[-1])])  # begins with padding
            fields.append(_copies(field, own.shape[0], sum(map(len, table))))
            table.append(own.flatten(0, 1))
        tables = {
            name: torch.cat(table) for name, table in parts.items()
        }  # (1 + S * N, E), of both fields where they share it
        with torch.backends.cudnn.flags(enabled=False):  # whose LSTM has no gradients in evaluation
            outputs: Tensor = torch.func.functional_call(self.model, tables, (fields,))
        return outputs.float()


def token_table(model: nn.Module, encoder: str, predictor: Predictor) -> tuple[str, Tensor]:
    """The name and the weight (V, E) of an encoder's table of token embeddings: its first with a row for every token."""
    size = predictor.artifacts.tokenizer.vocab_size
    modules = model.get_submodule(encoder).named_modules(prefix=encoder)
    return next(
        (f"{name}.weight", module.weight)
        for name, module in modules
        if isinstance(module, nn.Embedding) and module.num_embeddings >= size
    )


def _copies(field: dict[str, Tensor], count: int, first: int) -> dict[str, Tensor]:
    """A field of a batch of one text -> that of `count` copies, whose tokens are numbered from `first` on."""
    repeated = {name: tensor.repeat(count, *[1] * (tensor.dim() - 1)) for name, tensor in field.items()}
    repeated.pop("token_index", None)
    mask = repeated["attention_mask"]
    numbers = torch.arange(first, first + int(mask.sum()), device=mask.device)
    repeated["input_ids"] = torch.zeros_like(repeated["input_ids"]).masked_scatter(mask, numbers)
    if "text_index" in repeated:
        copies = torch.arange(count, device=mask.device)
        repeated["text_index"] = copies.repeat_interleave(len(field["text_index"]))
    return repeated
