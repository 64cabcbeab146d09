"""Files and variables of another shape, of another version, or nested without end: one line and the promised code."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disk_cases import IS_FULL, assert_refused, copied
from disk_fixtures import finished_run, zygote  # noqa: F401
from disk_zygote import Ended, Zygote
from torch.distributed import HashStore

from utils.config import strict_yaml
from utils.distributed.peers import Peers
from utils.distributed.worker import Worker
from utils.errors import DistributedError
from utils.files.sealed import digest_of
from utils.runs.saved import seal_of

DEEP = ["[" * 10**5, '{"a":' * 10**5, "[" * 950 + "]" * 950, '{"a":' * 950 + "1" + "}" * 950]
PREDICT, TRAIN = ("predict", "experiments/tiny", "--text", "boil the rice"), ("tiny.yaml",)
CHECKPOINT = "experiments/tiny/checkpoints/step-*/MANIFEST.json"
FILES = {
    "experiments/tiny/report.json": (TRAIN, 4, "report.json: is damaged"),
    "experiments/tiny/labels.json": (PREDICT, 4, "labels.json: (cannot be read|is not a list)"),
    "experiments/tiny/tokenizer.json": (PREDICT, 4, "tokenizer.json: is not the one that"),
    CHECKPOINT: (PREDICT, 4, "MANIFEST.json"),
    ".cache/hashes.json": (("tiny.yaml", "name=new", "train.num_steps=1"), 0, ""),
    ".cache/tokens/*/header.json": (("tiny.yaml", "name=new", "train.num_steps=1"), 0, ""),
    "tiny.jsonl": (("tiny.yaml", "name=new"), 3, "tiny.jsonl:1: not (JSON|a JSON object)"),
    "papers/acl2021.json": (("prepare", "papers", "--source", "papers", "--out", "out"), 3, "acl2021.json"),
    "bert/config.json": (("tiny.yaml", "name=new", "model={name: bert}", "init_from=bert"), 4, "config.json"),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return copied(finished_run("boe"), tmp_path / "place")


@pytest.mark.parametrize("content", DEEP if IS_FULL else DEEP[1:3])
@pytest.mark.parametrize("name", FILES)
def test_json_of_any_depth_is_refused_or_passed_over(place: Path, zygote: Zygote, name: str, content: str) -> None:
    arguments, code, words = FILES[name]
    found = list(place.glob(name)) or [place / name]
    for path in found:
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    ended = zygote.run(place, *arguments)
    assert_refused(ended, code, words) if code else assert_passed(ended)


def assert_passed(ended: Ended) -> None:
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err


def test_a_deep_text_on_the_command_line_is_a_text(place: Path, zygote: Zygote) -> None:
    *texts, fields = DEEP  # the last one is an object
    for deep in texts:
        assert json.loads(zygote.run(place, *PREDICT[:3], deep).out)["text"] == deep
    ended = zygote.run(place, *PREDICT[:3], fields)
    assert (ended.code, ended.out) == (3, "")
    assert "there is no column 'title'" in ended.err


METRICS = [
    '{"step": 1, "split": ["a"]}',
    '{"step": [1], "split": "train"}',
    '{"step": true, "split": "train"}',
    "7",
    "{}",
    *DEEP,
]


def test_metrics_of_another_shape_are_dropped_and_the_others_stay(place: Path, zygote: Zygote) -> None:
    path = place / "experiments/tiny/metrics.jsonl"
    kept = ['{"step": 1, "split": "train", "loss": 1.0, "new": ["of another version"]}']
    path.write_text("".join(line + "\n" for line in [*METRICS, *kept]))
    ended = zygote.run(place, "tiny.yaml", "train.num_epochs=3")
    assert_passed(ended)
    assert "cannot be written" not in ended.err
    lines = path.read_text().splitlines()
    assert lines[0] == kept[0]
    assert [json.loads(line)["step"] > 1 for line in lines[1:]] == [True] * (len(lines) - 1)


REPORTS: list[Callable[[dict[str, Any]], dict[str, Any]]] = [
    lambda report: {},
    lambda report: report | {"train": {}},
    lambda report: report | {"test": {"accuracy": 0.5, "per_class": [1]}},
    lambda report: report | {"test": 7},
    lambda report: report | {"peak_memory_bytes": None},
]


@pytest.mark.parametrize("change", REPORTS)
def test_a_report_of_another_shape_is_refused(place: Path, zygote: Zygote, change: Any) -> None:
    path = place / "experiments/tiny/report.json"
    report = json.loads(path.read_bytes())
    del report["digest"]
    path.write_text(json.dumps(change(report) | {"digest": digest_of(change(report))}))
    assert_refused(
        zygote.run(place, "tiny.yaml"), 4, "experiments/tiny/report.json: is not of this version .*; remove it"
    )
    path.unlink()
    assert_passed(zygote.run(place, "tiny.yaml"))


CONFIGS: list[tuple[str, Any]] = [
    ("agent", 7), ("data", None), ("data.fields", 7), ("data.name", "gone"), ("model", {"a": 1}), ("model.name", ["x"]),
    ("tokenizer", "x"), ("head", 7), ("train", None), ("distributed", {}), ("distributed.timeout", "x"), ("loss.name", None),
    ("optimizer", []), ("train.num_epochs", "x"), ("train.monitor", None), ("train.monitor", "x"), ("loss.label_smoothing", "x"), ("init_from", 7), ("data.multi_label", "x"), ("head.hidden_sizes", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), CONFIGS)
def test_a_runs_config_of_another_shape_is_refused(place: Path, zygote: Zygote, key: str, value: object) -> None:
    path = place / "experiments/tiny/config.yaml"
    values = strict_yaml.parse(path.read_text(), "config").value
    section, _, option = key.rpartition(".")
    (values[section] if section else values)[option] = value
    path.write_text(f"{strict_yaml.dump(values)}{seal_of(values)}\n")
    for arguments in (PREDICT, ("test", "experiments/tiny"), ("tiny.yaml",), ("export", "experiments/tiny")):
        ended = zygote.run(place, *arguments)
        assert ended.code in (0, 2, 4), ended  # 0: a value that this command does not use
        assert "Traceback" not in ended.err
        assert len(ended.err.splitlines()) <= 2 or ended.code == 0
    ended = zygote.run(place, "tiny.yaml", "name=new", "init_from=experiments/tiny", "train.num_steps=1")
    assert ended.code in (0, 2, 4), ended


@pytest.mark.parametrize(
    ("rank", "size", "is_known"),
    [("x", "2", False), ("0", "x", False), ("0", "0", False), ("-1", "2", False), ("", "", False), ("1", "2", True), (None, None, True)],
)  # fmt: skip
def test_what_is_not_as_torchrun_sets_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, rank: str | None, size: str | None, is_known: bool
) -> None:
    for name, value in {"LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size}.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    peers = Peers(HashStore(), 0, 2, 5.0)
    if is_known:
        assert Worker(peers).local_size == int(size or 1)
    else:
        with pytest.raises(DistributedError, match=r"^LOCAL_RANK, LOCAL_WORLD_SIZE are not as torchrun sets them"):
            Worker(peers)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (".".join("a" * 2000) + "=1", r"^command line: a\.a\..*\.\.\. is nested deeper than 20 levels$"),
        ("train." + ".".join("a" * 25) + "=1", "nested deeper than 20 levels"),
        ("num_threads=3000000000", "num_threads must be between 1 and 1024, got 3000000000"),
        ("num_threads=1025", "num_threads must be between 1 and 1024"),
        ("a=" + "[" * 2000, "nested deeper than 20 levels"),
    ],
)
def test_an_override_without_measure_is_refused(place: Path, zygote: Zygote, override: str, words: str) -> None:
    ended = zygote.run(place, "tiny.yaml", override)
    assert_refused(ended, 2, words)
    assert len(ended.error) < 300
