"""All parts of a run that a checkpoint holds, saved and restored together; random state last."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from utils.distributed.fsdp import all_whole, part_of
from utils.distributed.worker import Worker
from utils.errors import CheckpointError, NonFiniteError, StorageError
from utils.files.misfits import check_fits
from utils.files.storage import free_bytes
from utils.machine.environment import compare_facts
from utils.machine.reproducibility import rng_state, set_rng_state
from utils.runs.checkpoint import CheckpointStore
from utils.training.weight_average import WeightAverage

logger = logging.getLogger("glassbox")


class Stateful(Protocol):
    """An optimizer, a schedule, counters: whatever has a state of plain values and tensors."""

    def state_dict(self) -> dict[str, Any]:
        """The state."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take up a state."""


class Checkpointer:
    """Saves and restores a model and the other parts of its run.

    own: the parts that each of several processes has for itself; facts: what a checkpoint belongs to, such as data hashes.
    """

    def __init__(
        self,
        store: CheckpointStore,
        model: nn.Module,
        parts: Mapping[str, Stateful],
        facts: dict[str, Any],
        average: WeightAverage | None = None,
        *,
        own: Mapping[str, Stateful] | None = None,
        worker: Worker | None = None,
    ) -> None:
        self.store, self.model, self.facts, self.average = store, model, facts, average
        self.parts = dict(parts) if average is None else {**parts, "average": average}
        self.own, self.worker = dict(own or {}), worker or Worker()
        self.saved_step: int | None = None

    def save(self, step: int, best_step: int, *, is_changed: bool = False) -> None:
        """Write the checkpoint of a step, once; again where a step that was saved before has been validated since.

        Raises NonFiniteError instead of saving weights from which no run could go on.
        """
        if step != self.saved_step or is_changed:
            with self.evaluated_weights():
                is_kept = self.worker.is_first
                weights = all_whole(self.model.state_dict(), is_kept=is_kept)
                _refuse_non_finite(weights, f"step {step}")
                state = all_whole({name: part.state_dict() for name, part in self.parts.items()}, is_kept=is_kept)
                own = {name: part.state_dict() for name, part in self.own.items()} | {"rng": rng_state()}
                first, *others = self.worker.gathered(own)
                state |= first | ({"others": others} if others else {})
                if self.worker.is_first:
                    self.store.save(step, best_step, weights, state, self.facts)
            self.worker.barrier()  # a process that left now would end this one in its save
            self.saved_step = step

    def evaluated_weights(self) -> AbstractContextManager[None]:
        """While it lasts, the model has the weights that are evaluated, and kept in model.safetensors: averaged ones, if any."""
        return contextlib.nullcontext() if self.average is None else self.average.applied()

    def restore(self) -> bool:
        """Restore the newest undamaged checkpoint; False where there is none. Raises CheckpointError for another run's."""
        latest = self.store.latest() if self.worker.is_first else None
        step = self.worker.gathered(latest and latest["step"])[0]
        if step is not None:
            weights, state, manifest = self.store.load(step)
            warnings = compare_facts(manifest["facts"], self.facts, self.store.folder)
            self._use(weights, step)
            with self._refusing(step):
                for name, part in self.parts.items():
                    if not isinstance(part, torch.optim.Optimizer):
                        _check_like(state[name], part.state_dict(), name)
                    part.load_state_dict(_cut_moments(state[name], part))
                    _check_moments(part)
                first = {name: state[name] for name in (*self.own, "rng")}
                self._restore_own([first, *state.get("others", [])])
            self.saved_step = step
            self.store.warnings += warnings
        else:
            self._check_room()
        for warning in self.store.warnings:
            logger.warning("warning: %s", warning)
        return step is not None

    def _restore_own(self, states: list[dict[str, Any]]) -> None:
        """What each process had for itself; where they were more or fewer, the first goes on with the sums of all."""
        if len(states) == self.worker.size:
            states = [states[self.worker.rank]]
            set_rng_state(states[0]["rng"])
        elif not self.worker.is_first:
            states = []
        for state in states:
            for name, part in self.own.items():
                _check_like(state[name], part.state_dict(), name)
                part.load_state_dict(state[name])

    def problem(self, step: int) -> str | None:
        """What is wrong with the files of a step's checkpoint, if anything."""
        found = None
        try:
            _ = self.worker.is_first and self.store.manifest(step)
        except CheckpointError as error:
            found = str(error)
        return self.worker.gathered(found)[0]

    def load_weights(self, step: int) -> None:
        """Give the model the weights of one step. Raises CheckpointError."""
        self._use(self.store.load(step)[0], step)

    def _use(self, weights: Mapping[str, Tensor], step: int) -> None:
        own = self.model.state_dict()
        check_fits(weights, own, self.store.folder / f"step-{step}")
        self.model.load_state_dict({name: part_of(tensor, own[name]) for name, tensor in weights.items()})

    def _check_room(self) -> None:
        """Refuse before the first step what could not be saved after it; the optimizer's state comes on top of the weights."""
        needed = sum(tensor.numel() * tensor.element_size() for tensor in self.model.state_dict().values())
        free = free_bytes(self.store.folder)
        if free < needed:
            raise StorageError(f"{self.store.folder}: a checkpoint needs more than {needed:,} bytes, {free:,} are free")

    @contextlib.contextmanager
    def _refusing(self, step: int) -> Iterator[None]:
        """Turn what a part says of a state that is not its own into a CheckpointError."""
        try:
            yield
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            place = self.store.folder / f"step-{step}"
            raise CheckpointError(
                f"{place}: belongs to another model or another version of this code ({reason})"
            ) from error


def _check_like(given: Any, own: Any, name: str) -> None:
    """Raise TypeError unless what is given has the keys, types and shapes of a part's own state."""
    if isinstance(own, dict):
        for key in own:
            _check_like(given[key], own[key], f"{name}.{key}")
    elif isinstance(own, Tensor) and isinstance(given, Tensor):
        if given.shape != own.shape:
            raise TypeError(f"{name} has the shape {list(given.shape)}, not {list(own.shape)}")
    elif own is not None and given is not None and type(given) is not type(own):
        raise TypeError(f"{name} is a {type(given).__name__}, not a {type(own).__name__}")


def _check_moments(part: Any) -> None:
    """Raise TypeError unless what an optimizer keeps of each parameter fits it: torch takes any shape, and fails at a step."""
    state = part.state.items() if isinstance(part, torch.optim.Optimizer) else ()
    for parameter, values in state:
        for name, value in values.items():
            if isinstance(value, Tensor) and not _is_within(value.shape, parameter.shape):
                raise TypeError(f"{name} has the shape {list(value.shape)}, its parameter {list(parameter.shape)}")


def _cut_moments(state: dict[str, Any], part: Any) -> dict[str, Any]:
    """The state of an optimizer of which each process keeps, of a parameter that is cut, only its part.

    Before the optimizer takes it up, which moves it to the device: there is no room for all of it in a large model's.
    """
    if not isinstance(part, torch.optim.Optimizer):
        return state
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    parameters = dict(zip(numbers, (p for group in part.param_groups for p in group["params"]), strict=True))
    cut = {
        number: {name: _cut(value, parameters[number]) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return state | {"state": cut}


def _cut(value: Any, parameter: Tensor) -> Any:
    is_moment = isinstance(value, Tensor) and value.shape == parameter.shape and hasattr(parameter, "device_mesh")
    return part_of(value, parameter) if is_moment else value


def _is_within(small: torch.Size, large: torch.Size) -> bool:
    """Whether the small shape broadcasts to the large one: Adafactor keeps rows and columns, counters are ()."""
    sizes = zip(reversed(small), reversed(large), strict=False)
    return len(small) <= len(large) and all(size in (1, other) for size, other in sizes)


def _refuse_non_finite(weights: Mapping[str, Tensor], what: str) -> None:
    """A finite gradient times a huge learning rate may overflow, which the loss shows only at the step after."""
    bad = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise NonFiniteError(f"{what}: {bad[0]} is not finite any more, so it is not saved. Lower optimizer.lr")
