"""The same command gives the same bits: in another process, with another hash seed, and in next year's version."""

import json
import os
import subprocess
import sys
from pathlib import Path

import golden
import pytest
from conftest import ROOT
from lab import MODELS, Lab, of_tier

SEEDS = ["1", "2", "3", "4", "random"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("determinism"))


def said(text: str) -> list[str]:
    """What a run said of its data and its validations, without times and names."""
    return [line for line in text.splitlines() if "rows read" in line or line.startswith("epoch ")]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("model", MODELS[: of_tier(1, 2)])
def test_fresh_processes_with_other_hash_seeds_give_the_same_bits(lab: Lab, model: str) -> None:
    """As `python main.py` and as the forked runs of all tests here, whose hash seed is that of their parent."""
    control = lab.finish(model, "forked")
    for seed in SEEDS[-of_tier(1, 5) :]:
        name = f"{model}-{seed}"
        command = [sys.executable, str(ROOT / "main.py"), f"{model}.yaml", f"name={name}"]
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
        fresh = subprocess.run(
            [*command, f"data.cache_folder=.cache-{name}"],
            cwd=lab.folder,
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
        )
        assert fresh.returncode == 0, fresh.stderr
        assert lab.results(name) == lab.results("forked")
        assert said(fresh.stderr) == said(control.stderr) != []
    for path in (lab.path("forked"), lab.folder / ".cache-forked"):
        path.rename(path.with_name(f"{path.name}-{model}"))


@pytest.mark.parametrize("run", golden.OVERRIDES)
def test_losses_are_those_of_the_golden_file(lab: Lab, run: str) -> None:
    """Exactly on the machine that wrote them, elsewhere to 1e-6: a change that was not meant to change numbers has not."""
    kept = json.loads(golden.FILE.read_text())
    found = golden.losses(lab, run)
    assert len(found) == golden.NUM_STEPS
    if golden.machine() == kept["machine"]:
        assert found == kept["losses"][run]
    else:
        assert found == pytest.approx(kept["losses"][run], rel=1e-6)


@pytest.mark.full
@pytest.mark.parametrize("run", golden.OVERRIDES)
def test_losses_on_a_processor_without_wide_vectors_are_near(run: str, tmp_path: Path) -> None:
    """The tolerance holds where another processor takes other kernels: torch's plain ones, in a fresh process."""
    code = f"import golden, lab, pathlib; print(golden.losses(lab.Lab(pathlib.Path('.')), {run!r}))"
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests", Path(golden.__file__).parent)))
    environment = os.environ | {"ATEN_CPU_CAPABILITY": "default", "PYTHONPATH": paths}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=True)
    kept = json.loads(golden.FILE.read_text())["losses"][run]
    assert json.loads(result.stdout.splitlines()[-1]) == pytest.approx(kept, rel=1e-6)
