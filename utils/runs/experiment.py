"""A run's folder experiments/NAME/: claimed by one process at a time, and never mixed with another run."""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from utils.config.changes import goes_on, refuse_changes
from utils.config.config import RUNS, Config, flatten
from utils.distributed.worker import Worker
from utils.errors import CheckpointError, StorageError
from utils.files.sealed import read_sealed, sealed
from utils.files.storage import (
    TEMPORARY,
    atomic_write,
    probe,
    read_regular,
    remove,
    remove_leftovers,
    storage_errors,
    sync_folder,
)
from utils.machine.threads import choose_threads
from utils.runs.checkpoint import CheckpointStore
from utils.runs.replaced_run import ReplacedRun
from utils.runs.run_lock import RunLock
from utils.runs.saved import CONFIG, EXPORT, METRICS, REPORT, SEAL, saved_config, seal_of

ROOT = RUNS
MAX_NAME = 200  # bytes; file systems allow 255, and temporary names add to it
# What a run and its TensorBoard log leave in the run's folder; --fresh removes nothing else, not even an export of the run.
KNOWN = re.compile(
    r"config\.yaml|report\.json|labels\.json|tokenizer\.json|metrics\.jsonl|run\.log|predictions\.jsonl|calibration\.json"
    r"|checkpoints/(damaged-)?step-\d+/(model\.safetensors|state\.pt|MANIFEST\.json)"
    r"|profile\.pt\.trace\.json"
    r"|(summaries/)?(projector_config\.pbtxt|projector/(test_texts|vocabulary-[^/]*)\.(bytes|tsv))"
    r"|(.*/)?(events\.out\.tfevents\.[^/]*|\.tmp-[^/]*(/.*)?)",
    re.DOTALL,
)


class Experiment:
    """The folder of one run, locked until `close`. Rank 0 locks and writes, the other ranks only read."""

    def __init__(self, folder: Path, lock: RunLock | None, worker: Worker | None = None) -> None:
        """lock: None on a rank that only reads; worker: this rank."""
        self.folder, self.worker = folder, worker or Worker()
        self._lock = lock
        self._is_longer = False  # whether a finished run is to be extended, and has not been yet
        self._replaced: ReplacedRun | None = None  # by --fresh, until this run begins

    @classmethod
    def open(cls, config: Config, *, is_fresh: bool = False, worker: Worker | None = None) -> "Experiment":
        """Claim the folder of a checked config: a new one, an unfinished run's, or a finished run's.

        Raises StorageError if another process holds it or it cannot be written, ConfigError with the differences if it holds
        a run of another config, DistributedError if a rank does not see it.
        """
        worker = worker or Worker()
        with worker.first_alone("experiment"):
            onlooker = cls(ROOT / check_name(config), None, worker)
            experiment = cls._open(config, worker, is_fresh) if worker.is_first else onlooker
        worker.refuse_unshared(experiment.folder)
        saved = saved_config(experiment.folder)
        experiment._is_longer = goes_on(flatten(saved), flatten(config.to_dict()))
        if config.get("num_threads") == "auto":  # rank 0 has chosen
            config["num_threads"] = saved["num_threads"]
        return experiment

    @classmethod
    def _open(cls, config: Config, worker: Worker, is_fresh: bool) -> "Experiment":
        folder = ROOT / check_name(config)
        with storage_errors(folder):
            ROOT.mkdir(parents=True, exist_ok=True)
            remove_leftovers(ROOT)
            experiment = cls(folder, RunLock(folder, folder / CONFIG), worker)
            try:
                experiment._claim(config, is_fresh=is_fresh)
            except BaseException:
                experiment.close()
                raise
        return experiment

    @property
    def report(self) -> dict[str, Any] | None:
        """The report of the finished run; None if it is unfinished, or is to be extended."""
        path = self.folder / REPORT
        if self._is_longer:
            return None
        try:
            return read_sealed(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{path}: is damaged ({error}); remove it and run the same command to write it again"
            ) from None

    @property
    def has_checkpoint(self) -> bool:
        """Whether the run resumes from a checkpoint; if only a damaged one is left, it fails and does not start over."""
        return any((self.folder / "checkpoints").glob("step-*"))

    def finish(self, report: dict[str, Any]) -> None:
        """Write the report, which marks the run as finished."""
        self.write(REPORT, json.dumps(sealed(report), indent=1, ensure_ascii=False))

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file of the run atomically."""
        if self._lock is not None:
            self._lock.check()
            atomic_write(self.folder / name, content)

    def write_lines(self, name: str, lines: Iterable[Any]) -> None:
        """Write a JSON lines file of the run."""
        self.write(name, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

    def checkpoints(self, keep: int) -> CheckpointStore:
        """The run's checkpoints, which are saved only while the folder is ours."""
        check = (lambda: None) if self._lock is None else self._lock.check
        return CheckpointStore(self.folder / "checkpoints", keep=keep, check=check)

    def close(self) -> None:
        """Release the folder. Where the run has not begun, the one that it was to replace is there again."""
        if self._lock is not None:
            with contextlib.suppress(StorageError):  # another's folder is in its place by now
                if self._replaced is not None:
                    self._lock.check()
                    self._replaced.put_back()
                    self._replaced = None
            self._lock.release()

    def abandon(self) -> None:
        """Release the folder of a start that failed on its data; without it, where nothing but the config is in it."""
        lock = self._lock if self.worker.size == 1 else None  # other ranks may still read it
        with contextlib.suppress(StorageError, OSError):
            if lock is not None and self._replaced is None and self._holds_only_its_config():
                lock.check()
                remove(self.folder)
        self.close()

    def _claim(self, config: Config, *, is_fresh: bool) -> None:
        assert self._lock is not None
        path = self.folder / CONFIG
        self._lock.hold()
        if is_fresh and path.exists():
            _check_removable(self.folder)
            self._lock.let_go()
            self._replaced = ReplacedRun(self.folder)
        try:
            self.folder.mkdir()
            sync_folder(ROOT)  # or a power cut loses the run with all its checkpoints
        except FileExistsError:
            if not self.folder.is_dir():
                raise StorageError(f"{self.folder}: is a file; a run needs a folder there") from None
        is_finished = (self.folder / REPORT).exists()
        for folder in (self.folder, self.folder / "checkpoints"):
            remove_leftovers(folder, is_claimed=True)
            if not is_finished and (folder.exists() or folder.is_symlink()):
                probe(folder)  # an unwritable folder would show only at the first checkpoint, after minutes
        old = saved_config(self.folder) if path.exists() else {}
        if config.get("num_threads") == "auto":  # a run keeps its number, and is bit-exact only with it
            config["num_threads"] = old.get("num_threads") or choose_threads(config.model, self.worker.local_size)
        if old:
            if self._holds_steps():
                refuse_changes(config, old, self.folder)
            if old == config.to_dict() or (self.folder / REPORT).exists():
                return  # a finished run stays unchanged until it is extended
        elif any(not other.name.startswith(TEMPORARY) for other in self.folder.iterdir()):
            raise StorageError(
                f"{self.folder}: holds files but no {CONFIG}, so it is not a run; choose another name: or remove it"
            )
        self._write_config(config, self._lock)

    def begin(self, config: Config) -> None:
        """Replace or extend an earlier run, which ends here. Call after all checks that may reject this one."""
        if self._replaced is not None:
            self._replaced.remove()
            self._replaced = None
        if self._is_longer and self._lock is not None:
            self._write_config(config, self._lock)
        self._is_longer = False

    def _write_config(self, config: Config, lock: RunLock) -> None:
        (self.folder / REPORT).unlink(missing_ok=True)
        lock.let_go()
        self.write(CONFIG, f"{config.to_yaml()}{seal_of(config.to_dict())}\n")
        lock.hold()

    def _holds_only_its_config(self) -> bool:
        return [path.name for path in self.folder.iterdir()] == [CONFIG]

    def _holds_steps(self) -> bool:
        """Whether anything was trained or logged here; a start that failed on its data is not a run yet, and may be fixed."""
        metrics, saved = self.folder / METRICS, self.folder / "checkpoints"
        is_logged = metrics.exists() and metrics.stat().st_size > 0
        return is_logged or (self.folder / REPORT).exists() or (saved.exists() and any(saved.iterdir()))


def _check_removable(folder: Path) -> None:
    """Raise StorageError unless this program made the folder and knows all files in it: --fresh removes a run and nothing else."""
    last = read_regular(folder / CONFIG).rstrip().rpartition(b"\n")[2]
    if not last.startswith(SEAL.encode()):
        raise StorageError(
            f"{folder}: its {CONFIG} was not written by this program, so --fresh removes nothing; choose another name:"
        )
    if foreign := sorted(name for name in _files(folder) if not KNOWN.fullmatch(name)):
        names = ", ".join(foreign[:5]) + " and more" * (len(foreign) > 5)
        raise StorageError(
            f"{folder}: holds {names}, which no run writes; move that elsewhere, or choose another name: (nothing was removed)"
        )


def run_of_file(path: Path) -> Path | None:
    """The run, or the export, of whose own files an existing file is one."""
    real = path.resolve()
    for folder in real.parents:
        if (folder / EXPORT).is_file():
            return folder
        if (folder / CONFIG).is_file() and KNOWN.fullmatch(real.relative_to(folder).as_posix()):
            return folder
    return None


def _files(folder: Path) -> Iterator[str]:
    """Relative paths of everything in a folder except folders."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()


def check_name(config: Config) -> str:
    """The run's name. Raises ConfigError if it cannot be the name of a folder."""
    name = config.name
    is_plain = name.isprintable() and not name.startswith(".") and not {"/", "\\"} & set(name)
    if not name or not is_plain or len(name.encode("utf-8", "replace")) > MAX_NAME:
        raise config.error("name", f"name must be one folder's name of at most {MAX_NAME} bytes, got {name!r}")
    return str(name)
