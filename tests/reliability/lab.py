"""What the tests of reliability share: runs that start in no time and can be killed, and what of two runs must be equal."""

import atexit
import functools
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import small_documents
import small_pairs
import torch
from conftest import ROOT, TINY_CONFIG, tiny_rows, write_jsonl

IS_FULL = os.environ.get("GLASSBOX_FULL") == "1"  # make test-full: the figures of the catalogue; else a sample of each
BAG = "model:\n  name: bag_of_embeddings\n  embedding_size: 16\n  dropout: 0.2\n"
BILSTM = TINY_CONFIG[TINY_CONFIG.index("model:") : TINY_CONFIG.index("head:")]

# Dropout, accumulation, a schedule, buckets by length, early stopping, and saves in the middle of epochs.
CONFIG = TINY_CONFIG.replace("num_epochs: 2", "num_epochs: 5") + (
    "  accumulation_steps: 3\n  max_grad_norm: 1.0\n  patience: 14\n  save_every: 3 steps\n  validate_every: 7 steps\n"
    "  log_every: 1\nscheduler:\n  name: cosine\n  warmup_steps: 4\n"
)
CONFIGS = {"bilstm": CONFIG, "bag_of_embeddings": CONFIG.replace(BILSTM, BAG)}
assert BAG in CONFIGS["bag_of_embeddings"]
MODELS = list(CONFIGS)

# Other tasks: pre-training whose masks and pairs change with the epoch, and fewer tokens are masked with each step; beam search at each
# validation.
LOOP = "num_steps: 25, accumulation_steps: 2, max_grad_norm: 1.0, save_every: 3 steps, validate_every: 7 steps, log_every: 1}\n"
TASKS = {
    "pretraining": small_documents.CONFIG.replace("num_epochs: 2", LOOP[:-2]).replace("dropout: 0,", "dropout: 0.1,")
    + "objective: {pairs: next_sentence, mask_share: {start: 0.3, end: 0.15}}\nscheduler: {name: linear, warmup_steps: 4}\n",
    "seq2seq": small_pairs.CONFIG[: small_pairs.CONFIG.index("train: {num")] + f"train: {{batch_size: 16, {LOOP}",
}
assert all("num_steps: 25" in config for config in TASKS.values())
Number = TypeVar("Number")
TIMES = ("seconds", "texts_per_second", "tokens_per_second", "peak_memory_bytes")  # what no two runs have in common


def of_tier(quick: Number, full: Number) -> Number:
    """The number of cases for `make test`, and for `make test-full`."""
    return full if IS_FULL else quick


@functools.cache
def _zygote() -> "subprocess.Popen[str]":
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # a pool of threads would be lost in a fork
    environment = os.environ | threads | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {
        "GIT_OPTIONAL_LOCKS": "0"
    }  # a report asks for `git status`, and killed in it leaves index.lock behind
    path = Path(__file__).with_name("zygote.py")
    process = subprocess.Popen(
        [sys.executable, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    atexit.register(process.communicate)  # closes its input, which ends it
    return process


def _ask(request: dict[str, Any]) -> Any:
    process = _zygote()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


@functools.cache
def preload(module: str) -> None:
    """Have a module imported before any further run starts."""
    _ask({"import": module})


@dataclass
class Run:
    """A started run of main.py."""

    pid: int
    errors: Path
    started: float = field(default_factory=time.monotonic)

    def wait(self, timeout: float = 60.0) -> int | None:
        """The exit code, negative for the signal that ended it; None where it goes on."""
        code: int | None = _ask({"wait": self.pid, "timeout": timeout})
        return code

    def kill(self) -> bool:
        """kill -9 of the run and all its processes; -> whether it still went on."""
        os.killpg(self.pid, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    @property
    def stderr(self) -> str:
        return self.errors.read_text() if self.errors.exists() else ""  # a signal may have been faster


class Lab:
    """A folder with the tiny data set and a config for each model, in which runs are started."""

    def __init__(self, folder: Path, num_rows: int = 120) -> None:
        self.folder = folder
        write_jsonl(folder / "tiny.jsonl", tiny_rows(num_rows))
        small_documents.write_corpus(folder)
        for model, config in (CONFIGS | TASKS).items():
            (folder / f"{model}.yaml").write_text(config)
        self._num_starts = 0

    def start(self, model: str, name: str, *overrides: str, cache: str | None = None, **faults: Any) -> Run:
        """`python main.py MODEL.yaml name=NAME ...` with a token cache of its own, and faults of faults.py."""
        arguments = [f"{model}.yaml", f"name={name}", f"data.cache_folder=.cache-{cache or name}", *overrides]
        return self.command(*arguments, **faults)

    def command(
        self, *arguments: str, environment: dict[str, str] | None = None, folder: Path | None = None, **faults: Any
    ) -> Run:
        """`python main.py ARGUMENTS` in this folder, or in another one."""
        self._num_starts += 1
        out, errors = (self.folder / f"{self._num_starts}.{stream}" for stream in ("out", "err"))
        files = {"cwd": str(folder or self.folder), "out": str(out), "err": str(errors)}
        request = {"arguments": arguments, "env": environment or {}, "faults": faults, **files}
        return Run(_ask({"start": request}), errors)

    def finish(self, model: str, name: str, *overrides: str, code: int = 0, **options: Any) -> Run:
        """A run to its end."""
        run = self.start(model, name, *overrides, **options)
        assert run.wait() == code, run.stderr
        return run

    def does(self, *arguments: str, code: int = 0, **faults: Any) -> str:
        """A command that must end with this code; -> what it wrote to standard output."""
        run = self.command(*arguments, **faults)
        assert run.wait(120) == code, f"{arguments}: {run.stderr}"
        return run.errors.with_suffix(".out").read_text()

    @functools.cache  # noqa: B019  # a lab lives as long as its module's tests
    def control(self, model: str) -> tuple[dict[str, Any], float]:
        """(results, seconds) of the run that nothing disturbs."""
        run = self.finish(model, f"whole-{model}")
        return self.results(f"whole-{model}"), time.monotonic() - run.started

    def path(self, name: str) -> Path:
        return self.folder / "experiments" / name

    def results(self, name: str) -> dict[str, Any]:
        """All that must be equal, bit by bit, in two runs of one config: whatever was kept, but for times and the name."""
        folder = self.path(name)
        found: dict[str, Any] = {path.name: digest(path.read_bytes()) for path in folder.glob("predictions.jsonl")}
        for checkpoint in folder.glob("checkpoints/step-*"):
            found[checkpoint.name] = digest((checkpoint / "model.safetensors").read_bytes())
            found[f"state of {checkpoint.name}"] = digest(canonical(state_of(checkpoint)).encode())
            manifest = json.loads((checkpoint / "MANIFEST.json").read_bytes())
            found[f"facts of {checkpoint.name}"] = [manifest["best_step"], manifest["facts"]]
        found["tokenizer"] = digest((folder / "tokenizer.json").read_bytes())
        found["metrics"] = [canonical(line) for line in self.metrics(name)]
        report = json.loads((folder / "report.json").read_bytes())
        found["report"] = canonical(report | {"name": None, "versions": None, "digest": None})
        return found

    def metrics(self, name: str) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; none where it is not there yet."""
        path = self.path(name) / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def is_finished(self, name: str) -> bool:
        return (self.path(name) / "report.json").exists()

    def leftovers(self) -> list[Path]:
        """Files and folders of ours that are neither whole nor absent."""
        return [path for path in self.folder.rglob(".tmp-*") if path.exists()]


def moment(seconds: float) -> float:
    """A random moment of so many seconds, 10 ms after their begin at the earliest."""
    return 0.01 + random.random() * seconds


def state_of(checkpoint: Path) -> Any:
    """The content of a checkpoint's state.pt: the bytes of a zip file hold more than that."""
    return torch.load(checkpoint / "state.pt", map_location="cpu", weights_only=True)


def canonical(value: Any) -> str:
    """A value as text without times; tensors by the sha256 of their bytes."""
    if isinstance(value, dict):
        items = sorted((str(key), canonical(inner)) for key, inner in value.items() if key not in TIMES)
        return "{" + ", ".join(f"{key}: {inner}" for key, inner in items) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(canonical, value)) + "]"
    if isinstance(value, torch.Tensor):
        values = value.coalesce() if value.is_sparse else value
        return f"{values.dtype} {tuple(values.shape)} {digest(values.detach().contiguous().numpy().tobytes())}"
    return repr(value)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
