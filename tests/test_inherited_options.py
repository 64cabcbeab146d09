"""A section that names another part than its base: options of any part stay, those of the old part go."""

from pathlib import Path
from typing import Any

import pytest
from conftest import write_jsonl

from agents import checked_config
from main import main
from utils.config.config import Config
from utils.errors import ConfigError

BASE = """\
agent: classification
data:
  name: bbc_news
  fields: [title, text]
  join_fields: true
  max_length: 40
model:
  name: bilstm
  hidden_size: 12
  dropout: 0.1
loss:
  name: cross_entropy
  label_smoothing: 0.1
  r_drop: 1.0
optimizer:
  name: AdamW
  weight_decay: 0.02
  layer_decay: 0.9
"""
MINE = "base: base.yaml\ndata:\n  name: files\n  train: tiny.jsonl\n  fields: [text]\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(BASE)
    return tmp_path


def config_of(text: str, overrides: Any = ()) -> Config:
    Path("mine.yaml").write_text(text)
    return checked_config("mine.yaml", overrides)


def test_shared_options_of_the_base_stay() -> None:
    config = config_of(MINE + "optimizer: {name: SGD}\nloss: {name: focal}\nmodel: {name: transformer}\n")
    assert (config.data.max_length, config.data.join_fields, config.data.fields) == (40, True, ["text"])
    assert (config.optimizer.layer_decay, config.optimizer.weight_decay) == (0.9, 0.0)
    assert config.loss.r_drop == 1.0
    assert "label_smoothing" not in config.loss
    assert config.model.hidden_size != 12
    assert config.place("data.max_length") == "base.yaml:6"
    assert config.place("optimizer.weight_decay") == "mine.yaml:6"


@pytest.mark.parametrize(
    ("text", "overrides", "max_length"),
    [
        (MINE + "  max_length: 7\n", [], 7),
        (MINE + "  max_length: null\n", [], None),
        (MINE, ["data.max_length=null"], None),
        (MINE, ["data.max_length=9"], 9),
        (MINE.replace("tiny.jsonl\n", "tiny.jsonl\n  max_length: 7\n"), ["data={name: files, train: x.jsonl}"], 7),
        ("base: base.yaml\n", ["data.name=files", "data.train=tiny.jsonl"], 40),
        ("base: base.yaml\n", ["data.name=files", "data.train=tiny.jsonl", "data.max_length=null"], None),
        ("base: base.yaml\n", ["data={name: files, train: tiny.jsonl}"], 40),
        ("base: base.yaml\n", {"data": {"name": "files", "train": "tiny.jsonl"}}, 40),
        ("base: middle.yaml\ndata: {name: bbc_news}\n", [], 40),
        ("base: middle.yaml\n", ["data.name=bbc_news", "data.max_length=5"], 5),
    ],
)
def test_what_is_given_later_counts(text: str, overrides: Any, max_length: int | None) -> None:
    Path("middle.yaml").write_text(MINE)
    assert config_of(text, overrides).data.max_length == max_length


def test_a_bad_value_that_stayed_is_blamed_on_its_own_line(folder: Path) -> None:
    (folder / "base.yaml").write_text(BASE.replace("max_length: 40", "max_length: 0"))
    with pytest.raises(ConfigError, match=r"^base.yaml:6: data: max_length must be at least 1"):
        config_of(MINE)


def test_a_dry_run_shows_what_stayed(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    write_jsonl(folder / "tiny.jsonl", [{"text": "a b", "label": "c"}])
    (folder / "mine.yaml").write_text(MINE)
    assert main(["mine.yaml", "--dry-run"]) == 0
    assert "max_length: 40" in capsys.readouterr().out


def test_a_section_that_was_taken_out_brings_nothing_back() -> None:
    Path("middle.yaml").write_text("base: base.yaml\nloss: null\n")
    assert config_of("base: middle.yaml\nloss: {name: focal}\n").loss.r_drop == 0.0
