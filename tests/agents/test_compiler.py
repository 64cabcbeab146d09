"""`compile_layers` without a compiler: one line before any data is read; what was trained with it is used without it."""

import shutil
from pathlib import Path

import pytest
import torch

from agents import build, load
from graphs.models.transformer import TransformerLayer
from main import main
from utils.machine.device import missing_compiler

MODEL = {"name": "transformer", "hidden_size": 8, "num_layers": 1, "num_heads": 2, "intermediate_size": 8}


def test_a_machine_without_a_compiler_is_told_so(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    (workplace / "tiny.jsonl").unlink()
    words = "model={name: transformer, compile_layers: true}"
    assert main(["tiny.yaml", words, "data.max_length=64", "device=cpu"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "command line: model.compile_layers: torch.compile needs a C++ compiler, and no-such-compiler is missing "
        "(environment variable CXX names another); install one, or leave the option out"
    )


def test_a_run_that_was_compiled_predicts_where_no_compiler_is(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[TransformerLayer] = []
    monkeypatch.setattr(TransformerLayer, "compile", lambda layer, **options: compiled.append(layer))
    options = {"model": MODEL | {"compile_layers": True}, "data.max_length": 64, "train.num_epochs": 1, "name": "x"}
    with monkeypatch.context() as patch:
        patch.setattr("agents.running.checking.missing_compiler", lambda device: None)
        build("tiny.yaml", options).run()
    assert compiled
    compiled.clear()
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert load("experiments/x").predict(["boil the rice"])[0]["predicted"]
    assert not compiled


@pytest.mark.parametrize(
    ("device", "variables", "there", "missing"),
    [
        ("cpu", {}, ["g++"], None),
        ("cpu", {}, ["gcc"], "a C++ compiler, and g++ is missing"),
        ("cpu", {"CXX": "icpx"}, ["icpx"], None),
        ("cpu", {"CXX": "icpx"}, ["g++"], "a C++ compiler, and icpx is missing"),
        ("cuda", {}, ["clang"], None),
        ("cuda", {}, ["gcc"], None),
        ("cuda", {}, ["g++"], "a C compiler, and gcc or clang is missing"),
        ("cuda", {"CC": "icx"}, ["gcc"], "a C compiler, and icx is missing"),
        ("mps", {}, [], None),
    ],
)
def test_each_device_needs_its_compiler(
    monkeypatch: pytest.MonkeyPatch, device: str, variables: dict[str, str], there: list[str], missing: str | None
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda name: name if name in there else None)
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = missing_compiler(torch.device(device))
    assert found is None if missing is None else str(found).startswith(missing)
