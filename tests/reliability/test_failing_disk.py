"""B5 and B6: a disk that fails at the n-th call, writes a few bytes at a time, or is interrupted; a run's folder that is moved away."""

import random
from pathlib import Path

import pytest
from disk_cases import IS_FULL, MODELS, assert_refused, copied, hashes
from disk_fixtures import zygote  # noqa: F401
from disk_zygote import Zygote
from test_full_disk import GO_ON, assert_goes_on, assert_nothing_lost, begun, control, folder  # noqa: F401

CALLS = range(1, 201)
KINDS = ["EIO", "ENOSPC", "dead", "short"]


def cases() -> list[tuple[str, int]]:
    """(how, which call): 8 of 1 to 200 or each of them, the kinds drawn."""
    rng = random.Random(5)
    drawn = [(rng.choice(KINDS), at) for at in CALLS]
    return drawn if IS_FULL else [drawn[i] for i in range(4, 200, 25)]


@pytest.mark.parametrize(("kind", "at"), cases())
def test_a_call_that_fails_costs_no_checkpoint(
    tmp_path: Path, folder: Path, zygote: Zygote, kind: str, at: int
) -> None:
    """The run ends with exit code 5 and says where, or goes on without a log; the same command then ends as the control did."""
    model = list(MODELS)[at % 2]
    place = copied(begun(model, folder), tmp_path / "place")
    ended = zygote.run(place, *GO_ON, failing_disk=[str(place), at, kind, str(tmp_path / "log")])
    call = (tmp_path / "log").read_text()  # missing where the run has fewer calls
    if ended.code != 0:
        reason = {"EIO": "Input/output error", "dead": "Input/output error", "ENOSPC": "No space left on device"}[kind]
        assert_refused(ended, 5, r"^(experiments|\.cache)", reason)
    if kind == "short":
        assert ended.code == 0, (call, ended.err)
    assert_nothing_lost(place, model, folder)
    assert_goes_on(zygote, place, model, folder)


def test_the_layer_reaches_the_calls_of_a_save(tmp_path: Path, folder: Path, zygote: Zygote) -> None:
    """Otherwise the tests above would show nothing."""
    place = copied(begun("boe", folder), tmp_path / "place")
    assert zygote.run(place, *GO_ON, failing_disk=[str(place), 0, "list", str(tmp_path / "log")]).code == 0
    lines = [line.split(" ", 1) for line in (tmp_path / "log").read_text().splitlines()]
    found = {name for name, path in lines if "checkpoints" in path}
    assert found == {"open", "write", "fsync", "mkdir", "rename", "unlink", "rmdir"}
    assert len(lines) >= max(CALLS), len(lines)


@pytest.mark.parametrize("model", MODELS)
def test_a_slow_disk_and_interrupted_calls_change_nothing(
    tmp_path: Path, folder: Path, zygote: Zygote, model: str
) -> None:
    for name, setups in {
        "slow": {"failing_disk": [str(tmp_path), 1, "slow", str(tmp_path / "log")]},
        "signals": {"alarm_storm": [0.0005]},
    }.items():
        place = copied(begun(model, folder), tmp_path / name)
        ended = zygote.run(place, *GO_ON, **setups)
        assert ended.code == 0, ended.err
        assert hashes(place / "experiments/tiny") == control(model, folder)[0]


# B6.


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("number", [1, 2, 6] if IS_FULL else [2, 6])
@pytest.mark.parametrize("what", ["experiments", "experiments/tiny"] if IS_FULL else ["experiments/tiny"])
def test_a_run_whose_folder_is_moved_away_says_so(
    tmp_path: Path, folder: Path, zygote: Zygote, what: str, number: int, model: str
) -> None:
    """No second, half run is begun where it was; put back, it goes on."""
    place = copied(begun(model, folder), tmp_path / "place")
    ended = zygote.run(place, *GO_ON, move_at_save=[number, what, "moved"])
    assert_refused(ended, 5, "^experiments/tiny: was moved, removed or replaced while this run was using it")
    assert not (place / "experiments/tiny").exists()
    (place / "experiments/.tiny.lock").unlink(missing_ok=True)
    (place / "moved").rename(place / what) if what != "experiments" else (place / "moved").rename(place / "experiments")
    assert_nothing_lost(place, model, folder)
    assert_goes_on(zygote, place, model, folder)


@pytest.mark.parametrize("what", ["experiments", "experiments/tiny", "experiments/tiny/checkpoints"])
def test_a_run_whose_folder_is_deleted_is_never_lost_in_silence(
    tmp_path: Path, folder: Path, zygote: Zygote, what: str
) -> None:
    """Without its checkpoints a run goes on; it ends well where the best is among what it has saved since, or says what is missing."""
    place = copied(begun("boe", folder), tmp_path / "place")
    ended = zygote.run(place, *GO_ON, move_at_save=[3, what, ""])
    if ended.code == 0:
        assert what.endswith("checkpoints")
        assert zygote.run(place, "predict", "experiments/tiny", "--text", "x").code == 0
    else:
        assert_refused(ended, 4 if what.endswith("checkpoints") else 5, "experiments/tiny")


def test_a_cache_that_is_deleted_in_the_run_changes_nothing(tmp_path: Path, folder: Path, zygote: Zygote) -> None:
    place = copied(begun("boe", folder), tmp_path / "place")
    ended = zygote.run(place, *GO_ON, move_at_save=[2, ".cache", ""])
    assert ended.code == 0, ended.err
    assert hashes(place / "experiments/tiny") == control("boe", folder)[0]
