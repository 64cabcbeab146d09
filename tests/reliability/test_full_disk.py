"""B1 and B2: a full disk costs no checkpoint, is told with its path and bytes, leaves nothing behind, and is forgotten once there is room."""

import functools
import hashlib
import shutil
from pathlib import Path

import pytest
from conftest import TINY_CONFIG
from disk_cases import MODELS, assert_refused, copied, hashes, temporaries, tier, workplace
from disk_fixtures import _shared_zygote, needs_mount, zygote  # noqa: F401
from disk_zygote import Zygote

from datasets.store.store import TokenStore
from utils.runs.checkpoint import CheckpointStore

GO_ON = ["tiny.yaml", "train.num_epochs=4"]
ROOM = r"[0-9,]+ (bytes )?(needed|free)"
PAGE = 4096


@functools.cache
def begun(model: str, folder: Path) -> Path:
    """A workplace whose run has done one epoch, and is asked for more."""
    place = workplace(
        folder / f"begun-{model}", MODELS[model].replace("num_epochs: 2", "num_epochs: 1\n  save_every: 1 steps")
    )
    assert _shared_zygote().run(place, "tiny.yaml").code == 0
    return place


@functools.cache
def control(model: str, folder: Path) -> tuple[dict[str, str], dict[int, str], int]:
    """What the run gives where there is room: its hashes at the end, those of the weights of every step, a checkpoint's size."""
    place = copied(begun(model, folder), folder / f"control-{model}")
    assert _shared_zygote().run(place, *GO_ON).code == 0
    config = (place / "tiny.yaml").read_text().replace("num_epochs: 1", "num_epochs: 4\n  keep: 99")
    every = workplace(folder / f"every-{model}", config)
    assert _shared_zygote().run(every, "tiny.yaml").code == 0
    weights = {
        step: weights_hash(every, step) for step in CheckpointStore(every / "experiments/tiny/checkpoints").steps()
    }
    size = sum(path.stat().st_size for path in (every / "experiments/tiny/checkpoints/step-3").iterdir())
    return hashes(place / "experiments/tiny"), weights, size


def weights_hash(place: Path, step: int) -> str:
    return hashlib.sha256(
        (place / f"experiments/tiny/checkpoints/step-{step}/model.safetensors").read_bytes()
    ).hexdigest()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disk")


def assert_nothing_lost(place: Path, model: str, folder: Path) -> None:
    """Every checkpoint is whole and bit-identical to the control's, and the old one or a newer one is there."""
    store = CheckpointStore(place / "experiments/tiny/checkpoints")
    manifest = store.latest()
    assert manifest is not None
    assert manifest["step"] >= 3
    assert store.warnings == []
    for step in store.steps():
        store.load(step)
        assert weights_hash(place, step) == control(model, folder)[1][step]


def assert_goes_on(zygote: Zygote, place: Path, model: str, folder: Path) -> None:
    """With room the same command ends as the control did, and what was left lying is gone."""
    ended = zygote.run(place, *GO_ON)
    assert ended.code == 0, ended.err
    assert "damaged" not in ended.err
    found, expected = hashes(place / "experiments/tiny"), control(model, folder)[0]
    assert {name: found.get(name) for name in expected} == expected
    assert_nothing_lost(place, model, folder)  # an old one that a broken disk would not give up may be there as well
    assert temporaries(place) == []


def sizes(largest: int, quick: int = 4) -> list[int]:
    """4 or 20 sizes, in pages, up to the largest."""
    number = tier(quick, 20)
    return [round(i * largest / (number - 1) / PAGE) * PAGE for i in range(number)]


@needs_mount
@pytest.mark.parametrize("model", MODELS)
def test_a_full_disk_costs_no_checkpoint(tmp_path: Path, folder: Path, zygote: Zygote, model: str) -> None:
    """Room for 0 to 2.6 more checkpoints: the log, a save, retention, predictions or the report is what fails."""
    codes = []
    for i, size in enumerate(sizes(int(control(model, folder)[2] * 2.6))):
        place = copied(begun(model, folder), tmp_path / str(i))
        ended = zygote.run(place, *GO_ON, small_disk=[str(place / "experiments"), size, str(place / "result")])
        codes.append(ended.code)
        shutil.rmtree(place / "experiments")
        shutil.rmtree(place / "experiments.aside")
        (place / "result").rename(place / "experiments")
        if ended.code != 0:
            assert_refused(ended, 5, "^experiments/tiny.*", ROOM)
        assert_nothing_lost(place, model, folder)
        assert_goes_on(zygote, place, model, folder)
    assert codes[0] == 5
    assert codes[-1] == 0
    assert codes == sorted(codes, reverse=True), "more room is never worse"


@pytest.mark.parametrize("model", list(MODELS)[tier(1, 0) :])
def test_a_limit_on_file_sizes_costs_no_checkpoint(tmp_path: Path, folder: Path, zygote: Zygote, model: str) -> None:
    """The same where nobody may mount: files end in the middle."""
    codes = []
    for i, size in enumerate(sizes(control(model, folder)[2], 3)):
        place = copied(begun(model, folder), tmp_path / str(i))
        ended = zygote.run(place, *GO_ON, file_limit=[size + 3000])
        codes.append(ended.code)
        if ended.code != 0:
            assert_refused(ended, 5, "^experiments/tiny.*: cannot be written: File too large", ROOM)
        assert_nothing_lost(place, model, folder)
        assert_goes_on(zygote, place, model, folder)
    assert codes[0] == 5
    assert codes[-1] == 0


# The cache.


@functools.cache
def cache_control(folder: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """What a run and its token store hold where there is room."""
    place = workplace(folder / "cached", TINY_CONFIG, num_rows=300)
    assert _shared_zygote().run(place, "tiny.yaml").code == 0
    return hashes(place / "experiments/tiny"), cached(place)


def cached(place: Path) -> dict[str, bytes]:
    return {f"{p.parent.name}/{p.name}": p.read_bytes() for p in (place / ".cache/tokens").glob("[0-9a-f]*/*")}


def assert_no_half_cache(place: Path) -> None:
    for path in (place / ".cache/tokens").glob("[0-9a-f]*"):
        assert TokenStore(path).header
        assert cached(place).keys(), "only a whole store has its name"


@pytest.mark.parametrize("way", [pytest.param("small_disk", marks=needs_mount), "file_limit"])
def test_a_full_disk_leaves_no_half_cache(tmp_path: Path, folder: Path, zygote: Zygote, way: str) -> None:
    """It fills up while a store is tokenised, written or closed: exit code 5 and no SIGBUS, and built whole once there is room."""
    expected, store = cache_control(folder)
    largest = sum(-(-len(data) // PAGE) * PAGE for data in store.values()) * 3 // 2 if way == "small_disk" else 9000
    codes = []
    for i, size in enumerate(sizes(largest, 4 if way == "small_disk" else 2)):
        place = workplace(tmp_path / str(i) / "place", TINY_CONFIG, num_rows=300)
        cache = place / ".cache"
        cache.mkdir()
        setup = [str(cache), size, str(place / "result")] if way == "small_disk" else [size + 600]
        ended = zygote.run(place, "tiny.yaml", **{way: setup})
        codes.append(ended.code)
        if way == "small_disk":
            shutil.rmtree(cache)
            shutil.rmtree(place / ".cache.aside")
            (place / "result").rename(cache)
        if ended.code != 0:
            assert_refused(ended, 5, r"\.cache|experiments" if way == "file_limit" else r"^\.cache")
        assert_no_half_cache(place)
        ended = zygote.run(place, "tiny.yaml")
        assert ended.code == 0, ended.err
        assert cached(place) == store
        assert hashes(place / "experiments/tiny") == expected
        assert temporaries(place) == []
    assert codes[0] == 5
    assert codes[-1] == (0 if way == "small_disk" else 5)


def test_a_run_that_cannot_be_saved_is_not_begun(tmp_path: Path, folder: Path, zygote: Zygote) -> None:
    """Less room than the weights take is told before the first step."""
    if not needs_mount.args[0]:
        place = workplace(tmp_path / "place", MODELS["bilstm"])
        (place / "experiments").mkdir()
        ended = zygote.run(place, "tiny.yaml", small_disk=[str(place / "experiments"), 7 * PAGE, str(place / "result")])
        assert_refused(ended, 5, r"checkpoints: a checkpoint needs more than [0-9,]+ bytes, [0-9,]+ are free$")
        assert not (place / "result/tiny/metrics.jsonl").exists()
