"""Generation runs in the classes of transformers that compute the same: its logits and its targets are the run's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_pairs
import torch
import transformers

from agents.exports import encoder_decoder
from agents.running.predictor import Predictor
from agents.translating.generator import Generator
from agents.translating.other_pairs import given_pair
from agents.translating.pair_data import encode_pairs
from main import main

RUN = "experiments/pairs"
CASES = {
    "MarianMTModel": ["model.norm=post", "model.activation=gelu", "generation.min_length=3"],
    "PegasusForConditionalGeneration": ["model.num_decoder_layers=1", "generation.length_penalty=[0.5, 2.0]"],
    "BlenderbotForConditionalGeneration": ["model.positions=learned", "model.max_positions=50", "tokenizer.lower=true"],
}


@pytest.fixture
def pairs(workplace: Path) -> Path:
    small_pairs.write_pairs(workplace)
    return workplace


def trained(*words: str, num_epochs: int = 4) -> None:
    options = ["name=pairs", f"train.num_epochs={num_epochs}", *words]
    assert main(["pairs.yaml", *small_pairs.parallel(), *options]) == 0


def said(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    """Standard output, or of a refusal its last line."""
    capsys.readouterr()
    assert main(list(words)) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out if code == 0 else err.splitlines()[-1]


def assert_logits_alike(model: Any, tokenizer: Any, pairs: list[tuple[str, str]]) -> None:
    """Of each real token of a padded batch; and the tokenizers cut the sources alike."""
    run = Predictor(RUN)
    agent: Any = run.agent
    examples = encode_pairs(agent.corpus, run.artifacts.tokenizer, [given_pair(agent.corpus, *pair) for pair in pairs])
    batch: Any = examples.collate(np.arange(len(pairs)))
    sources = tokenizer([source for source, _ in pairs], return_tensors="pt", padding=True, truncation=True)
    assert torch.equal(sources["input_ids"], batch.input_ids)
    with torch.no_grad():
        found = model(**sources, decoder_input_ids=batch.target_ids).logits.flatten(0, 1)[batch.target_index]
        torch.testing.assert_close(found, run.model(batch), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", CASES)
def test_transformers_computes_and_writes_what_the_run_does(
    pairs: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    trained(*CASES[name])
    assert f"load it with {name}" in said(capsys, 0, "export", RUN, "--out", "hf")
    lines = [json.loads(line) for line in Path("hf/EXAMPLES.jsonl").read_text().splitlines()]
    texts = [(line["source"], line["reference"]) for line in lines]
    assert texts[-2] == ("a", "a")
    assert len(texts[-1][0].split()) > 48
    load = transformers.AutoModelForSeq2SeqLM.from_pretrained
    model, info = load("hf", output_loading_info=True)
    assert not info["missing_keys"] | info["unexpected_keys"]
    tokenizer = transformers.AutoTokenizer.from_pretrained("hf")
    assert_logits_alike(model.eval(), tokenizer, [*texts, ("is [SEP] text", "[CLS] is text")])
    model.save_pretrained("saved")
    assert_logits_alike(load("saved").eval(), tokenizer, texts)
    sources = [source for source, _ in texts]
    given = tokenizer(sources, return_tensors="pt", padding=True, truncation=True)
    written = tokenizer.batch_decode(model.generate(**given), skip_special_tokens=True)
    assert written == [line["predicted"] for line in Generator(RUN).generate(sources)]
    greedy = model.generate(**given, num_beams=1)[:, 1:].tolist()
    assert [[id for id in ids if id not in (0, 3)] for ids in greedy] == [line["greedy_ids"] for line in lines]


def test_the_folder_is_a_run(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also with the length penalty that was the best on validation, and without the run."""
    trained("generation={length_penalty: [0.0, 3.0], beam_size: 3, max_length: 16}")
    said(capsys, 0, "export", RUN, "--out", "hf")
    ours, theirs = (json.loads(said(capsys, 0, "test", folder, "--json")) for folder in (RUN, "hf"))
    assert ours.pop("loss") == pytest.approx(theirs.pop("loss"), abs=1e-5)
    for name in ("nll", "perplexity"):
        assert ours.pop(name) == pytest.approx(theirs.pop(name), rel=1e-5)
    assert ours == theirs
    penalty = json.loads(Path("hf/generation_config.json").read_text())["length_penalty"]
    assert penalty == ours["generation"]["length_penalty"]
    wanted = said(capsys, 0, "generate", RUN, "--input", "test.de")
    Path(RUN).rename("away")
    assert said(capsys, 0, "generate", "hf", "--input", "test.de") == wanted
    assert "texts, the same answer for 100.0%" in said(capsys, 0, "verify", "hf")
    assert "cannot predict" in said(capsys, 2, "predict", "hf", "--text", "x")


def test_what_is_damaged_or_answers_otherwise_is_refused(
    pairs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained()
    said(capsys, 0, "export", RUN, "--out", "hf")
    for name in ("model.safetensors", "generation_config.json", "report.json"):
        content = Path("hf", name).read_bytes()
        Path("hf", name).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        assert f"hf/{name}: is damaged" in said(capsys, 4, "generate", "hf", "--text", "x")
        Path("hf", name).write_bytes(content)
    real = encoder_decoder.to_theirs

    def scaled(*given: Any) -> dict[str, torch.Tensor]:
        return {name: 1.01 * tensor if "fc1" in name else tensor for name, tensor in real(*given).items()}

    monkeypatch.setattr(encoder_decoder, "to_theirs", scaled)
    line = said(capsys, 4, "export", RUN, "--out", "other")
    assert "other: does not answer as the run does on" in line
    assert "a log-probability differs by" in line
    assert not [path for path in Path().iterdir() if path.name.startswith((".tmp-", "other"))]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["model.positions=rotary"], "needs model.positions sinusoidal, this run has norm pre with positions rotary"),
        (["model.positions=learned", "model.norm=post"], "needs model.norm pre, this run has norm post with positions"),
        (["model.tie_embeddings=target"], "needs model.tie_embeddings all, this run has target"),
        (["model.activation=geglu"], "needs model.activation gelu, gelu_tanh, relu, silu, this run has geglu"),
        (["model.norm_eps=1e-6"], "needs model.norm_eps 1e-05, this run has 1e-06"),
        (
            ["target_tokenizer={name: wordpiece, vocab_size: 280}", "model.tie_embeddings=none"],
            "needs one tokenizer for both sides; leave out target_tokenizer",
        ),
    ],
)
def test_what_no_class_computes(
    pairs: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    trained(*words, num_epochs=1)
    assert f"{RUN}: export as hf {expected}" in said(capsys, 2, "export", RUN, "--out", "hf")
    assert not Path("hf").exists()


def test_pairs_for_the_check_may_be_given(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(num_epochs=1)
    Path("test.de").rename("moved.de")
    assert "give some with --data FILE" in said(capsys, 3, "export", RUN, "--out", "hf")
    Path("pairs.jsonl").write_text("".join(f'{{"de": "stir {i}", "en": "stir"}}\n' for i in range(5)))
    assert "hf: 7 texts, the same answer for 100.0%" in said(
        capsys, 0, "export", RUN, "--out", "hf", "--data", "pairs.jsonl"
    )
    assert "cannot be exported as onnx" in said(capsys, 2, "export", RUN, "--format", "onnx", "--out", "onnx")
