"""A bad config is refused before any data is read: in one line, with the file and the line, what was given, what is allowed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT

from agents import checked_config
from main import main
from utils.errors import ConfigError

CONFIG = """\
agent: classification
num_threads: 1
data:
  name: files
  train: tiny.jsonl
  fields: [title, text]
  split: [0.6, 0.2, 0.2]
model:
  name: bilstm
  embedding_size: 8
  hidden_size: 6
  dropout: 0.2
head:
  hidden_sizes: [8]
optimizer:
  name: Adam
  lr: 0.01
train:
  num_epochs: 2
  batch_size: 16
"""

# A change of CONFIG, and the error.
CHANGED_LINES = [
    # The agent and sections.
    ("agent: classification", "agent: bilstm",
     "tiny.yaml:1: agent: bilstm is a model; write agent: classification, model: {name: bilstm}"),
    ("agent: classification", "agent: clasification",
     "tiny.yaml:1: agent: 'clasification' is unknown; did you mean classification?; known: classification"),
    ("agent: classification", "", "tiny.yaml: agent is missing; known: classification"),
    ("agent: classification", "space: {}", "tiny.yaml: agent is missing; is it a sweep? python main.py sweep tiny.yaml"),
    ("model:", "modle:", "tiny.yaml:8: modle is not a section of agent classification; did you mean model?"),
    ("num_threads: 1", "num_thread: 1",
     "tiny.yaml:2: num_thread is not a section of agent classification; did you mean num_threads?"),
    ("model:\n  name: bilstm\n  embedding_size: 8\n  hidden_size: 6\n  dropout: 0.2", "model: bilstm",
     "tiny.yaml:8: model must be a section, such as model: {name: bilstm}; got 'bilstm'"),
    ("train:\n  num_epochs: 2\n  batch_size: 16", "train: 3",
     "tiny.yaml:18: train must be a section, such as train: {option: value}; got 3"),
    # Names.
    ("  name: bilstm\n", "", "tiny.yaml:8: model.name is missing; known: bag_of_embeddings, bilstm"),
    ("name: files", "name: bbc", "tiny.yaml:4: data.name: 'bbc' is unknown; known: bbc_news, files"),
    # Options.
    ("lr: 0.01", "momentum: 0.9",
     "tiny.yaml:17: optimizer.momentum is not an option of Adam; its options: lr, betas, eps, weight_decay, amsgrad"),
    ("hidden_size: 6", "hidden_size: 6.0", "tiny.yaml:11: model.hidden_size must be a whole number, got 6.0"),
    ("hidden_size: 6", "hidden_size: 06", "tiny.yaml:11: 06 has a leading zero; write 6 or '06'"),
    ("num_epochs: 2", "num_epochs: ten", "tiny.yaml:19: train.num_epochs must be a whole number, got 'ten'"),
    ("  train: tiny.jsonl\n", "", "tiny.yaml:3: data.train is missing (str, needed by files)"),
    # Values, which the constructors refuse.
    ("hidden_sizes: [8]", "hidden_sizes: [8, -1]",
     "tiny.yaml:14: head: hidden_sizes must each be at least 1, got [8, -1]"),
    ("hidden_sizes: [8]", "dropout: 0.1",
     "tiny.yaml:14: head: dropout needs hidden_sizes, after which it is applied; write 0, and use model.dropout for a text's vector"),
    ("lr: 0.01", "eps: -1", "tiny.yaml:17: optimizer: Invalid eps: -1.0"),
    ("lr: 0.01", "betas: [0.9, 1.5]", "tiny.yaml:17: optimizer: Invalid betas at index 1: 1.5"),
    ("lr: 0.01", "weight_decay: -0.1", "tiny.yaml:17: optimizer: Invalid weight_decay value: -0.1"),
    ("split: [0.6, 0.2, 0.2]", "split: [0.6, 0.2, 0.3]",
     "tiny.yaml:7: data: split must be three fractions (train, valid, test) that add up to 1, got [0.6, 0.2, 0.3]"),
    ("fields: [title, text]", "fields: []",
     "tiny.yaml:6: data: fields must name one or more columns, each once, got []"),
    ("num_threads: 1", "num_threads: 0", "tiny.yaml:2: num_threads must be between 1 and 1024, got 0"),
    ("num_threads: 1", "device: gpu", "tiny.yaml:2: device 'gpu' is unknown; known: auto, cpu, cuda, cuda:N, mps"),
    ("batch_size: 16", "monitor: accuracy",
     "tiny.yaml:20: train: monitor must be a metric with its direction, such as +accuracy or -loss, got 'accuracy'"),
]  # fmt: skip

OVERRIDES: list[tuple[list[str], str]] = [
    (["loss.name=crossentropy"], "loss.name: 'crossentropy' is unknown; did you mean cross_entropy?; known: cross_entropy,"),
    (["loss.name=binary_cross_entropy"],
     "loss binary_cross_entropy does not fit data.multi_label: False; use cross_entropy, focal"),
    (["loss={name: focal}", "data.multi_label=true"],
     "loss focal does not fit data.multi_label: True; use binary_cross_entropy"),
    (["loss.label_smoothing=1"], "loss: label_smoothing must be in [0, 1), got 1.0"),
    (["loss.class_weights={a: -1}"], "loss: class_weights must not be negative, got {'a': -1.0}"),
    (["scheduler.name=linear", "scheduler.warmup_steps=-1"], "scheduler: warmup_steps must not be negative, got -1"),
    (["scheduler.warmup_steps=5"], "scheduler.warmup_steps is not an option of constant; its options: none"),
    (["scheduler={name: reduce_on_plateau, decay: 2}"], "scheduler: decay must be between 0 and 1, got 2.0"),
    (["scheduler={name: reduce_on_plateau, min_factor: 2}"], "scheduler: min_factor must be between 0 and 1, got 2.0"),
    (["train.save_every=200"], "train.save_every must be text, got 200"),
    (["train.save_every=often"], "train: save_every must be such as '200 steps' or '1 epoch', got 'often'"),
    (["train.monitor=+micro_f2"], "train.monitor: there is no metric 'micro_f2'; known: loss, accuracy, macro_f1"),
    (["metrics=[accuracy, mc]"], "metrics: there is no metric 'mc'; known: accuracy, macro_f1"),
    (["metrics=[]"], "metrics must name at least one"),
    (["train.max_grad_norm=0"], "train: max_grad_norm must be positive, or null for none, got 0.0"),
    (["train.patience=0"], "train: patience must be at least 1, got 0"),
    (["data.max_length=0"], "data: max_length must be at least 1, got 0"),
    (["data.on_bad_row=ignore"], "data.on_bad_row must be one of error, skip, got 'ignore'"),
    (["data.split_seed=-1"], "data: split_seed must not be negative, got -1"),
    (["data.encoding=utf-99"], "data: encoding 'utf-99' is unknown; utf-8, latin-1 and cp1252 are common"),
    (["tokenizer.name=words"], "tokenizer.name: 'words' is unknown; did you mean word?; known: word, wordpiece, byte_bpe"),
    (["tokenizer.ngrams=9"], "tokenizer: ngrams must be between 1 and 5, got 9"),
    (["distributed.timeout=0"], "distributed: timeout must be positive and at most 1e6, got 0.0"),
    (["distributed.strategy=dp"], "distributed.strategy must be one of ddp, fsdp, got 'dp'"),
    (["deterministic=no"], "deterministic must be true or false, got 'no'"),
    (["optimizer={name: SGD, nesterov: true}"], "optimizer: Nesterov momentum requires a momentum and zero dampening"),
    (["model.items=3"], "model.items is not an option of bilstm; its options: embedding_size"),
    (["items=3"], "items is not a section of agent classification"),
    (["get={a: 1}"], "get is not a section of agent classification"),
    (["loss.class_weights={update: many}"], "loss.class_weights must be a mapping of str to float or null, got {'update': 'many'}"),
    (["loss.label_smoothing=0.1", "data.multi_label=true"], "loss.label_smoothing is not an option of binary_cross_entropy"),
    (["loss=focal", "data.multi_label=true"], "loss must be a section, such as loss: {name: focal}"),
    (["data.label_names=[a, b]"], "data: label_names must name each position once, with multi_label: true, got ['a', 'b']"),
    (["data.label_names=[a, a]", "data.multi_label=true"], "data: label_names must name each position once"),
    (["data.label_separator=''"], "data: label_separator must not be empty"),
    (["modle.name=boe"], "modle is not a section of agent classification; did you mean model?"),
    (["lr=0.1"], "lr is not a section of agent classification; did you mean optimizer.lr?"),
    (["dropout=0.1"], "dropout is not a section of agent classification; did you mean model.dropout or head.dropout?"),
    (["base=other.yaml"], "base is not a section of agent classification"),
    (["model.name"], "'model.name' is not key=value, such as optimizer.lr=3e-4"),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(CONFIG)
    return tmp_path


def refusal(overrides: Any = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        checked_config("tiny.yaml", overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("old", "new", "message"), CHANGED_LINES)
def test_a_bad_line_is_named(folder: Path, old: str, new: str, message: str) -> None:
    assert old in CONFIG
    Path("tiny.yaml").write_text(CONFIG.replace(old, new, 1))
    assert refusal().startswith(message)


@pytest.mark.parametrize(("overrides", "message"), OVERRIDES)
def test_a_bad_override_is_named(folder: Path, overrides: list[str], message: str) -> None:
    assert refusal(overrides).startswith(f"command line: {message}")


@pytest.mark.skipif(torch.cuda.device_count() > 7, reason="cuda:7 is there")
def test_a_device_that_is_not_there_is_refused(folder: Path) -> None:
    num = torch.cuda.device_count()
    assert refusal(["device=cuda:7"]) == (
        f"command line: device 'cuda:7' is not available: this machine has {num} CUDA devices; try auto"
    )


def test_the_place_is_the_file_that_wrote_the_line(folder: Path) -> None:
    Path("child.yaml").write_text("base: tiny.yaml\nmodel:\n  hidden_size: 8\n")
    Path("tiny.yaml").write_text(CONFIG.replace("dropout: 0.2", "dropout: 2"))
    with pytest.raises(ConfigError, match=r"^tiny.yaml:12: model: dropout must be in \[0, 1\), got 2.0$"):
        checked_config("child.yaml")


def test_a_section_of_another_part_is_not_blamed_on_the_bases_lines(folder: Path) -> None:
    Path("child.yaml").write_text("base: tiny.yaml\n\n\ndata:\n  name: files\n  train: null\n")
    with pytest.raises(ConfigError, match=r"^child.yaml:4: data.train is missing"):
        checked_config("child.yaml")


def test_checking_reads_and_writes_nothing(folder: Path) -> None:
    checked_config("tiny.yaml", {"data.valid": "nowhere.jsonl", "init_from": "nowhere"})
    assert [path.name for path in folder.iterdir()] == ["tiny.yaml"]


def test_a_checked_config_is_complete_and_checks_again_to_the_same(folder: Path) -> None:
    config = checked_config("tiny.yaml", ["loss.class_weights={cooking: 2}", "data.max_length=40"])
    Path("again.yaml").write_text(config.to_yaml())
    assert checked_config("again.yaml").to_dict() == config.to_dict()
    assert config.loss == {
        "name": "cross_entropy",
        "class_weights": {"cooking": 2.0},
        "label_smoothing": 0.0,
        "r_drop": 0.0,
    }
    assert (config.seed, config.train.patience, config.scheduler.name) == (1, None, "constant")


@pytest.mark.parametrize("words", [[], ["loss.r_drop=1"], ["loss.class_weights={keys: 2}"]])
def test_the_loss_of_several_labels_a_text_follows_where_none_is_named(folder: Path, words: list[str]) -> None:
    assert checked_config("tiny.yaml", ["data.multi_label=true", *words]).loss.name == "binary_cross_entropy"
    assert checked_config("tiny.yaml", ["data.multi_label=false", *words]).loss.name == "cross_entropy"


def test_a_removed_key_a_null_and_a_missing_key_are_the_same(folder: Path) -> None:
    plain = checked_config("tiny.yaml").to_dict() | {"name": "x"}
    for override in ("train.patience=null", "loss.class_weights=null", "model.pooling=null", "loss=null"):
        assert checked_config("tiny.yaml", [override, "name=x"]).to_dict() == plain


def test_a_section_that_is_taken_out_may_be_given_again_in_part(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one that has no name, because it has one part."""
    place = str(ROOT / "configs/multi30k_de_en.yaml")
    words = [
        "train=null",
        "average=null",
        "average.decay=0.99",
        "scoring=null",
        "generation=null",
        "generation.beam_size=3",
    ]
    assert main([place, "--dry-run", *words]) == 0
    out, err = capsys.readouterr()
    assert "decay: 0.99" in out
    assert f"train.num_epochs is 10, the default of train, and 22 in {place}" in err


@pytest.mark.parametrize("words", [[], ["--debug"]])
def test_a_start_without_a_config_says_what_to_write(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err == (
        "command line: no config is given; try python main.py configs/bilstm.yaml, or --help\n"
    )
