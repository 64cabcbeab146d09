"""One text's way through a model: its tokens, each tensor made of them, and with an answer each gradient on the way back."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.base import BaseAgent
from agents.inspecting.model_view import LAYER
from agents.inspecting.tracing import Made, Numbers, Trace


class Walk(NamedTuple):
    """inputs: the batch's tensors by their names, with the tokens of ids; made: what the model made of them; answer: what it says,
    as in predictions.jsonl; loss: with an answer to compare that with."""

    inputs: dict[str, tuple[Numbers, list[str]]]
    made: list[Made]
    answer: dict[str, Any]
    loss: float | None


def walk(agent: BaseAgent, text: str | Mapping[str, Any], answer: str | None) -> Walk:
    """Take a text through an agent's model, without dropout and by the plain padded code. Raises ConfigError, DataError."""
    for module in agent.model.modules():
        if hasattr(module, "packed"):
            module.packed = False  # type: ignore[assignment]
    agent.model.eval()
    batch, has_answer = agent.example(text, answer)
    on_device = batch.to(agent.device)
    with Trace(agent.model).watching() as trace:
        terms, outputs = agent.compute_loss(on_device)
    with torch.no_grad():
        predictions = agent.predictions(on_device, _detached(outputs))
    said = agent.answer(predictions[0]) if predictions else {}
    inputs = {name: (Numbers.of(tensor), _tokens(agent, name, tensor)) for name, tensor in _tensors(batch)}
    if not has_answer:
        made = [each for each in trace.made if not each.file.startswith("graphs/losses/")]
        return Walk(inputs, made, said, None)
    counts = agent.count(batch)
    loss = torch.stack([term / (counts[name] or 1.0) for name, term in terms.items()]).sum()
    loss.backward()
    return Walk(inputs, trace.made, said, loss.item())


def _detached(outputs: Any) -> Any:
    return outputs.detach() if isinstance(outputs, Tensor) else outputs


def _tensors(batch: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a batch with their names, those of several fields numbered."""
    values = dict(vars(batch))
    fields, columns = values.pop("fields", []), values.pop("columns", {})
    for number, field in enumerate(fields, start=1):
        yield from ((f"{name} {number}" if len(fields) > 1 else name, tensor) for name, tensor in field.items())
    yield from ((name, value) for name, value in (values | columns).items() if isinstance(value, Tensor))


def _tokens(agent: BaseAgent, name: str, ids: Tensor) -> list[str]:
    """The tokens of a batch's ids; none of other tensors."""
    tokenizer = agent.artifacts.tokenizer
    if name.startswith("target_ids"):
        tokenizer = getattr(tokenizer, "target", tokenizer)
    elif name.startswith("input_ids"):
        tokenizer = getattr(tokenizer, "source", tokenizer)
    else:
        return []
    return [str(tokenizer.token(id)) for id in ids.flatten().tolist()]


def folded(made: list[Made]) -> Iterator[tuple[Made, int]]:
    """The tensors, of repeated layers each but the first by its last one alone, and how many of its tensors that leaves out."""
    layers = [LAYER.match(each.module) for each in made]
    keys = [(found["stack"], int(found["number"])) if found else None for found in layers]
    lines: dict[Any, list[tuple[str, int]]] = {}
    for key, each in zip(keys, made, strict=True):
        lines.setdefault(key, []).append((each.file, each.line))
    for key, after, each in zip(keys, [*keys[1:], None], made, strict=True):
        if key is None or key[1] == 0 or lines[key] != lines.get((key[0], 0)):
            yield each, 0
        elif after != key:
            yield each, len(lines[key]) - 1
