"""What the tests of this room share: how many cases a tier has, a finished run to damage, and what every refusal must look like."""

import hashlib
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from conftest import TINY_CONFIG, tiny_rows, write_jsonl
from disk_zygote import Ended

from utils.files.sealed import sealed
from utils.runs import checkpoint
from utils.runs.checkpoint import MANIFEST, MODEL, STATE, CheckpointStore

IS_FULL = os.environ.get("GLASSBOX_FULL") == "1"  # set by `make test-full`
FILES = [MODEL, STATE, MANIFEST]
FACTS = {"data": "abc", "num_threads": 2}
MODELS = {
    "bilstm": TINY_CONFIG,
    "boe": TINY_CONFIG.replace("name: bilstm", "name: bag_of_embeddings").replace("  hidden_size: 12\n", "", 1),
}


def tier(quick: int, full: int) -> int:
    """How many cases: of `make test`, of `make test-full`."""
    return full if IS_FULL else quick


def weights_of(step: int, size: int = 8) -> dict[str, torch.Tensor]:
    """Weights that differ from step to step."""
    generator = torch.Generator().manual_seed(step)
    return {"a.weight": torch.randn(size, size, generator=generator), "b": torch.randn(5, generator=generator).half()}


def state_of(step: int) -> dict[str, Any]:
    """The like for all else."""
    generator = torch.Generator().manual_seed(-step)
    return {"run": {"step": step, "best": -1e300, "name": "ü"}, "rng": generator.get_state(), "none": None}


def store_with_two(folder: Path, size: int = 8) -> CheckpointStore:
    """A store with steps 1 and 2."""
    store = CheckpointStore(folder / "checkpoints")
    for step in (1, 2):
        store.save(step, 0, weights_of(step, size), state_of(step), FACTS)
    return store


def same(one: Any, other: Any) -> bool:
    """Whether two loaded values are equal to the bit."""
    return _bytes(one) == _bytes(other)


def _bytes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _bytes(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bytes(item) for item in value]
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), list(value.shape), value.contiguous().numpy().tobytes())
    return repr(value)


def rewrite(folder: Path, **changes: Any) -> None:
    """Make a checkpoint's manifest fit its files and itself again, as one who means harm would."""
    manifest = json.loads((folder / MANIFEST).read_bytes()) | changes
    del manifest["digest"]
    for name in (MODEL, STATE):
        content = (folder / name).read_bytes()
        if "files" not in changes:
            manifest["files"][name] = {"size": len(content), "sha256": checkpoint._sha256(content)}
    (folder / MANIFEST).write_text(json.dumps(sealed(manifest)))


def torch_bytes(state: Any) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def workplace(folder: Path, config: str = TINY_CONFIG, num_rows: int = 60) -> Path:
    """A folder with tiny.jsonl and tiny.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "tiny.jsonl", tiny_rows(num_rows))
    (folder / "tiny.yaml").write_text(config)
    return folder


def copied(folder: Path, target: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(folder, target, symlinks=True)
    return target


def hashes(folder: Path) -> dict[str, str]:
    """sha256 of every checkpoint file of a run that a clock has no part in, and of its predictions."""
    files = [*folder.glob("checkpoints/step-*/model.safetensors"), *folder.glob("predictions.jsonl")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def temporaries(folder: Path) -> list[str]:
    """Unfinished files of ours, anywhere below."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".tmp-*")]


def assert_refused(ended: Ended, code: int, *words: str, seconds: float = 20.0) -> None:
    """The promise for every failure: exit code, one printable last line with these words, no traceback, in time."""
    assert ended.code == code, ended
    assert "Traceback" not in ended.err, ended.err
    assert ended.error.isprintable()
    for word in words:
        assert re.search(word, ended.error), ended.error
    assert ended.seconds < seconds, ended
