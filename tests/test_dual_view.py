"""What the high-level libraries do and what the lines here do are the same numbers: the proofs that docs/dual_view.md names."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from conftest import ROOT, tiny_rows
from published import CONFIG, write_published
from torch import nn

from agents import build, load
from agents.classification import ClassificationAgent
from datasets.batches.text_batch import collate
from datasets.tokenizers.tokens import Tokens
from graphs.conversion.hugging_face import to_hugging_face
from main import main

STEPS = 8
LABELS = ["sailing", "chess", "cooking"]  # not in the order that a set of labels would have
FILE = (
    CONFIG.format(folder="published")
    + f"""\
  max_grad_norm: 0.5
  num_steps: {STEPS}
  validate_every: 1 epoch
  log_every: 1
scheduler:
  name: linear
"""
)
USELESS = (
    "key.bias"  # adds the same to every score of a query: its gradient is the rounding's, which Adam blows up to a step
)
UNDROPPED = {"model.dropout": 0.0, "model.attention_dropout": 0.0}


@pytest.fixture
def published(workplace: Path) -> Path:
    """A published classifier of the tiny corpus' labels, and tiny.yaml that begins with it."""
    (workplace / "tiny.yaml").write_text(FILE)
    return write_published(workplace / "published", labels=LABELS, initializer_range=0.3)


def first_batches(agent: ClassificationAgent) -> list[dict[str, torch.Tensor]]:
    """The batches of the first steps as the inputs of transformers' models, with the numbers that the labels have there."""
    loader = agent.data.loaders["train"]
    batches = [batch for epoch in range(2) for (batch,) in loader.train_batches(epoch)][:STEPS]
    numbers = torch.tensor([LABELS.index(label) for label in agent.labels])
    return [
        {
            "input_ids": batch.fields[0]["input_ids"],
            "attention_mask": batch.fields[0]["attention_mask"].long(),
            "labels": numbers[batch.columns["label"]],
        }
        for batch in batches
    ]


def trained_here(warmup_steps: int) -> tuple[list[float], dict[str, torch.Tensor]]:
    """-> the loss of each step of a run of ours, and its last weights by the names of transformers."""
    options = UNDROPPED | {"optimizer.weight_decay": 0.01, "scheduler.warmup_steps": warmup_steps}
    agent = build("tiny.yaml", options | {"name": f"warmed-{warmup_steps}"})
    agent.load_checkpoint()
    agent.train()
    lines = [json.loads(line) for line in (agent.experiment.folder / "metrics.jsonl").read_text().splitlines()]
    weights = exported(agent)
    agent.log.close()
    agent.experiment.close()
    return [line["loss"] for line in lines if line["split"] == "train"], weights


def exported(agent: ClassificationAgent) -> dict[str, torch.Tensor]:
    weights = {
        name.replace("head.layers.0.", "head.").removeprefix("encoders.0."): tensor
        for name, tensor in agent.model.state_dict().items()
    }
    order = torch.tensor([agent.labels.index(label) for label in LABELS])
    weights |= {name: weights[name][order] for name in ("head.weight", "head.bias")}
    return to_hugging_face(weights, {"model_type": "bert"})


def test_training_is_that_of_the_trainer(published: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same published model, batches, optimizer, schedule and clipping: the same loss at each of 8 steps, the same weights."""
    if importlib.util.find_spec("accelerate") is None:
        pytest.skip("accelerate, without which the Trainer does not start: pip install -r requirements-dev.txt")
    agent = build("tiny.yaml", UNDROPPED | {"name": "batches"})
    torch.save(first_batches(agent), "batches.pt")
    agent.experiment.close()
    files = [published, Path("batches.pt").resolve(), Path("trained.pt").resolve()]
    elsewhere = tmp_path_factory.mktemp("elsewhere")  # not where a folder `datasets` lies
    script = [sys.executable, "-P", str(ROOT / "tests" / "hf_trainer.py")]
    subprocess.run([*script, *map(str, files)], cwd=elsewhere, check=True, capture_output=True, timeout=200)
    for warmup_steps, theirs in torch.load("trained.pt").items():
        losses, weights = trained_here(warmup_steps)
        assert losses == pytest.approx(theirs["losses"], abs=1e-6)  # 1.2e-7 was found, and 7e-6 below
        assert losses[-1] < losses[0] - 0.5, "nothing learnt, nothing shown"
        expected = {name: tensor for name, tensor in theirs["weights"].items() if not name.endswith(USELESS)}
        torch.testing.assert_close({name: weights[name] for name in expected}, expected, atol=2e-5, rtol=0)


def test_published_logits_are_those_of_transformers(published: Path) -> None:
    """AutoModelForSequenceClassification, before any training: the columns follow the labels' names."""
    agent = build("tiny.yaml")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(published).eval()
    order = [LABELS.index(label) for label in agent.labels]
    agent.model.eval()
    for inputs in first_batches(agent):
        field = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"].bool()}
        with torch.no_grad():
            logits = theirs(**inputs).logits
            torch.testing.assert_close(agent.model([field]), logits[:, order], atol=1e-5, rtol=1e-5)
    agent.experiment.close()


def test_predictions_are_those_of_the_pipeline(published: Path) -> None:
    """Texts in, labels with their probabilities out: of a run as it is, and of what it exports to transformers."""
    build("tiny.yaml", {"data.fields": ["text"], "train.num_steps": 60, "name": "tiny"}).run()
    assert main(["export", "experiments/tiny", "--out", "exported"]) == 0
    pipeline = transformers.pipeline("text-classification", "exported", top_k=None, device="cpu")
    texts = [row["text"] for row in tiny_rows(30)] + ["hoist the sail " * 20, "Schach & Käse?"]  # cut, and unknown
    found = load("experiments/tiny").predict(texts)
    assert {line["predicted"] for line in found} == set(LABELS)
    for ours, theirs in zip(found, pipeline(texts, truncation=True), strict=True):
        assert ours["predicted"] == theirs[0]["label"]
        assert ours["probabilities"] == pytest.approx({x["label"]: x["score"] for x in theirs}, abs=1e-5)


def test_a_batch_is_that_of_data_collator_with_padding() -> None:
    rows = [[2, 7, 8, 3], [2, 9, 3], [2, 3]]
    tokens = Tokens.from_lengths(
        np.array([id for row in rows for id in row], np.int32), np.array([4, 3, 2]), np.zeros(3, bool)
    )
    ours = collate([tokens], {"label": np.zeros(3, np.int64)}, np.arange(3)).fields[0]
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=_word_level(), pad_token="[PAD]")
    theirs = transformers.DataCollatorWithPadding(tokenizer)([{"input_ids": row} for row in rows])
    assert torch.equal(ours["input_ids"], theirs["input_ids"])
    assert torch.equal(ours["attention_mask"], theirs["attention_mask"].bool())


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_encoder_is_nn_transformer_encoder(norm: str) -> None:
    from graphs.layers.token_layout import PackedTokens
    from graphs.models.transformer import TransformerEncoder

    torch.manual_seed(0)
    ours = TransformerEncoder(
        50, hidden_size=16, num_heads=4, num_layers=3, intermediate_size=24, norm=norm, activation="relu", norm_eps=1e-5
    ).eval()
    layer = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True, norm_first=norm == "pre")
    theirs = nn.TransformerEncoder(
        layer, 3, norm=nn.LayerNorm(16) if norm == "pre" else None, enable_nested_tensor=False
    )
    theirs.load_state_dict(_torch_names(ours.state_dict(), is_pre=norm == "pre"))
    ids = torch.randint(1, 50, (3, 9))
    mask = torch.arange(9) < torch.tensor([9, 4, 1])[:, None]
    tokens = PackedTokens.of(mask)
    embedded = tokens.pad(ours.embeddings(tokens.strip(ids), tokens.positions, None))
    expected = theirs.eval()(embedded, src_key_padding_mask=~mask)
    torch.testing.assert_close(ours.encode(ids, tokens), tokens.strip(expected), atol=1e-5, rtol=1e-5)


def _torch_names(weights: dict[str, torch.Tensor], *, is_pre: bool) -> dict[str, torch.Tensor]:
    names = {
        "attention.qkv.": "self_attn.in_proj_",
        "attention.output.": "self_attn.out_proj.",
        "attention_norm.": "norm1.",
        "feed_forward.up.": "linear1.",
        "feed_forward.down.": "linear2.",
        "feed_forward_norm.": "norm2.",
        "final_norm.": "norm.",
    }
    found = {}
    for name, tensor in weights.items():
        old = next((old for old in names if old in name), None)
        if old is not None and not (old == "final_norm." and not is_pre):
            found[name.replace(old, names[old])] = tensor
    return found


def _word_level() -> object:
    import tokenizers

    vocab = {"[PAD]": 0, "[UNK]": 1, **{f"w{i}": i for i in range(2, 10)}}
    return tokenizers.Tokenizer(tokenizers.models.WordLevel(vocab, unk_token="[UNK]"))
