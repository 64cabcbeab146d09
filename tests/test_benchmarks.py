"""Every script in benchmarks/ that lacks what it needs says its usage instead of a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

NEEDY = {  # scripts that cannot start as they are here, with the arguments that they get
    "evaluation_speed.py": [],
    "other_data.py": [],
    "cuda_steps.py": [],
    "accuracy.py": ["no_such_row"],
    "all_reduce.py": [],
    "serving.py": [],
    "encoder_trainer.py": ["nowhere.csv.gz"],
    **{
        f"peers/{path.name}": []
        for path in (ROOT / "benchmarks" / "peers").glob("*.py")
        if "fasttext" not in path.name and "__main__" in path.read_text()
    },
}
QUICK = ("evaluation_speed.py", "accuracy.py", "peers/tfidf_linear_svc.py")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.full) for n in NEEDY])
def test_a_script_without_what_it_needs_says_its_usage(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / name), *NEEDY[name]]
    environment = {key: value for key, value in os.environ.items() if key != "RANK"}
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode in (1, 2)
    assert Path(name).name in result.stderr
    assert "Traceback" not in result.stderr
