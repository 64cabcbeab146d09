"""A sweep's study: its trials in Optuna's storage, each an ordinary run. Several processes may share it.

Each trial belongs to one process at a time, by a file lock that the kernel releases with the process; one whose owner was killed is
taken over, and its run goes on from its own checkpoint. So all of them need the same folder of runs.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.trial import TrialState

from utils.config.config import RUNS
from utils.errors import ConfigError, StorageError, reason_of
from utils.files.storage import locked
from utils.runs.saved import CONTENT
from utils.search.distributions import decoded, distribution, encoded
from utils.search.settings import Space, SweepSettings

SPECIFICATION, STARTS, PROBLEM, FRESH = (
    "specification",
    "starts",
    "problem",
    "fresh",
)  # what the storage keeps besides Optuna's own


class Owned(NamedTuple):
    """A trial that this process runs. name: its run's; options: {dotted option: value}; starts: how often it has been begun."""

    trial: optuna.trial.Trial
    name: str
    options: dict[str, Any]
    starts: int
    lock: Any


class Study:
    """The trials of a sweep."""

    def __init__(
        self,
        settings: SweepSettings,
        space: Mapping[str, Space],
        specification: Mapping[str, Any],
        *,
        is_better_more: bool,
        storage: str | None = None,
        is_fresh: bool = False,
    ) -> None:
        """specification: what makes it this study; is_better_more: whether values are to be large; storage: an Optuna storage's
        URL, None for experiments/NAME-study.db; is_fresh: whether to remove a study of that name first.

        Raises ConfigError where the storage holds a study of that name with another specification, StorageError for a bad storage.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.settings, self.space = settings, {key: distribution(own) for key, own in space.items()}
        self.grid = {key: [encoded(value) for value in own.values] for key, own in space.items()}
        self.num_trials = num_trials(settings, space)
        RUNS.mkdir(exist_ok=True)
        url = storage or f"sqlite:///{path_of(settings.name)}"
        self.sign = -1 if is_better_more else 1  # of a value, for the best to come first
        with self._alone():
            self.study = _opened(settings, url, is_better_more=is_better_more, is_fresh=is_fresh)
            if is_fresh:
                self.study.set_user_attr(FRESH, True)
            self.starts_over = bool(
                self.study.user_attrs.get(FRESH)
            )  # so that runs of the study before it are not its trials'
            known = self.study.user_attrs.get(SPECIFICATION)
            if known is None:
                self.study.set_user_attr(SPECIFICATION, dict(specification))
            elif changed := _changes(
                {CONTENT: specification.get(CONTENT)} | known, specification
            ):  # older ones lack it
                raise ConfigError(
                    f"sweep: {settings.name} is another study ({changed}); give this one another name:, or --fresh to start over"
                )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the study's lock."""
        lock = locked(RUNS / f".{self.settings.name}-study.lock")
        assert lock is not None
        try:
            yield
        finally:
            lock.release()

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """All trials, in the order of their numbers."""
        return self.study.get_trials(deepcopy=False)

    @property
    def ranked(self) -> list[optuna.trial.FrozenTrial]:
        """The trials that have a value, the best first."""
        complete = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        return sorted(complete, key=lambda trial: self.sign * (trial.value or 0.0))

    def options(self, trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
        """A trial's options as a config has them."""
        return {key: decoded(value) for key, value in trial.params.items()}

    @property
    def is_over(self) -> bool:
        """Whether as many trials as asked have ended, in whatever way."""
        trials = self.trials
        return len(trials) >= self.num_trials and all(trial.state.is_finished() for trial in trials)

    def take(self) -> Owned | None:
        """A trial whose owner has gone, or a new one; None where there is neither, for now."""
        with self._alone():
            trials = self.trials
            for trial in trials:
                if (
                    trial.state == TrialState.RUNNING
                    and (owned := self._own(trial.number, trial._trial_id)) is not None
                ):
                    return owned
            if len(trials) >= self.num_trials:
                return None
            with self._sampling(len(trials)):
                asked = self.study.ask(self.space)
            return self._own(asked.number, asked._trial_id)

    @contextlib.contextmanager
    def _sampling(self, number: int) -> Iterator[None]:
        """Use the sampler of a trial, for its proposals alone: a grid's would stop the study at its last result."""
        usual, self.study.sampler = self.study.sampler, self._sampler(number)
        try:
            yield
        finally:
            self.study.sampler = usual

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """The sampler for a trial: its seed is that of the trial, whichever process asks, and after any resume."""
        seed = self.settings.seed + number
        if self.settings.sampler == "grid":
            return optuna.samplers.GridSampler(self.grid, seed=self.settings.seed)
        if self.settings.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed)

    def _own(self, number: int, trial_id: int) -> Owned | None:
        """A trial as this process's; None where another process has it, or its run still runs without an owner."""
        name = f"{self.settings.name}-trial{number}"
        lock = locked(RUNS / f".{name}-owner.lock", timeout=0)
        if lock is None:
            return None
        running = locked(RUNS / f".{name}.lock", timeout=0)
        if running is None:
            lock.release()
            return None
        running.release()
        with self._sampling(number):  # for what a killed owner left out
            trial = optuna.trial.Trial(self.study, trial_id)
            options = {key: trial._suggest(key, own) for key, own in self.space.items()}
        starts = trial.user_attrs.get(STARTS, 0) + 1
        trial.set_user_attr(STARTS, starts)
        return Owned(trial, name, {key: decoded(value) for key, value in options.items()}, starts, lock)

    def reported(self, owned: Owned) -> int:
        """How many validations of the trial are known."""
        return len(self.study.trials[owned.trial.number].intermediate_values)

    def all_failed(self, count: int) -> bool:
        """Whether at least `count` trials have ended, and every one of them failed."""
        ended = [trial.state for trial in self.trials if trial.state.is_finished()]
        return len(ended) >= count and set(ended) == {TrialState.FAIL}

    def complete(self, owned: Owned, value: float) -> None:
        """The trial's run has ended with this value."""
        self.study.tell(owned.trial, value)
        owned.lock.release()

    def prune(self, owned: Owned) -> None:
        """The trial's run was ended early."""
        self.study.tell(owned.trial, state=TrialState.PRUNED)
        owned.lock.release()

    def fail(self, owned: Owned, problem: str) -> None:
        """The trial's run cannot be finished."""
        owned.trial.set_user_attr(PROBLEM, problem)
        self.study.tell(owned.trial, state=TrialState.FAIL)
        owned.lock.release()

    def release(self, owned: Owned) -> None:
        """Leave the trial to whoever takes it next."""
        owned.lock.release()


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """Raise StorageError where the storage fails in between, as on a full disk."""
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        raise StorageError(f"sweep: the study cannot be kept: {' '.join(str(error).split())[:300]}") from None


def path_of(name: str) -> Path:
    """The default storage of a study."""
    return RUNS / f"{name}-study.db"


def num_trials(settings: SweepSettings, space: Mapping[str, Space]) -> int:
    """How many trials a study has; a grid no more than combinations."""
    if settings.sampler != "grid":
        return settings.trials or 1
    size = math.prod(len(own.values) for own in space.values())
    return min(settings.trials or size, size)


def _opened(settings: SweepSettings, url: str, *, is_better_more: bool, is_fresh: bool) -> optuna.Study:
    pruners: dict[str, Any] = {
        "none": optuna.pruners.NopPruner,
        "median": partial(optuna.pruners.MedianPruner, n_startup_trials=5, n_warmup_steps=1),
        "hyperband": optuna.pruners.HyperbandPruner,
    }
    direction = "maximize" if is_better_more else "minimize"
    given: Any = {"direction": direction, "pruner": pruners[settings.pruner](), "load_if_exists": True}
    waiting = (
        {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else None
    )  # seconds, for other processes' writes
    try:
        storage = optuna.storages.RDBStorage(url, engine_kwargs=waiting)
        if is_fresh:
            with contextlib.suppress(KeyError):
                optuna.delete_study(study_name=settings.name, storage=storage)
        return optuna.create_study(storage=storage, study_name=settings.name, **given)
    except Exception as error:  # of SQLAlchemy, of a driver that is not installed, for a URL that is none
        reason = reason_of(error)
        raise StorageError(f"sweep: the storage {url} cannot be opened: {reason}") from None


def _changes(known: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs, in words; a greater number of trials is no change."""
    keys = [key for key in sorted(known.keys() | now.keys()) if known.get(key) != now.get(key)]
    return ", ".join(f"{key}: {known.get(key)} -> {now.get(key)}" for key in keys[:3]) + " and more" * (len(keys) > 3)
