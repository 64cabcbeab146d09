"""Every kind of bad config (cases D88 to D117): refused before any data is read, or accepted and what it means.

There is no mask probability to refuse (113).
"""

import time
from pathlib import Path
from typing import Any

import pytest
from test_config_errors import CONFIG

from agents import checked_config
from main import main
from utils.optimizers.schedules import SCHEDULERS

Change = tuple[str, str]
MODEL = "model:\n  name: bilstm\n  embedding_size: 8\n  hidden_size: 6\n"  # what other models stand instead of

# name: (a line of the config and what stands there instead, or the whole text; the error)
REFUSED: dict[str, tuple[Change | str, str]] = {
    "D88 a slip in a key": (("hidden_size: 6", "hiden_size: 6"), "x.yaml:11: model.hiden_size is not an option of bilstm; did you mean hidden_size?"),
    "a slip in a key of null": (("hidden_size: 6", "hiden_size: null"), "x.yaml:11: model.hiden_size is not an option of any part of model; did you mean hidden_size?"),
    "an unknown section of null": (("train:\n", "modle: null\ntrain:\n"), "x.yaml:18: modle is not a section of agent classification; did you mean model?"),
    "an entry without a space": (("train:\n", "loss: {class_weights: {cooking:5, chess: 1}}\ntrain:\n"), "x.yaml:18: loss.class_weights.cooking:5 has no value, and no base gives it one to remove; write \"cooking: 5\", with a space"),
    "a monitor of the wrong sign": (("batch_size: 16", "monitor: +loss"), "x.yaml:20: train.monitor: less loss is better; write -loss"),
    "another monitor of the wrong sign": (("batch_size: 16", "monitor: -macro_f1"), "x.yaml:20: train.monitor: more macro_f1 is better; write +macro_f1"),
    "R-Drop without dropout": (("dropout: 0.2\n", "\nloss: {r_drop: 1.0}\n"), "x.yaml:13: loss.r_drop needs two passes under different dropout masks, and all dropout is 0; set model.dropout"),
    "R-Drop without dropout of heads": ("agent: classification\ndata: {name: bbc_news, max_length: 64}\nmodel: {name: transformer, dropout: 0, attention_dropout: 0, dropout_per_head: true}\nloss: {r_drop: 1.0}\n", "x.yaml:4: loss.r_drop needs two passes under different dropout masks, and all dropout is 0; set model.dropout"),
    "an entry without a value": (("train:\n", "loss: {class_weights: {cooking: null, chess: 1}}\ntrain:\n"), "x.yaml:18: loss.class_weights.cooking has no value, and no base gives it one to remove"),
    "D89 an unknown section": (("optimizer:", "optimiser:"), "x.yaml:15: optimiser is not a section of agent classification; did you mean optimizer?"),
    "D90 a key twice": (("name: bilstm", "dropout: 0.2"), "x.yaml:12: model.dropout is given twice (first on line 9)"),
    "D92 lr a word": (("lr: 0.01", "lr: fast"), "x.yaml:17: optimizer.lr must be a number, got 'fast'"),
    "D93 lr 0": (("lr: 0.01", "lr: 0"), "x.yaml:17: optimizer: lr must be positive, got 0.0"),
    "D93 lr negative": (("lr: 0.01", "lr: -1e-3"), "x.yaml:17: optimizer: lr must be positive, got -0.001"),
    "D93 lr not a number": (("lr: 0.01", "lr: .nan"), "x.yaml:17: optimizer.lr must be a number, got nan, which is not finite"),
    "D93 lr infinite": (("lr: 0.01", "lr: .inf"), "x.yaml:17: optimizer.lr must be a number, got inf, which is not finite"),
    "D95 a leading zero": (("hidden_size: 6", "hidden_size: 010"), "x.yaml:11: 010 has a leading zero; write 10 or '010'"),
    "D95 a time": (("hidden_size: 6", "hidden_size: 12:30:00"), "x.yaml:11: model.hidden_size must be a whole number, got '12:30:00'"),
    "D95 a date": (("hidden_size: 6", "hidden_size: 2026-01-01"), "x.yaml:11: model.hidden_size must be a whole number, got '2026-01-01'"),
    "D96 a bool for an int": (("hidden_size: 6", "hidden_size: true"), "x.yaml:11: model.hidden_size must be a whole number, got True"),
    "D97 2.5 for an int": (("hidden_size: 6", "hidden_size: 2.5"), "x.yaml:11: model.hidden_size must be a whole number, got 2.5"),
    "D97 2.0 for an int": (("hidden_size: 6", "hidden_size: 2.0"), "x.yaml:11: model.hidden_size must be a whole number, got 2.0"),
    "D98 size 0": (("hidden_size: 6", "hidden_size: 0"), "x.yaml:11: model: hidden_size must be at least 1, got 0"),
    "D98 batch size negative": (("batch_size: 16", "batch_size: -16"), "x.yaml:20: train: batch_size must be at least 1, got -16"),
    "D98 a million layers": (("hidden_size: 6", "num_layers: 1000000"), "x.yaml:11: model: num_layers must be between 1 and 100, got 1000000"),
    "D99 heads that do not divide": ((MODEL, "model:\n  name: transformer\n  hidden_size: 6\n  num_heads: 4\n"), "x.yaml:11: model: num_heads must divide hidden_size 6, got 4"),
    "D99 the usual heads do not divide": ((MODEL, "model:\n  name: bert\n  pooling: mean\n  hidden_size: 100\n"), "x.yaml:8: model: num_heads must divide hidden_size 100, got 12"),
    "D99 heads of an odd size": ((MODEL, "model:\n  name: transformer\n  hidden_size: 6\n  num_heads: 2\n  positions: rotary\n"), "x.yaml:12: model: positions: rotary: hidden_size / num_heads must be even, got 3"),
    "D100 hidden size 10^9": (("hidden_size: 6", "hidden_size: 1000000000"), "x.yaml:8: model: is too large for any memory (Storage size calculation overflowed"),
    "D100 hidden size 10^6": (("hidden_size: 6", "hidden_size: 1000000"), "x.yaml:8: model: 16,000,160,016,000 parameters and their gradients need 119,210 GB, this machine has "),
    "D100 a head of 10^6": (("hidden_sizes: [8]", "hidden_sizes: [1000000, 1000000]"), "x.yaml:13: head: 1,000,028,000,002 parameters and their gradients need 7,451 GB, this machine has "),
    "D101 dropout 1.5": (("dropout: 0.2", "dropout: 1.5"), "x.yaml:12: model: dropout must be in [0, 1), got 1.5"),
    "D102 an unknown optimizer": (("name: Adam", "name: adam"), "x.yaml:16: optimizer.name: 'adam' is unknown; did you mean Adam?; known: Adadelta,"),
    "D102 an unknown scheduler": (("train:\n", "scheduler: {name: cosin}\ntrain:\n"), "x.yaml:18: scheduler.name: 'cosin' is unknown; did you mean cosine?; known: constant, linear, cosine, inverse_sqrt, noam, one_cycle, reduce_on_plateau"),
    "D102 an unknown model": (("name: bilstm", "name: bilstn"), "x.yaml:9: model.name: 'bilstn' is unknown; did you mean bilstm?; known: bag_of_embeddings, bilstm"),
    "D104 texts longer than the positions": ((MODEL, "  max_length: 65\nmodel:\n  name: bert\n  pooling: mean\n  max_positions: 64\n"), "x.yaml:8: data.max_length is 65, and bert has positions for 64 tokens; write data.max_length: 64 or less, or a larger model.max_positions"),
    "D104 texts of any length": ((MODEL, "model:\n  name: transformer\n"), "x.yaml:3: data.max_length is null, and transformer has positions for 512 tokens; write data.max_length: 512 or less"),
    "D105 fewer pieces than special tokens": (("train:\n", "tokenizer: {name: wordpiece, vocab_size: 4}\ntrain:\n"), "x.yaml:18: tokenizer: vocab_size must be at least 261 (special tokens and single bytes), got 4"),
    "D107 an empty file": ("", "x.yaml: a config is a mapping of sections"),
    "D108 a list": ("- agent\n- data\n", "x.yaml: a config is a mapping of sections"),
    "D109 two documents": (CONFIG + "---\n" + CONFIG, "x.yaml:21: expected a single document in the stream, but found another document"),
    "D110 a tab": (("  name: files", "\tname: files"), "x.yaml:4: while scanning for the next token, found character '\\t' that cannot start any token; indent with spaces"),
    "D112 workers negative": (("  train: tiny", "  num_workers: -1\n  train: tiny"), "x.yaml:5: data: num_workers must be at least 1, got -1"),
    "D114 seed negative": (("num_threads: 1", "seed: -1"), "x.yaml:2: seed must be between 0 and 2**63 - 1, got -1"),
    "D114 seed 2^70": (("num_threads: 1", f"seed: {2**70}"), f"x.yaml:2: seed must be a whole number, got {2**70}, which is beyond 64 bits"),
    "D115 validate every 0 steps": (("batch_size: 16", "validate_every: 0 steps"), "x.yaml:20: train: validate_every must be such as '200 steps' or '1 epoch', got '0 steps'"),
    "D116 a metric that there is not": (("batch_size: 16", "monitor: +acuracy"), "x.yaml:20: train.monitor: there is no metric 'acuracy'; known: loss, accuracy, macro_f1"),
    "the label among the texts": (("fields: [title, text]", "fields: [title, label]"), "x.yaml:6: data: fields must not include 'label', the label column"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_config_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    change, message = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    assert isinstance(change, str) or change[0] in CONFIG
    Path("x.yaml").write_text(change if isinstance(change, str) else CONFIG.replace(*change, 1))
    started = time.process_time()
    assert main(["x.yaml"]) == 2  # there is no data to read: all this is known before
    assert time.process_time() - started <= 5
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith(message)


ACCEPTED: dict[str, tuple[Change, str, Any]] = {
    "D91 1e-4 is a number": (("lr: 0.01", "lr: 1e-4"), "optimizer.lr", 1e-4),
    "D94 no and yes are words": (("fields: [title, text]", "fields: [no, yes]"), "data.fields", ["no", "yes"]),
    "D117 nothing is filled in": (("train: tiny.jsonl", "train: ${HOME}.jsonl"), "data.train", "${HOME}.jsonl"),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_value_is_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    (old, new), key, value = ACCEPTED[case]
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(CONFIG.replace(old, new, 1))
    section, _, name = key.partition(".")
    assert checked_config("x.yaml")[section][name] == value


def test_d103_a_warm_up_longer_than_the_run_is_refused() -> None:
    """As soon as the number of steps is known, which depends on the data."""
    with pytest.raises(ValueError, match="warmup_steps must be at most the 10 steps of the run, got 11"):
        SCHEDULERS["linear"](10, warmup_steps=11)
