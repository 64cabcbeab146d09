"""Four starts of one experiment at once: one runs and three are refused. Four builders of one token cache: it is built once."""

import shutil
import time
from pathlib import Path

import pytest
from faults import DIED
from lab import MODELS, Lab, digest

SLOW_DATA = {"slow": {"place": "datasets.store.word_pass:number_words", "seconds": 0.2}}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("at_once"))


@pytest.mark.parametrize("model", MODELS)
def test_of_four_starts_one_runs_and_three_are_refused(lab: Lab, model: str) -> None:
    until = {"place": "agents.base:BaseAgent.train_step", "path": f"refused-{model}"}  # else the last starts too late
    runs = [lab.start(model, f"four-{model}", wait_in=until) for _ in range(4)]
    first = {}
    while len(first) < 3:  # whoever is refused ends first
        first |= {run.pid: (run, code) for run in runs if run.pid not in first and (code := run.wait(0)) is not None}
        assert time.monotonic() - runs[0].started < 5.0
    for run, code in first.values():
        assert code == 5
        [line] = run.stderr.splitlines()
        assert line.startswith(f"experiments/four-{model}: another process is using this run")
    (lab.folder / f"refused-{model}").touch()
    [winner] = [run for run in runs if run.pid not in first]
    assert winner.wait() == 0, winner.stderr
    assert lab.results(f"four-{model}") == lab.control(model)[0]


def hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): digest(path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def store(lab: Lab, cache: str) -> dict[str, str]:
    """The files of the one token store in a cache."""
    [folder] = [path for path in (lab.folder / f".cache-{cache}" / "tokens").iterdir() if path.is_dir()]
    assert not folder.name.startswith(".tmp-")
    return hashes(folder)


def test_four_builders_of_a_cache_build_it_once(lab: Lab) -> None:
    lab.control("bag_of_embeddings")
    runs = [lab.start("bag_of_embeddings", f"builder-{i}", cache="shared", **SLOW_DATA) for i in range(4)]
    assert [run.wait() for run in runs] == [0] * 4
    assert sum("tokenised 120 texts" in run.stderr for run in runs) == 1
    assert store(lab, "shared") == store(lab, "whole-bag_of_embeddings")
    for i in range(4):
        assert lab.results(f"builder-{i}") == lab.control("bag_of_embeddings")[0]


def test_the_others_take_over_from_a_killed_builder(lab: Lab) -> None:
    lab.control("bag_of_embeddings")
    first = lab.start("bag_of_embeddings", "taken-0", cache="taken", **SLOW_DATA)
    while not list((lab.folder / ".cache-taken" / "tokens").glob(".tmp-*")):
        time.sleep(0.001)
    others = [lab.start("bag_of_embeddings", f"taken-{i}", cache="taken") for i in range(1, 4)]
    time.sleep(0.1)  # they wait for it
    assert first.kill()
    killed = time.monotonic()
    assert [run.wait() for run in others] == [0] * 3
    assert time.monotonic() - killed < 10.0
    assert store(lab, "taken") == store(lab, "whole-bag_of_embeddings")
    assert not list((lab.folder / ".cache-taken" / "tokens").glob(".tmp-*"))


def test_a_claim_that_died_does_not_bar_the_name_whoever_has_its_process_number_now(lab: Lab) -> None:
    died = lab.start("bilstm", "claimed", die_at={"pattern": r"rename .*config\.yaml.*"})
    assert died.wait() == DIED
    [temporary] = lab.path("claimed").iterdir()
    shutil.copy(temporary, temporary.with_name(".tmp-config.yaml-elsewhere-1"))  # process 1 is there and is not ours
    lab.finish("bilstm", "claimed", "train.num_epochs=1")
