"""Where a published model is found; the hub is a stand-in, for there is no network here."""

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from utils.errors import CheckpointError
from utils.files.hub import find_model

INDEX = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}})
TOKENIZER = {"tokenizer.json": "{}", "config.json": "{}"}
WHOLE: dict[str, dict[str, str]] = {
    "one file": TOKENIZER | {"model.safetensors": ""},
    "pickled": TOKENIZER | {"pytorch_model.bin": ""},
    "in parts": TOKENIZER
    | {"model.safetensors.index.json": INDEX, "model-1.safetensors": "", "model-2.safetensors": ""},
    "in pickled parts": TOKENIZER
    | {"pytorch_model.bin.index.json": INDEX.replace("safetensors", "bin"), "model-1.bin": "", "model-2.bin": ""},
}
PARTIAL: dict[str, dict[str, str]] = {
    "nothing": {},
    "the tokenizer": {"tokenizer.json": "{}"},
    "the tokenizer and the config": TOKENIZER,
    "the weights": {"model.safetensors": ""},
    "a part": TOKENIZER | {"model.safetensors.index.json": INDEX, "model-1.safetensors": ""},
    "a pickled part": TOKENIZER
    | {"pytorch_model.bin.index.json": INDEX.replace("safetensors", "bin"), "model-1.bin": ""},
    "no part": TOKENIZER | {"model.safetensors.index.json": INDEX},
}


class Hub(types.ModuleType):
    """huggingface_hub with a cache and, where it may be reached, a whole model."""

    def __init__(self, folder: Path, cached: dict[str, str] | None, *, has_network: bool) -> None:
        super().__init__("huggingface_hub")
        self.folder, self.cached, self.has_network, self.calls = folder, cached, has_network, []

    def snapshot_download(self, name: str, *, allow_patterns: list[str], local_files_only: bool) -> str:
        self.calls.append("cache" if local_files_only else "network")
        files: Any = self.cached if local_files_only else WHOLE["one file"]
        if files is None or (not local_files_only and not self.has_network):
            raise OSError("not cached" if local_files_only else "no network")
        self.folder.mkdir(exist_ok=True)
        for file, text in files.items():
            (self.folder / file).write_text(text)
        return str(self.folder)


def hub(monkeypatch: pytest.MonkeyPatch, *options: Any, has_network: bool = True) -> Hub:
    found = Hub(*options, has_network=has_network)
    monkeypatch.setitem(sys.modules, "huggingface_hub", found)
    return found


@pytest.mark.parametrize("kind", WHOLE)
def test_a_model_that_was_fetched_once_is_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    there = hub(monkeypatch, tmp_path / "cache", WHOLE[kind])
    assert find_model("someone/some-bert") == tmp_path / "cache"
    assert there.calls == ["cache"]


@pytest.mark.parametrize("kind", PARTIAL)
def test_what_the_cache_lacks_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Another program may have fetched the tokenizer alone."""
    there = hub(monkeypatch, tmp_path / "cache", PARTIAL[kind])
    assert find_model("someone/some-bert") == tmp_path / "cache"
    assert there.calls == ["cache", "network"]


def test_a_model_that_is_not_cached_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = hub(monkeypatch, tmp_path / "cache", None)
    assert find_model("someone/some-bert") == tmp_path / "cache"
    assert there.calls == ["cache", "network"]


@pytest.mark.parametrize("cached", [None, PARTIAL["the tokenizer"]])
def test_half_a_model_without_network_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: dict[str, str] | None
) -> None:
    hub(monkeypatch, tmp_path / "cache", cached, has_network=False)
    with pytest.raises(CheckpointError, match=r"the hub does not provide it \(OSError: no network\)"):
        find_model("someone/some-bert")
