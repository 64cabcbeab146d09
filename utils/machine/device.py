"""The device by its name in the config, and what torch.compile needs for it."""

import os
import shutil
import sys

import torch


def choose_device(name: str) -> torch.device:
    """ "auto" takes CUDA, else Apple's GPU, else the CPU. Raises ValueError for a device that is not there."""
    if name == "auto":
        has_mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device {name!r} is unknown; known: auto, cpu, cuda, cuda:N, mps") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device {name!r} is not supported; known: auto, cpu, cuda, cuda:N, mps")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {name!r} is not there: this machine has {torch.cuda.device_count()} CUDA devices; try auto"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device 'mps' is not there; try auto")
    return device


def missing_compiler(device: torch.device) -> str | None:
    """What torch.compile needs for a device and this machine has not, in words; None where nothing is missing.

    For a CPU it writes C++ and calls the compiler that CXX names, for CUDA its Triton calls one of C (CC).
    """
    if device.type == "cpu":
        default = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
        language, variable, names = "C++", "CXX", [default]
    elif device.type == "cuda":
        language, variable, names = "C", "CC", ["gcc", "clang"]
    else:
        return None
    names = [os.environ[variable]] if os.environ.get(variable) else names
    if any(map(shutil.which, names)):
        return None
    return f"a compiler of {language}, and {' or '.join(names)} is not there (environment variable {variable} names another)"
