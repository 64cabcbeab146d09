"""Checkpoints: one folder a step, whole or absent, verified before anything in it is parsed.

    checkpoints/step-400/model.safetensors   the weights, readable by anything that reads safetensors
                         state.pt            all else that an exact resume needs; tensors and plain values only
                         MANIFEST.json       sizes and sha256 of both, what the run is made of, the best step, a digest of itself

A hash stops rot and torn writes, not an attacker; against code in a file stands `weights_only=True`.
"""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from utils.errors import CheckpointError, StorageError
from utils.storage import TEMPORARY, free_bytes, remove, remove_leftovers, storage_errors, sync_folder, write_synced

FORMAT = 1
MODEL, STATE, MANIFEST = "model.safetensors", "state.pt", "MANIFEST.json"


class CheckpointStore:
    """The checkpoints of one run: the newest `keep` of them and the best."""

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep
        self.warnings: list[str] = []

    def save(
        self, step: int, best_step: int, model: Mapping[str, Tensor], state: dict[str, Any], facts: Mapping[str, Any]
    ) -> None:
        """Write step-N beside, make it durable, rename it, and only then remove what is no longer kept."""
        buffer = (
            io.BytesIO()
        )  # torch.save onto a full disk raises RuntimeError; bytes in memory raise an OSError that is ours
        torch.save(state, buffer)
        files = {MODEL: safetensors.torch.save(_own_storage(model)), STATE: buffer.getvalue()}
        manifest = {"format": FORMAT, "step": step, "best_step": best_step, "facts": dict(facts)}
        manifest["files"] = {name: {"size": len(data), "sha256": _sha256(data)} for name, data in files.items()}
        files[MANIFEST] = json.dumps(manifest | {"digest": _digest(manifest)}, indent=1).encode()
        self._publish(step, files)
        self._prune({step, best_step})

    def steps(self) -> list[int]:
        """The steps that have a folder, oldest first."""
        names = (path.name.removeprefix("step-") for path in self.folder.glob("step-*"))
        return sorted(int(name) for name in names if name.isdigit())

    def latest(self) -> dict[str, Any] | None:
        """The manifest of the newest undamaged checkpoint; None where none was ever saved; damaged ones are told in `warnings`."""
        problems = []
        for step in reversed(self.steps()):
            try:
                return self.manifest(step)
            except CheckpointError as error:
                problems.append(str(error))
                self.warnings.append(f"{error}; taking the checkpoint before it")
        if problems:
            raise CheckpointError(f"{problems[0]}; no other checkpoint is left: --fresh starts the run anew")
        return None

    def manifest(self, step: int) -> dict[str, Any]:
        """The manifest of one step, after its own digest and the sizes and sha256 of its files were checked."""
        folder = self.folder / f"step-{step}"
        manifest = read_manifest(folder)
        if manifest["step"] != step:
            raise CheckpointError(f"{folder / MANIFEST}: belongs to step {manifest['step']}")
        for name in (MODEL, STATE):
            read_verified(folder, name, manifest)
        return manifest

    def load(self, step: int) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
        """(weights, state, manifest) of one step, all on the CPU."""
        folder = self.folder / f"step-{step}"
        manifest = read_manifest(folder)
        state = torch.load(io.BytesIO(read_verified(folder, STATE, manifest)), map_location="cpu", weights_only=True)
        return load_weights(folder), state, manifest

    def _publish(self, step: int, files: Mapping[str, bytes]) -> None:
        target, temporary = self.folder / f"step-{step}", self.folder / f"{TEMPORARY}step-{step}-{os.getpid()}"
        needed = sum(map(len, files.values()))
        with storage_errors(self.folder, needed):
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.folder)
            if free_bytes(self.folder) < needed:
                raise StorageError(
                    f"{target}: cannot be written: {needed:,} bytes needed, {free_bytes(self.folder):,} free"
                )
            try:
                temporary.mkdir()
                for name, data in files.items():  # the manifest last: without it the folder counts as damaged
                    write_synced(temporary / name, data)
                sync_folder(temporary)
            except OSError:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
            if target.exists():  # damaged, or of a step that a resume from an older one has made again
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

    def _prune(self, protected: set[int]) -> None:
        for step in self.steps()[: -self.keep]:
            if step not in protected:
                remove(self.folder / f"step-{step}")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint folder, its digest and shape checked. Raises CheckpointError."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        digest = manifest.pop("digest")
        files = manifest["files"]
        is_sound = digest == _digest(manifest) and {MODEL, STATE} == set(files) and isinstance(manifest["step"], int)
        is_known = manifest["format"] == FORMAT
    except FileNotFoundError:
        raise CheckpointError(f"{path}: is missing; the checkpoint is not whole") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: is damaged ({type(error).__name__})") from None
    if not is_sound:
        raise CheckpointError(f"{path}: is damaged (its digest does not fit)")
    if not is_known:
        raise CheckpointError(f"{path}: has format {manifest['format']}, this version reads {FORMAT}")
    return dict(manifest)


def read_verified(folder: Path, name: str, manifest: Mapping[str, Any]) -> bytes:
    """The bytes of a checkpoint's file, which are those of its manifest. Raises CheckpointError."""
    path, expected = folder / name, manifest["files"][name]
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size == expected["size"] else b""
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    if size != expected["size"]:
        raise CheckpointError(f"{path}: has {size:,} bytes, its manifest says {expected['size']:,}")
    if _sha256(data) != expected["sha256"]:
        raise CheckpointError(f"{path}: is damaged (its sha256 is not that of the manifest)")
    return data


def load_weights(folder: Path) -> dict[str, Tensor]:
    """The verified weights of a checkpoint folder, by parameter name."""
    return safetensors.torch.load(read_verified(folder, MODEL, read_manifest(folder)))


def _own_storage(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest(manifest: Mapping[str, Any]) -> str:
    return _sha256(json.dumps(manifest, sort_keys=True).encode())
