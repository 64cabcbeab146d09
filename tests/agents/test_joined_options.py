"""What one stage of a run accepts, the later ones do: options of text to text and of pre-training, each through its run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import small_documents
import small_pairs

import agents.translating.other_pairs as module
from agents import build
from agents.language_models.scoring import Scorer
from agents.translating.generator import Generator
from main import main
from utils.errors import ConfigError


@pytest.fixture
def place(workplace: Path) -> Path:
    """The folder with small pairs and small documents."""
    small_pairs.write_pairs(workplace)
    small_documents.write_corpus(workplace)
    return workplace


def report_of(config: str, *words: str) -> dict[str, Any]:
    assert main([config, "name=run", *words]) == 0
    report: dict[str, Any] = json.loads(Path("experiments/run/report.json").read_text())
    return report


def measured(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["test", "experiments/run", "--json", *words]) == 0
    values: dict[str, Any] = json.loads(capsys.readouterr().out)
    return values


# Text to text.


def test_a_text_as_long_as_the_learned_positions_is_shown(place: Path) -> None:
    """A model that has learned nothing writes no end, and the token that begins a text needs a position, too."""
    words = ["model.positions=learned", "model.max_positions=48", "generation.max_length=100", "optimizer.lr=1e-9"]
    assert report_of("pairs.yaml", *words, "train.num_epochs=1")["test"]["nll"] > 4


def test_the_length_penalty_is_chosen_by_bleu_whatever_is_reported(place: Path) -> None:
    words = ["metrics=[chrf, nll]", "train.monitor=+chrf", "generation.length_penalty=[0.6, 1.0]", "train.num_epochs=1"]
    report = report_of("pairs.yaml", *words)["test"]
    assert "bleu" not in report
    assert report["generation"]["length_penalty"] in (0.6, 1.0)


def test_a_finished_run_is_tested_again_with_other_generation_options(place: Path) -> None:
    """Without a word its old BLEU would be read as that of the new options."""
    words = ["train.num_epochs=1", "generation={beam_size: 1, max_length: 16}"]
    first = report_of("pairs.yaml", *words)
    weights = Path(f"experiments/run/checkpoints/step-{first['best']['step']}/model.safetensors").read_bytes()
    second = report_of("pairs.yaml", words[0], "generation={beam_size: 3, length_penalty: 2.0, max_length: 16}")
    assert second["test"]["generation"]["beam_size"] == 3
    assert second["train"]["steps"] == first["train"]["steps"]
    assert Path(f"experiments/run/checkpoints/step-{second['best']['step']}/model.safetensors").read_bytes() == weights
    whole = report_of(
        "pairs.yaml", words[0], "generation={beam_size: 3, length_penalty: 2.0, max_length: 16}", "--fresh"
    )
    assert whole["test"] == second["test"]


def test_a_report_names_the_options_that_its_texts_depend_on(place: Path) -> None:
    """Drawn texts come from no beam, and no length penalty can be chosen by one draw."""
    drawn = "generation={sample: true, temperature: 0.5, length_penalty: [0.5, 2.0], max_length: 16}"
    found = report_of("pairs.yaml", "train.num_steps=3", drawn)["test"]["generation"]
    assert found == {"sample": True, "temperature": 0.5, "top_k": None, "top_p": 1.0} | {
        "max_length": 16,
        "min_length": 0,
        "no_repeat_ngram": 0,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{beam_size: 3, temperature: 0.2}", "temperature is of drawing tokens at random; give sample: true"),
        ("{top_k: 1}", "top_k is of drawing tokens at random; give sample: true"),
        ("{sample: true, with_greedy: true}", "with_greedy is of searching; give sample: false"),
        ("{sample: true, early_stop: true}", "early_stop is of searching; give sample: false"),
    ],
)
def test_options_of_the_other_way_to_generate_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str], options: str, message: str
) -> None:
    assert main(["pairs.yaml", "name=run", f"generation={options}"]) == 2
    assert message in capsys.readouterr().err


def test_a_run_that_draws_searches_when_it_is_told_to(place: Path) -> None:
    report_of("pairs.yaml", "train.num_steps=3", "generation={sample: true, temperature: 0.5, max_length: 16}")
    searched = [Generator("experiments/run", sample=False, beam_size=1).generate(["one two"]) for _ in range(2)]
    assert searched[0] == searched[1]
    assert Generator("experiments/run").translator.options.temperature == 0.5
    with pytest.raises(ConfigError, match="top_k is of drawing"):
        Generator("experiments/run", sample=False, top_k=3)


def test_several_length_penalties_need_a_validation_split(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["pairs.yaml", "data.split=[1,0,0]", "train.patience=null", "generation.length_penalty=[0.6, 1.0]"]
    assert main(words) == 2
    assert "generation.length_penalty: of several the best on validation is taken" in capsys.readouterr().err


def test_an_average_that_begins_after_the_run_is_said(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    report_of("pairs.yaml", "train.num_epochs=1", "average={last: 3, every: 500}")
    assert "average.every 500 is longer than the run of 5 steps, which averages nothing" in caplog.text


def test_walk_shows_a_run_that_writes_long_texts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in ([], ["--label", "salt the soup"]):
        assert (
            main(["walk", "pairs.yaml", "generation.max_length=60", "generation.min_length=25", "--text", "x", *label])
            == 0
        )
        assert "softmax" in capsys.readouterr().out


def test_what_is_drawn_is_drawn_again_beyond_a_chunk(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 8)
    report = report_of("pairs.yaml", "generation.sample=true", "train.num_epochs=2")
    assert measured(capsys)["chrf"] == pytest.approx(report["test"]["chrf"], abs=1e-9)


def test_layers_of_a_decoder_have_no_layer_decay(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pairs.yaml", "optimizer.layer_decay=0.5"]) == 2
    assert "layer_decay is not defined for the layers of a decoder" in capsys.readouterr().err


# Pre-training.


@pytest.mark.parametrize("words", [["train.patience=5"], ["scheduler.name=reduce_on_plateau"]])
def test_what_waits_for_validations_does_not_hinder_a_test_of_other_files(
    place: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    report_of("documents.yaml", *words)
    assert measured(capsys, "--data", "tiny.txt")["mlm"] > 0


def test_other_files_are_masked_as_the_own_test_split_is(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the seed of the training."""
    shutil.copy("tiny.txt", "test.txt")
    report = report_of("documents.yaml", "seed=3", "data.test=test.txt", "data.split=[0.8, 0.2, 0]")
    other = measured(capsys, "--data", "test.txt")
    assert other["masked_tokens"] == report["test"]["masked_tokens"]
    assert other["mlm"] == pytest.approx(report["test"]["mlm"], rel=1e-5)


def test_tokens_of_bytes_are_shown_as_text(place: Path) -> None:
    lines = [f"Über {word} läuft schön .\n\nEin größerer {word} .\n" for word in ("Strand", "Hund")] * 60
    Path("tiny.txt").write_text("\n".join(lines))
    agent: Any = build("documents.yaml", {"name": "x", "tokenizer": {"name": "byte_bpe", "vocab_size": 320}})
    scorer: Scorer = agent.scorer()
    shown = {scorer.text_of(id) for id in range(agent.artifacts.tokenizer.vocab_size)}
    assert {"Über", "läuft", "Strand", "[MASK]"} <= shown
    assert not {"\u0120Strand", "\u00c3\u013er", "\u00c3\u00a4u"} & shown
