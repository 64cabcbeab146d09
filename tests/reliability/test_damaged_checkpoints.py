"""C1 and C2: cut off anywhere, one bit flipped anywhere, blocks zeroed or swapped: never loaded as if it were whole."""

import logging
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from corpora import corpus_of, opened, tiny_corpus
from disk_cases import FACTS, FILES, same, state_of, store_with_two, tier, weights_of

from datasets.store.store import TokenStore
from utils.errors import CheckpointError
from utils.runs.checkpoint import MANIFEST, MODEL, STATE, CheckpointStore

BLOCK = 4096


def assert_holds(store: CheckpointStore, step: int, size: int = 8) -> None:
    """That the step loads, with the very bits that were saved."""
    weights, state, manifest = store.load(step)
    assert same(weights, weights_of(step, size))
    assert same(state, state_of(step))
    assert (manifest["step"], manifest["facts"]) == (step, FACTS)


def assert_falls_back(store: CheckpointStore, name: str) -> None:
    """That step 2 is refused for this file, with one warning, and step 1 taken."""
    for read in (store.manifest, store.load):
        with pytest.raises(CheckpointError, match=rf"step-2/{name}: "):
            read(2)
    store.warnings.clear()
    manifest = store.latest()
    assert manifest is not None
    assert manifest["step"] == 1
    assert len(store.warnings) == 1
    assert store.warnings[0].endswith("; using the checkpoint before it")


def assert_all_refused(store: CheckpointStore, name: str, contents: Iterator[bytes]) -> int:
    """That no content of this file of step 2 is accepted; -> how many were tried."""
    path, num_tried = store.folder / "step-2" / name, 0
    whole = path.read_bytes()
    for content in contents:
        num_tried += 1
        if content == whole:
            continue
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"step-2/{name}: "):
            store.load(2)
    assert_falls_back(store, name)
    path.write_bytes(whole)
    return num_tried


@pytest.mark.parametrize("name", FILES)
def test_no_prefix_is_ever_loaded(tmp_path: Path, name: str) -> None:
    """C1: every prefix of each file of a checkpoint of 12 kB."""
    store = store_with_two(tmp_path, size=16)
    whole = (store.folder / "step-2" / name).read_bytes()
    lengths = range(len(whole)) if name == MANIFEST or tier(0, 1) else range(0, len(whole), 7)
    assert assert_all_refused(store, name, (whole[:length] for length in lengths)) == len(lengths)
    assert assert_all_refused(store, name, iter([whole + b"\0", whole * 2])) == 2
    assert_holds(store, 2, size=16)


def test_no_prefix_of_a_large_file_is_ever_loaded(tmp_path: Path) -> None:
    """C1: 500 random lengths of 5 MB."""
    store = store_with_two(tmp_path, size=1150)
    rng, path = random.Random(1), store.folder / "step-2" / MODEL
    assert path.stat().st_size > 5_000_000
    for length in sorted((rng.randrange(path.stat().st_size) for _ in range(tier(40, 500))), reverse=True):
        with path.open("r+b") as file:
            file.truncate(length)
        with pytest.raises(CheckpointError, match=rf"step-2/{MODEL}: has [0-9,]+ bytes, its manifest says"):
            store.manifest(2)
    assert_falls_back(store, MODEL)


@pytest.mark.parametrize("name", FILES)
def test_no_flipped_bit_is_ever_loaded(tmp_path: Path, name: str) -> None:
    """C2: a random bit at every byte of every file."""
    store = store_with_two(tmp_path)
    whole, rng = (store.folder / "step-2" / name).read_bytes(), random.Random(name)
    places = range(len(whole)) if name == MANIFEST or tier(0, 1) else range(rng.randrange(9), len(whole), 9)
    flipped = (whole[:i] + bytes([whole[i] ^ (1 << rng.randrange(8))]) + whole[i + 1 :] for i in places)
    assert assert_all_refused(store, name, flipped) == len(places)
    assert_holds(store, 2)


@pytest.mark.parametrize("name", [MODEL, STATE])
def test_no_lost_or_swapped_block_is_ever_loaded(tmp_path: Path, name: str) -> None:
    store = store_with_two(tmp_path, size=64)
    whole = (store.folder / "step-2" / name).read_bytes()
    blocks = [whole[i : i + BLOCK] for i in range(0, len(whole), BLOCK)]
    zeroed = [[bytes(len(b)) if i == j else b for j, b in enumerate(blocks)] for i in range(len(blocks))]
    swapped = [[*blocks[:i], blocks[i + 1], blocks[i], *blocks[i + 2 :]] for i in range(len(blocks) - 1)]
    assert_all_refused(store, name, map(b"".join, zeroed + swapped))
    assert_holds(store, 2, size=64)


def test_with_nothing_undamaged_left_the_run_is_refused_and_not_begun_anew(tmp_path: Path) -> None:
    store = store_with_two(tmp_path)
    for step in (1, 2):
        (store.folder / f"step-{step}" / MODEL).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"step-2/model\.safetensors: .*; no other checkpoint is left: --fresh"):
        store.latest()


# The token store. Only the size of arrays of 256 MB or more is checked; see datasets/store/store.py.


def values_of(store: TokenStore) -> list[bytes]:
    """Everything that training takes from a store."""
    arrays = [array for data in store.splits.values() for array in (data.columns["label"], data.rows)]
    arrays += [a for data in store.splits.values() for t in data.fields for a in (t.ids, t.offsets, t.truncated)]
    return [np.asarray(array).tobytes() for array in arrays] + [repr((store.labels, store.report)).encode()]


def test_no_flipped_bit_of_a_token_store_is_ever_used(tmp_path: Path) -> None:
    """C2: refused at every byte of every file of the cache."""
    corpus = tiny_corpus(tmp_path)
    folder = Path(corpus.cache_folder) / "tokens" / opened(corpus).key
    rng, num_tried = random.Random(3), 0
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        every = path.name == "header.json" or tier(0, 1)
        for i in range(len(whole)) if every else rng.sample(range(len(whole)), min(6, len(whole))):
            path.write_bytes(whole[:i] + bytes([whole[i] ^ (1 << rng.randrange(8))]) + whole[i + 1 :])
            with pytest.raises((ValueError, KeyError, TypeError, AttributeError, OSError)):
                TokenStore(folder)
            num_tried += 1
        path.write_bytes(whole)
    assert num_tried > 2000
    assert values_of(TokenStore(folder)) == values_of(opened(corpus))


def test_a_damaged_token_store_is_told_and_built_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = tiny_corpus(tmp_path)
    store = opened(corpus)
    values, folder = values_of(store), Path(corpus.cache_folder) / "tokens" / store.key
    for name in ("train.0.ids", "header.json", "tokenizer.json"):
        shutil.copy(folder / "test.rows", folder / name)
        with caplog.at_level(logging.WARNING, "glassbox"):
            assert values_of(opened(corpus_of(tmp_path / "rows.jsonl"))) == values
        assert f"{folder}: is damaged" in caplog.text
        caplog.clear()
