"""The device by its name in the config, and the compiler that torch.compile needs for it."""

import os
import shutil
import sys

import torch


def choose_device(name: str) -> torch.device:
    """ "auto" takes CUDA, else Apple's GPU, else the CPU. Raises ValueError for an unavailable device."""
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
            f"device {name!r} is not available: this machine has {torch.cuda.device_count()} CUDA devices; try auto"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device 'mps' is not available; try auto")
    return device


def missing_compiler(device: torch.device) -> str | None:
    """Description of the compiler that torch.compile needs for a device and this machine lacks; None if nothing is missing.

    For a CPU it generates C++ and calls the compiler in CXX, for CUDA its Triton calls a C compiler (CC).
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
    return f"a {language} compiler, and {' or '.join(names)} is missing (environment variable {variable} names another)"
