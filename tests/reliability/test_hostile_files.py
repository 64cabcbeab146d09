"""C4 and C7: no file of a checkpoint or a run runs code, imports what it names, or takes more memory than it is large."""

import contextlib
import json
import os
import pickle
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from disk_cases import IS_FULL, assert_refused, copied, rewrite, store_with_two, torch_bytes
from disk_fixtures import finished, in_process, zygote  # noqa: F401
from disk_zygote import Ended, Zygote
from hostile_payloads import NAMED, PACKS, Call, calls, zipped

from utils.config import strict_yaml
from utils.errors import CheckpointError
from utils.runs.checkpoint import MODEL, STATE, CheckpointStore
from utils.runs.saved import seal_of

EVENTS = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess.Popen",
    "socket.connect",
    "pty.spawn",
    "webbrowser.open",
)
PREDICT = ["predict", "experiments/tiny", "--text", "boil the rice"]


def load_all(folder: str, canary: str) -> int:
    """In a process of its own: load every payload in every package, as state and as weights; -> how many were not refused."""
    events: list[str] = []
    names = {NAMED, "runpy", "pty", "webbrowser", "torch.hub", "torch.utils.cpp_extension"} - sys.modules.keys()
    sys.addaudithook(lambda event, args: _note(events, names, event, args))
    store = CheckpointStore(Path(folder))
    whole = {name: (store.folder / "step-2" / name).read_bytes() for name in (STATE, MODEL)}
    num_refused, accepted = 0, []
    packs = PACKS if IS_FULL or "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" in os.environ else {"zip": PACKS["zip"]}
    for name, pickled in calls(canary).items():
        for pack, package in packs.items():
            for file in (STATE, MODEL)[: 2 if IS_FULL or pack in ("raw", "safetensors") else 1]:
                for other in whole:
                    (store.folder / "step-2" / other).write_bytes(package(pickled) if other == file else whole[other])
                rewrite(store.folder / "step-2")
                try:
                    state = store.load(2)[1]
                    accepted.append(f"{name} as {pack} in {file}: {state}")
                except CheckpointError as error:
                    num_refused += error.exit_code == 4 and str(error).isprintable()
    print(num_refused, [text for text in accepted if "_target_ as zip" not in text], events, Path(canary).exists())
    return 0


def _note(events: list[str], names: set[str], event: str, arguments: Any) -> None:
    if event in EVENTS or (event == "import" and arguments[0] in names):
        events.append(f"{event} {arguments}")


@pytest.mark.parametrize("is_forced", [False, True])
def test_no_payload_runs_code(tmp_path: Path, zygote: Zygote, monkeypatch: pytest.MonkeyPatch, is_forced: bool) -> None:
    """40 payloads in 8 packages, as state and as weights; with the variable that makes torch forget its care as well."""
    setups = {"force_unsafe_load": []} if is_forced else {}
    (tmp_path / "place").mkdir()
    store = store_with_two(tmp_path)
    arguments = [str(store.folder), str(tmp_path / "canary")]
    ended = zygote.run(tmp_path / "place", "call:test_hostile_files.load_all", *arguments, **setups)
    assert ended.code == 0, ended.err
    num_payloads = len(calls("x"))
    assert num_payloads >= 40
    num_files = len(PACKS) * 2 if IS_FULL else len(PACKS) + 2 if is_forced else 1
    assert ended.out == f"{num_payloads * num_files - 1} [] [] False\n", (
        "one payload is a plain mapping, and nobody calls it"
    )
    assert "Traceback" not in ended.err


def test_the_payloads_are_live(tmp_path: Path, zygote: Zygote) -> None:
    """Loaded as one must not, they do make the canary, and are seen by the watch."""
    (tmp_path / "place").mkdir()
    ended = zygote.run(tmp_path / "place", "call:test_hostile_files.load_carelessly", str(tmp_path / "canary"))
    assert ended.code == 0, ended.err
    names = ended.out.split("\n")[0].split("|")
    assert len(names) >= 22, names


def load_carelessly(canary: str) -> int:
    """Count the payloads that made the canary or set off the watch."""
    events: list[str] = []
    sys.addaudithook(lambda event, args: _note(events, {NAMED}, event, args))
    sys.modules["webbrowser"] = sys  # antigravity would open one
    live = []
    for name, pickled in calls(canary).items():
        if name.startswith("torch."):  # slow, or asks the network
            continue
        events.clear()
        sys.modules.pop(NAMED, None)
        with contextlib.suppress(BaseException):
            pickle.loads(pickled)
        if events or Path(canary).exists():
            live.append(name)
        Path(canary).unlink(missing_ok=True)
    print("|".join(live))
    return 0


CONFIGS = {
    "a target": ("name: bag_of_embeddings", "name: bag_of_embeddings\n  _target_: os.system"),
    "an instantiator": ("agent: classification", "agent: classification\n_instantiator: antigravity.fly"),
    "a dotted model": ("name: bag_of_embeddings", "name: antigravity.fly"),
    "a dotted agent": ("agent: classification", "agent: antigravity"),
    "a dotted tokenizer": ("name: word", "name: antigravity.fly"),
    "a Python tag": ("name: bag_of_embeddings", "name: !!python/name:os.system"),
    "a Python object": ("seed: 1", "seed: !!python/object/apply:os.system ['touch canary']"),
    "a size of 10^9": ("embedding_size: 16", "embedding_size: 1000000000"),
    "a size of 2^62": ("embedding_size: 16", "embedding_size: 4611686018427387904"),
    "a hidden size of 10^9": ("- 8", "- 1000000000"),
    "a misspelt key": ("pooling:", "poolinh:"),
    "many fields": ("  - title\n", "".join(f"  - t{i}\n" for i in range(9999))),
}


def seal_again(path: Path) -> None:
    values = strict_yaml.parse(path.read_text(), "").value
    path.write_text(strict_yaml.dump(values) + seal_of(values))


@pytest.mark.parametrize("what", CONFIGS)
def test_a_config_of_a_run_cannot_run_code_or_eat_memory(tmp_path: Path, zygote: Zygote, what: str) -> None:
    from disk_fixtures import finished_run

    place = copied(finished_run("boe"), tmp_path / "place")
    path = place / "experiments/tiny/config.yaml"
    old, new = CONFIGS[what]
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    assert_refused(zygote.run(place, *PREDICT, memory_limit=[200 * 2**20]), 4, r"config\.yaml", seconds=2)
    if "!!" not in new:
        seal_again(path)
        assert_refused(zygote.run(place, *PREDICT, memory_limit=[200 * 2**20]), 4, "tiny", seconds=2)
    assert not (place / "canary").exists()


@pytest.mark.parametrize("name", ["tokenizer.json", "labels.json", "config.yaml", "report.json"])
def test_a_pickle_in_a_file_of_a_run_is_refused(
    tmp_path: Path, finished: tuple[str, Path], in_process: Callable[..., Ended], name: str
) -> None:
    place = copied(finished[1], tmp_path / "place")
    (place / "experiments/tiny" / name).write_bytes(pickle.dumps(Call("os", "system", f"touch {tmp_path}/canary")))
    arguments = ["tiny.yaml"] if name == "report.json" else PREDICT
    assert_refused(in_process(place, *arguments), 4, name, seconds=2)
    assert not (tmp_path / "canary").exists()


# Resource bombs: small files that would be large in memory, or long in the making.


def deflated() -> bytes:
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(torch_bytes({"a": torch.zeros(2**25)}))) as source:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
            for name in source.namelist():
                target.writestr(name, source.read(name))
    return buffer.getvalue()


def references() -> Any:
    value: Any = [1]
    for _ in range(60):
        value = [value] * 10
    return value


def keys(number: int) -> bytes:
    empty = '"k%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = ("{" + ",".join([empty % i for i in range(number)]) + "}").encode()
    return struct.pack("<Q", len(header)) + header


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "deflated entries": (STATE, deflated),
    "a stride of 0": (STATE, lambda: torch_bytes({"run": torch.zeros(1).expand(10**6, 10**6)})),
    "a million keys": (STATE, lambda: torch_bytes({f"k{i}": i for i in range(10**6)})),
    "deep nesting": (STATE, lambda: zipped(b"(" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".")),
    "a mapping in itself": (STATE, lambda: zipped(b"}q\x00Vx\nh\x00s.")),
    "10^60 references": (STATE, lambda: torch_bytes({"run": references()})),
    "a sparse tensor": (STATE, lambda: torch_bytes({"run": torch.sparse_coo_tensor([[0]], [1.0], (10**12,))})),
    "a tensor on meta": (STATE, lambda: torch_bytes({"run": torch.empty(10**12, device="meta")})),
    "a header of 100 MB": (MODEL, lambda: struct.pack("<Q", 10**8) + b"{" + b" " * (10**8 - 2) + b"}"),
    "a header beyond the file": (MODEL, lambda: struct.pack("<Q", 2**63) + b"{}"),
    "a million tensors": (MODEL, lambda: keys(10**6)),
    "nested brackets": (MODEL, lambda: struct.pack("<Q", 10**6) + b"[" * 10**6),
    "a shape of 2^62": (
        MODEL,
        lambda: _header({"a": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 4]}}) + bytes(4),
    ),
    "tensors that overlap": (
        MODEL,
        lambda: _header({n: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]} for n in "ab"}) + bytes(4),
    ),
}


def _header(values: dict[str, Any]) -> bytes:
    header = json.dumps(values).encode()
    return struct.pack("<Q", len(header)) + header


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_in_time_and_memory(tmp_path: Path, zygote: Zygote, bomb: str) -> None:
    """Within 2 s, and 200 MB above what the file itself takes."""
    from disk_fixtures import finished_run

    place = copied(finished_run("boe"), tmp_path / "place")
    name, make = BOMBS[bomb]
    data = make()
    for path in (place / "experiments/tiny/checkpoints").iterdir():
        (path / name).write_bytes(data)
        rewrite(path)
    (place / "experiments/tiny/report.json").unlink()
    arguments = PREDICT if name == MODEL else ["tiny.yaml", "train.num_epochs=3"]
    ended = zygote.run(place, *arguments, memory_limit=[200 * 2**20 + len(data)])
    assert_refused(ended, 4, r"step-\d", seconds=2)


@pytest.mark.parametrize(
    "manifest", [b"[" * 10**6, b'{"a":' * 10**5, b"9" * 10**6, b'"' + b"x" * 2**21 + b'"', b"{" + b" " * 2**22]
)
def test_a_manifest_that_is_a_bomb_is_refused(tmp_path: Path, manifest: bytes) -> None:
    store = store_with_two(tmp_path)
    (store.folder / "step-2/MANIFEST.json").write_bytes(manifest)
    with pytest.raises(CheckpointError, match=r"step-2/MANIFEST.json: (is damaged|cannot be read: larger than)"):
        store.manifest(2)


def test_a_whole_checkpoint_of_ours_is_none_of_this(tmp_path: Path) -> None:
    store = store_with_two(tmp_path)
    assert safetensors.torch.load((store.folder / "step-2" / MODEL).read_bytes()).keys() == store.load(2)[0].keys()
