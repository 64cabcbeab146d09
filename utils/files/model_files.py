"""Files of a published model, config.json and the weights, read as untrusted input.

Tensor data has no checksum of its own, so a flipped bit would only show as a worse model. If its sha256 is known, a file
is verified: by SHA256SUMS next to it (`export` writes one), by the hub's cache, whose files are named so, or by pip's RECORD.
"""

import base64
import csv
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from utils.errors import CheckpointError, reason_of, unreadable
from utils.files import strict_json
from utils.files.hub import CONFIG, WEIGHTS
from utils.files.storage import read_regular, readable
from utils.files.torch_archive import load_state

SUMS = "SHA256SUMS"
MAX_CONFIG = 2**24  # bytes
TEXTS = (CONFIG, "tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt")
PICKLED = ".bin"


def read_model_config(folder: Path) -> dict[str, Any]:
    """The values of config.json. Raises CheckpointError."""
    path = folder / CONFIG
    _check_sums(folder)
    try:
        values = strict_json.parse(read_regular(path, MAX_CONFIG))
    except (OSError, ValueError) as error:
        raise CheckpointError(unreadable(path, error)) from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: is not a model's config")
    return values


def read_model_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a model by name, floats in fp32; a pickle that could run code is rejected. Raises CheckpointError."""
    path = next((folder / name for name in WEIGHTS if (folder / name).exists()), None)
    if path is None:
        raise CheckpointError(f"{folder}: holds no weights; looked for {', '.join(WEIGHTS)}")
    weights: dict[str, Tensor] = {}
    for file in _parts(path):
        weights |= _read(file)
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: is damaged ({name[:80]} is not finite)")
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}


def with_sums(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """A published model's files by name, and the SHA256SUMS of them."""
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    return {**files, SUMS: sums.encode()}


def known_sha256(path: Path) -> str | None:
    """The published sha256 of a file, in hexadecimal; None if there is none."""
    if path.with_name(SUMS).is_file():
        return _named_sums(path.parent).get(path.name)
    blob = path.resolve()
    if blob.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return blob.name
    return _in_record(path)


def _named_sums(folder: Path) -> dict[str, str]:
    """The sha256 of each file in SHA256SUMS."""
    lines = (line.split(maxsplit=1) for line in read_regular(folder / SUMS).decode("utf-8", "replace").splitlines())
    return {parts[1].lstrip("*"): parts[0].lower() for parts in lines if len(parts) == 2}


def _check_sums(folder: Path) -> None:
    """Raise CheckpointError if a file in SHA256SUMS is missing or different, as after an incomplete copy.

    Weights need only exist here: they are verified when they are read.
    """
    for name in _named_sums(folder) if (folder / SUMS).is_file() else ():
        path = folder / name
        try:
            if name in WEIGHTS and not path.is_file():
                raise ValueError(f"{SUMS} lists it, but it is missing: the folder is incomplete")
            if name in TEXTS:
                _verify(path)
        except (OSError, ValueError) as error:
            raise CheckpointError(unreadable(path, error)) from None


def _in_record(path: Path) -> str | None:
    """The sha256 of a file in the RECORD of its pip package."""
    root = next((parent for parent in path.parents if parent.name in ("site-packages", "dist-packages")), None)
    if root is None:
        return None
    wanted = path.relative_to(root).as_posix()
    for record in root.glob("*.dist-info/RECORD"):
        with record.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                if row and row[0] == wanted and row[1].startswith("sha256="):
                    return base64.urlsafe_b64decode(row[1].removeprefix("sha256=") + "==").hex()
    return None


def _parts(path: Path) -> list[Path]:
    """The files of the weights: several if there is an index."""
    if path.suffix != ".json":
        return [path]
    try:
        names = sorted(set(strict_json.parse(read_regular(path, MAX_CONFIG))["weight_map"].values()))
        if any(Path(name).name != name for name in names):
            raise ValueError("it names files outside its folder")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: is not an index of weights ({error})") from None
    return [path.with_name(name) for name in names]


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if not path.is_file():
            raise ValueError("there is no such file")
        _verify(path)
        if path.suffix == PICKLED:
            found = load_state(read_regular(path))
            if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
                raise ValueError("not a dictionary of tensors")
            return dict(found)
        return dict(safetensors.torch.load_file(path))
    except Exception as error:  # every parser raises its own
        reason = reason_of(error)
        hint = "; if you trust it, save it again with safetensors" if path.suffix == PICKLED else ""
        raise CheckpointError(f"{path}: cannot be read as weights ({reason}){hint}") from None


def _verify(path: Path) -> None:
    expected = known_sha256(path)
    if expected is None:
        return
    with readable(path), path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise ValueError(f"its sha256 is {found[:12]}..., not {expected[:12]}...: damaged, get it again")
