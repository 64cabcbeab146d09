"""B4: a place that cannot be written is found before training: exit code 5 within 5 s, and not one step done."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY_CONFIG
from disk_cases import assert_refused, copied, workplace
from disk_fixtures import finished_run, needs_mount, zygote  # noqa: F401
from disk_zygote import Zygote

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")


def replaced(path: Path, make: Callable[[Path], Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere/at/all")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


PLACES = ["experiments", "experiments/tiny", "experiments/tiny/checkpoints", ".cache", ".cache/tokens"]
THINGS: dict[str, Callable[[Path], Any]] = {
    "a file": Path.touch,
    "a dangling link": dangling,
    "a loop": loop,
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("where", PLACES)
def test_something_else_in_the_place_of_a_folder(tmp_path: Path, zygote: Zygote, where: str, thing: str) -> None:
    place = workplace(tmp_path / "place")
    if where.endswith("checkpoints"):
        begun(place, zygote)
    replaced(place / where, THINGS[thing])
    ended = zygote.run(place, "tiny.yaml")
    assert_refused(ended, 5, where.split("/")[0], seconds=5)
    assert_no_step(place)


def begun(place: Path, zygote: Zygote) -> None:
    """A run that was stopped before its first step."""
    assert zygote.run(place, "tiny.yaml", "train.num_epochs=1").code == 0
    for name in ("report.json", "metrics.jsonl"):
        (place / "experiments/tiny" / name).unlink()
    (place / "experiments/tiny/checkpoints").rename(place / "elsewhere")
    config = (place / "tiny.yaml").read_text()
    (place / "tiny.yaml").write_text(config.replace("num_epochs: 2", "num_epochs: 1"))


def without_tokens(place: Path, where: str) -> None:
    """Tokens that are there need no writing: a cache that is to be written has none."""
    if where.startswith(".cache"):
        for path in (place / ".cache/tokens").iterdir():
            shutil.rmtree(path, ignore_errors=True)


def assert_no_step(place: Path) -> None:
    assert not (place / "experiments/tiny/metrics.jsonl").exists()


@needs_root
@pytest.mark.parametrize(
    "where", [".", "experiments", "experiments/tiny", "experiments/tiny/checkpoints", ".cache/tokens"]
)
def test_a_folder_of_another_user(tmp_path: Path, zygote: Zygote, where: str) -> None:
    place = copied(finished_run("boe"), tmp_path / "place")
    without_tokens(place, where)
    for path in [place, *place.rglob("*")]:
        os.chown(path, 65534, 65534, follow_symlinks=False)
    for name in ("report.json", "metrics.jsonl"):
        (place / "experiments/tiny" / name).unlink()
    os.chown(place / where, 0, 0)
    (place / where).chmod(0o755)
    if where == ".":
        for name in ("experiments", ".cache"):
            (place / name).rename(tmp_path / name)
    for path in tmp_path.parents:  # pytest's own folders are closed to others
        if path.is_relative_to("/tmp/pytest-of-root"):
            path.chmod(path.stat().st_mode | 0o055)
    tmp_path.chmod(0o755)
    name = "name=new" if where == "experiments" else "name=tiny"  # a run that is there needs no new file beside it
    assert_refused(zygote.run(place, "tiny.yaml", name, other_user=[]), 5, "Permission denied", seconds=5)
    assert_no_step(place)


@needs_root
def test_d81_a_data_file_that_this_user_may_not_read(tmp_path: Path, zygote: Zygote) -> None:
    place = workplace(tmp_path / "place")
    for path in [*tmp_path.parents, tmp_path, place]:
        if path.is_relative_to("/tmp/pytest-of-root"):
            path.chmod(0o755)
    os.chown(place, 65534, 65534)
    (place / "tiny.jsonl").chmod(0o600)
    ended = zygote.run(place, "tiny.yaml", other_user=[])
    assert_refused(ended, 3, "^tiny.jsonl: cannot be read: Permission denied", seconds=5)
    assert_no_step(place)


@needs_mount
@pytest.mark.parametrize(
    "where", [".", "experiments", "experiments/tiny", "experiments/tiny/checkpoints", ".cache", ".cache/tokens"]
)
def test_a_disk_that_is_mounted_read_only(tmp_path: Path, zygote: Zygote, where: str) -> None:
    place = copied(finished_run("boe"), tmp_path / "place")
    without_tokens(place, where)
    for name in ("report.json", "metrics.jsonl"):
        (place / "experiments/tiny" / name).unlink()
    ended = zygote.run(place, "tiny.yaml", read_only_disk=[str(place / where)])
    assert_refused(ended, 5, "Read-only file system", seconds=5)
    assert_no_step(place)


@pytest.mark.parametrize("folder", ["/dev/null/cache", "missing\\0name", "/proc/cache"])
def test_a_cache_folder_that_cannot_be(tmp_path: Path, zygote: Zygote, folder: str) -> None:
    config = TINY_CONFIG.replace("  name: files", f'  name: files\n  cache_folder: "{folder}"')
    place = workplace(tmp_path / "place", config)
    ended = zygote.run(place, "tiny.yaml")
    assert ended.code in (2, 5), ended
    assert_refused(ended, ended.code, "cache", seconds=5)
    assert_no_step(place)


def test_a_missing_parent_is_made(tmp_path: Path, zygote: Zygote) -> None:
    config = TINY_CONFIG.replace("  name: files", "  name: files\n  cache_folder: deep/down/below")
    place = workplace(tmp_path / "place", config)
    assert zygote.run(place, "tiny.yaml").code == 0
    assert (place / "deep/down/below/tokens").is_dir()
