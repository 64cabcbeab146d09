"""Academic papers, title + abstract -> AI, ML or ACL: the split behind every published figure of this project.

The source is one JSON array per conference and year (papercopilot/paperlists); a paper's field is that of its conference. The
split depends on a hash of the title alone: sha256 of the title, lower-cased and with single spaces, its first 8
hex digits modulo 10: 0 is test, 1 is valid, the rest train.
"""

import contextlib
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets.formats.data_files import check_file, data_errors, read_bytes
from utils.errors import DataError
from utils.files import strict_json
from utils.files.storage import beside, remove_leftovers, storage_errors, sync_folder, write_synced

LARGEST = 2**26  # bytes of a file; parsed JSON takes many times as much memory
VENUES = {
    "aaai": "AI", "ijcai": "AI",
    "aistats": "ML", "uai": "ML", "colt": "ML", "acml": "ML",
    "acl": "ACL", "naacl": "ACL", "emnlp": "ACL",
}  # fmt: skip


def write_splits(source: Path, out: Path) -> dict[str, Any]:
    """Write train.jsonl, valid.jsonl and test.jsonl with title, abstract and venue; -> counts read, used and skipped."""
    with data_errors(source):
        if not source.is_dir():
            raise DataError(f"{source}: no such folder; it should hold the papers' *.json.gz files")
    lines: dict[str, list[bytes]] = {"train": [], "valid": [], "test": []}
    skipped: Counter[str] = Counter()
    seen: set[str] = set()
    num_read = 0
    for title, abstract, venue in _papers(source):
        num_read += 1
        key = " ".join(title.lower().split())
        if not abstract.strip():
            skipped["without abstract"] += 1
        elif key in seen:
            skipped["repeated title"] += 1
        else:
            seen.add(key)
            line = json.dumps({"title": title, "abstract": abstract, "venue": venue}, ensure_ascii=False) + "\n"
            lines[split_of(key)].append(line.encode())
    with storage_errors(out, sum(map(len, itertools.chain(*lines.values())))):
        publish(out, {f"{split}.jsonl": b"".join(rows) for split, rows in lines.items()})
    counts = {split: len(rows) for split, rows in lines.items()}
    reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items()) or "none"
    return {
        "read": num_read,
        "used": sum(counts.values()),
        "skipped": sum(skipped.values()),
        "reasons": reasons,
        **counts,
    }


def publish(out: Path, files: dict[str, bytes]) -> None:
    """Write files that belong together. The first, which every config names, exists only alongside the others of its set."""
    out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out)
    with contextlib.ExitStack() as stack:
        made = {name: stack.enter_context(beside(out / name)) for name in files}
        for name, data in files.items():
            write_synced(made[name], data)
        for name in files:
            (out / name).unlink(missing_ok=True)
        sync_folder(out)
        for name in reversed(files):
            made[name].rename(out / name)
            sync_folder(out)


def split_of(key: str) -> str:
    """The split of a normalised title."""
    number = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % 10
    return {0: "test", 1: "valid"}.get(number, "train")


def _papers(source: Path) -> Iterator[tuple[str, str, str]]:
    """(title, abstract, venue) of every paper in the files named after a known conference, in name order."""
    files = sorted(path for path in source.glob("*.json*") if _venue(path) is not None)
    if not files:
        raise DataError(f"{source}: holds no file of a known conference, such as acl2021.json.gz ({', '.join(VENUES)})")
    for path in files:
        check_file(path, "papers")
        try:
            records = strict_json.parse(read_bytes(path, LARGEST, "no year of a conference is"))
        except ValueError as error:
            raise DataError(f"{path}: cannot be read: {error}") from None
        try:
            papers = [(record.get("title") or "", record.get("abstract") or "") for record in records]
            "".join(itertools.chain(*papers)).encode()  # text, all of it
        except (AttributeError, TypeError, UnicodeEncodeError):
            raise DataError(f"{path}: is not a JSON array of objects with title and abstract") from None
        venue = _venue(path)
        assert venue is not None
        for title, abstract in papers:
            yield title, abstract, venue


def _venue(path: Path) -> str | None:
    return VENUES.get(path.name.removesuffix(".gz").removesuffix(".json").rstrip("0123456789"))
