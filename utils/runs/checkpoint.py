"""Checkpoints: one folder per step, complete or absent, verified before anything in it is parsed.

    checkpoints/step-400/model.safetensors   the weights that are evaluated, readable by anything that reads safetensors
                         state.pt            everything else that an exact resume needs; tensors and plain values only
                         MANIFEST.json       sizes and sha256 of both, facts about the run, the best step, its own digest

Hashes detect bit rot and torn writes, not an attacker: `weights_only=True` and torch_archive.py guard against one.
"""

import contextlib
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from utils.errors import CheckpointError, StorageError, unreadable
from utils.files.sealed import read_sealed, sealed
from utils.files.storage import (
    beside,
    free_bytes,
    read_regular,
    readable,
    remove,
    remove_leftovers,
    storage_errors,
    sync_folder,
    write_synced,
)
from utils.files.torch_archive import load_state

FORMAT = 1
MODEL, STATE, MANIFEST = "model.safetensors", "state.pt", "MANIFEST.json"
MAX_MANIFEST, MAX_HEADER = 2**20, 2**22  # bytes; larger ones cost seconds to parse and are not ours


class CheckpointStore:
    """The checkpoints of one run: the newest `keep` of them and the best."""

    def __init__(self, folder: Path, *, keep: int = 2, check: Callable[[], None] = lambda: None) -> None:
        """check: raises an error where nothing may be saved any more."""
        self.folder, self.keep, self._check = folder, keep, check
        self.warnings: list[str] = []

    def save(
        self, step: int, best_step: int, model: Mapping[str, Tensor], state: dict[str, Any], facts: Mapping[str, Any]
    ) -> None:
        """Write step-N under a temporary name, sync it, rename it, and only then remove what is no longer kept."""
        buffer = io.BytesIO()  # torch.save onto a full disk raises RuntimeError; our own write raises an OSError
        torch.save(state, buffer)
        files = {MODEL: safetensors.torch.save(_own_storage(model)), STATE: buffer.getvalue()}
        manifest = {"format": FORMAT, "step": step, "best_step": best_step, "facts": dict(facts)}
        manifest["files"] = {name: {"size": len(data), "sha256": _sha256(data)} for name, data in files.items()}
        files[MANIFEST] = json.dumps(sealed(manifest), indent=1).encode()
        self._publish(step, files)
        self._prune(step, best_step)

    def steps(self) -> list[int]:
        """The steps that have a folder, oldest first."""
        try:
            with readable(self.folder):  # `glob` would find nothing in an unreadable folder, and the run start over
                names = [path.name for path in self.folder.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(int(match[1]) for name in names if (match := re.fullmatch("step-([0-9]+)", name)))

    def latest(self) -> dict[str, Any] | None:
        """The manifest of the newest undamaged checkpoint; None if none was ever saved; damaged ones are reported in `warnings`."""
        problems = []
        for step in reversed(self.steps()):
            try:
                return self.manifest(step)
            except CheckpointError as error:
                problems.append(str(error))
                self.warnings.append(f"{error}; using the checkpoint before it")
        if problems:
            raise CheckpointError(f"{problems[0]}; no other checkpoint is left: --fresh starts the run over")
        return None

    def facts(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest checkpoint with an undamaged manifest, even if its other files are damaged, and its facts; or None."""
        for step in reversed(self.steps()):
            with contextlib.suppress(CheckpointError):
                folder, manifest = self._of_step(step)
                return folder, manifest["facts"]
        return None

    def manifest(self, step: int) -> dict[str, Any]:
        """The manifest of one step, with its own digest and the sizes and sha256 of its files verified."""
        folder, manifest = self._of_step(step)
        for name in (MODEL, STATE):
            read_verified(folder, name, manifest)
        return manifest

    def load(self, step: int) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
        """(weights, state, manifest) of one step, all on the CPU. Raises CheckpointError."""
        folder, manifest = self._of_step(step)
        data = read_verified(folder, STATE, manifest)
        with _parse_errors(folder / STATE):
            state = load_state(data)
        return load_weights(folder), state, manifest

    def _of_step(self, step: int) -> tuple[Path, dict[str, Any]]:
        folder = self.folder / f"step-{step}"
        manifest = read_manifest(folder)
        if manifest["step"] != step:
            raise CheckpointError(f"{folder / MANIFEST}: belongs to step {manifest['step']}")
        return folder, manifest

    def _publish(self, step: int, files: Mapping[str, bytes]) -> None:
        target = self.folder / f"step-{step}"
        needed = sum(map(len, files.values()))
        self._check()
        with storage_errors(self.folder, needed):
            if not self.folder.exists():
                self.folder.mkdir()  # not its parents: a run that was moved away must not silently start anew
                sync_folder(self.folder.parent)
            remove_leftovers(self.folder, is_claimed=True)
            if free_bytes(self.folder) < needed:
                raise StorageError(
                    f"{target}: cannot be written: {needed:,} bytes needed, {free_bytes(self.folder):,} free"
                )
            with beside(target, is_folder=True) as temporary:
                for name, data in files.items():  # the manifest last: without it the folder counts as damaged
                    write_synced(temporary / name, data)
                sync_folder(temporary)
                if target.exists():  # damaged, or replaced after a resume from an older step
                    self._move_aside(target)
                temporary.rename(target)
            sync_folder(self.folder)

    def _move_aside(self, target: Path) -> None:
        try:
            self.manifest(int(target.name.removeprefix("step-")))
        except CheckpointError:
            aside = target.with_name(f"damaged-{target.name}")
            remove(aside)
            target.rename(aside)
        else:
            remove(target)

    def _prune(self, newest: int, best_step: int) -> None:
        """Remove what is older than the newest `keep`; later ones are damaged, and must not count among them."""
        for step in [step for step in self.steps() if step <= newest][: -self.keep]:
            if step != best_step:
                with contextlib.suppress(OSError):  # the next save tries again
                    remove(self.folder / f"step-{step}")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint folder, its digest and shape checked. Raises CheckpointError."""
    path = folder / MANIFEST
    try:
        manifest = read_sealed(path, MAX_MANIFEST)
        if manifest["format"] != FORMAT:
            raise CheckpointError(f"{path}: has format {str(manifest['format'])[:20]}, this version reads {FORMAT}")
        _check_shape(manifest)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: is missing; the checkpoint is incomplete") from None
    except OSError as error:
        raise CheckpointError(unreadable(path, error)) from None
    except (ValueError, KeyError, TypeError) as error:
        reason = error if type(error) is ValueError else type(error).__name__
        raise CheckpointError(f"{path}: is damaged ({reason})") from None
    return manifest


def _check_shape(manifest: Mapping[str, Any]) -> None:
    """Raise KeyError or TypeError unless every value used later is present, and of the right type."""
    types = {"step": int, "best_step": int, "facts": dict, "files": dict}
    values = [(manifest[key], kind) for key, kind in types.items()]
    for name in (MODEL, STATE):
        values += [(manifest["files"][name]["size"], int), (manifest["files"][name]["sha256"], str)]
    if any(type(value) is not kind for value, kind in values):
        raise TypeError


def read_verified(folder: Path, name: str, manifest: Mapping[str, Any]) -> bytes:
    """The bytes of a checkpoint's file, verified against its manifest. Raises CheckpointError."""
    path, expected = folder / name, manifest["files"][name]
    try:
        with readable(path):
            size = path.stat().st_size
        data = read_regular(path) if size == expected["size"] else b""
    except OSError as error:
        raise CheckpointError(unreadable(path, error)) from None
    except MemoryError:
        raise CheckpointError(f"{path}: has {size:,} bytes, more than the memory can hold") from None
    if size != expected["size"]:
        raise CheckpointError(f"{path}: has {size:,} bytes, its manifest says {expected['size']:,}")
    if _sha256(data) != expected["sha256"]:
        raise CheckpointError(f"{path}: is damaged (its sha256 is not that of the manifest)")
    return data


def load_weights(folder: Path) -> dict[str, Tensor]:
    """The verified weights of a checkpoint folder, by parameter name. Raises CheckpointError."""
    data = read_verified(folder, MODEL, read_manifest(folder))
    with _parse_errors(folder / MODEL):
        if int.from_bytes(data[:8], "little") > MAX_HEADER:
            raise ValueError(f"a header of more than {MAX_HEADER:,} bytes")
        weights = safetensors.torch.load(data)
        for name, tensor in weights.items():
            if not torch.isfinite(tensor).all():
                raise ValueError(f"{name[:80]} is not finite")
        return weights


def refuse_other(path: Path, name: str, found: str, facts: Mapping[str, Any], checkpoint: Path) -> None:
    """Raise CheckpointError unless the hash of a run's file is the fact `name` of its checkpoint."""
    if facts.get(name) != found:
        raise CheckpointError(f"{path}: is not the one that {checkpoint} was trained with; restore that file")


@contextlib.contextmanager
def _parse_errors(path: Path) -> Iterator[None]:
    """Turn whatever a parser raises into a CheckpointError: a file may match its manifest and still be foreign."""
    try:
        yield
    except Exception as error:
        reason = error if type(error) is ValueError else type(error).__name__
        raise CheckpointError(f"{path}: is not a checkpoint of this program ({str(reason)[:200]})") from error


def _own_storage(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU, copied if they share memory with an earlier one (tied weights), which safetensors rejects."""
    owned: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        memory = own.untyped_storage().data_ptr()
        owned[name] = own.clone() if memory in seen else own
        seen.add(memory)
    return owned


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
