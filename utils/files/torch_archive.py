"""Safe loading of a checkpoint's state.pt: plain values and tensors only, and no larger in memory than in the file.

`weights_only=True` keeps code out. It does not keep out an archive that unpacks to a thousand times its size, a tensor that
claims 10^12 elements of one stored number, or a million keys.
"""

import io
import zipfile
from typing import Any

import torch
from torch import Tensor

MAX_PICKLE = 2**22  # bytes besides the tensor data; 300 per parameter are usual
PLAIN = (int, float, str, bool, type(None))


def load_state(data: bytes) -> Any:
    """Load what `torch.save` wrote. Raises ValueError for content rejected here, and whatever torch raises."""
    _check_archive(data)
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    _check_values(state)
    return state


def _check_archive(data: bytes) -> None:
    """Require a zip of uncompressed entries; older formats of torch, and pickles, are rejected."""
    if not data.startswith(b"PK\3\4"):
        raise ValueError(
            "not an archive of torch.save; if torch before 1.6 wrote it, load it and save it again, preferably as model.safetensors"
        )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("compressed entries")
    if sum(entry.file_size for entry in entries) > len(data):
        raise ValueError("entries that overlap")
    if sum(entry.file_size for entry in entries if "/data/" not in entry.filename) > MAX_PICKLE:
        raise ValueError(f"more than {MAX_PICKLE:,} bytes besides its tensors")


def _check_values(state: Any) -> None:
    """Check every value once, however often the file refers to it."""
    waiting, seen = [state], set[int]()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, Tensor):
            _check_tensor(value)
        elif not isinstance(value, PLAIN):
            raise ValueError(f"a value of type {type(value).__name__}")  # noqa: TRY004 (the file is wrong, not our call)


def _check_tensor(tensor: Tensor) -> None:
    if type(tensor) is not Tensor or tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise ValueError("a tensor of another kind")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError("a tensor that is larger than its data")
