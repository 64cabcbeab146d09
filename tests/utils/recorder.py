"""Records what is asked of the disk, in its order: what counts when the power goes."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def record(monkeypatch: pytest.MonkeyPatch, root: Path) -> list[str]:
    """A list that grows by every fsync, rename and removal under `root`; temporary names without their random end."""
    calls: list[str] = []

    def watch(owner: Any, name: str, describe: Callable[..., str]) -> None:
        original = getattr(owner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(re.sub(r"(\.tmp-\S*)-[0-9a-f]{16}", r"\1", describe(*arguments)))
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    def name_of(descriptor: int) -> str:
        inode = os.fstat(descriptor).st_ino
        return next(path for path in [root, *root.rglob("*")] if path.stat().st_ino == inode).name

    watch(os, "fsync", lambda descriptor: f"fsync {name_of(descriptor)}")
    watch(Path, "replace", lambda old, new: f"rename {old.name} {new.name}")
    watch(Path, "rename", lambda old, new: f"rename {old.name} {new.name}")
    watch(Path, "unlink", lambda path: f"remove {path.name}")
    watch(shutil, "rmtree", lambda path: f"remove {path.name}")
    return calls
