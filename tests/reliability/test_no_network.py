"""Every command does its work on a machine without any network: no host is asked for anything, not even this one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from disk_cases import copied
from disk_fixtures import zygote  # noqa: F401
from disk_zygote import Zygote
from test_streams import COMMANDS, FAILURES, place_of

import commands

ALONE = ["unshare", "--map-root-user", "--net"]  # in a namespace whose only interface, lo, is down
# Runs commands one after another, as importing torch takes longer than most of them; a list of their exit codes is its last line.
SCRIPT = """
import json, sys
from main import main
print(json.dumps([main(words) for words in json.loads(sys.argv[1])]))
"""


def can_be_alone() -> bool:
    has_it = shutil.which("unshare") is not None
    return has_it and subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode == 0


def test_every_command_is_tried() -> None:
    tried = {words[0] if words[0] in commands.COMMANDS else "train" for words in COMMANDS.values()}
    assert tried == set(commands.COMMANDS)


@pytest.mark.skipif(not can_be_alone(), reason="needs a network namespace: unshare --map-root-user --net")
def test_every_command_works_without_a_network(tmp_path: Path, zygote: Zygote) -> None:
    place = copied(place_of(zygote), tmp_path / "place")
    names = [name for name, words in COMMANDS.items() if words[-1:] != ["--help"]]
    command = [*ALONE, sys.executable, "-c", SCRIPT, json.dumps([COMMANDS[name] for name in names])]
    ended = subprocess.run(
        command, cwd=place, capture_output=True, text=True, timeout=250, check=False, env={"PYTHONPATH": str(ROOT)}
    )
    assert ended.returncode == 0, ended.stderr
    codes = dict(zip(names, json.loads(ended.stdout.splitlines()[-1]), strict=True))
    assert codes == {name: FAILURES.get(name, 0) for name in names}, ended.stderr
