"""Multi30k (Elliott et al. 2016): 29,000 image captions in English and German, prepared as in published results.

Lower-cased and in Moses' tokens (escaped, as Moses does) the German test_2016_flickr has 12,103 tokens: the reference length of the
scores published for this preprocessing.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from datasets.formats.data_files import check_file
from datasets.sources.papers import publish
from utils.errors import ConfigError, DataError
from utils.files.storage import storage_errors

NAMES = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
LANGUAGES = ("de", "en")


def write_pairs(source: Path, out: Path, *, is_lower: bool, is_moses: bool) -> dict[str, int]:
    """Write SPLIT.LANGUAGE of each split; -> the pairs of each. Raises DataError, ConfigError."""
    prepared = {language: _preparation(language, is_lower, is_moses) for language in LANGUAGES}
    counts, files = dict[str, int](), dict[str, bytes]()
    for split, name in NAMES.items():
        sides = {language: list(_lines(source, f"{name}.{language}")) for language in LANGUAGES}
        if len({len(lines) for lines in sides.values()}) > 1:
            sizes = " and ".join(f"{name}.{language} has {len(lines):,}" for language, lines in sides.items())
            raise DataError(f"{source}: the sides of {split} have different numbers of lines: {sizes}")
        for language, lines in sides.items():
            files[f"{split}.{language}"] = "".join(prepared[language](line) + "\n" for line in lines).encode()
        counts[split] = len(sides["de"])
    with storage_errors(out, sum(map(len, files.values()))):
        publish(out, files)
    return counts


def _lines(source: Path, name: str) -> Iterator[str]:
    """The lines of a file, gzipped or not."""
    path, packed = source / name, source / f"{name}.gz"
    path = packed if packed.exists() else path  # as published: the bare name may be that of prepared files
    check_file(path, "text")
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path is packed else path.open(encoding="utf-8") as file:
            for line in file:
                yield line.rstrip("\n").strip()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _preparation(language: str, is_lower: bool, is_moses: bool) -> Callable[[str], str]:
    """What is done with each line."""
    cased: Callable[[str], str] = str.lower if is_lower else str
    if not is_moses:
        return cased
    try:
        from sacremoses import MosesPunctNormalizer, MosesTokenizer
    except ImportError:
        raise ConfigError("command line: --moses needs the package sacremoses: pip install sacremoses") from None
    normalizer, tokenizer = MosesPunctNormalizer(language), MosesTokenizer(language)
    return lambda line: str(tokenizer.tokenize(normalizer.normalize(cased(line)), return_str=True))
