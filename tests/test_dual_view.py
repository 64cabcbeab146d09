"""What the high-level libraries do and what the lines here do are the same numbers: the proofs that docs/dual_view.md names."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from published import CONFIG, write_published
from torch import nn

from agents import build
from datasets.batches import collate
from datasets.tokens import Tokens

STEPS = 8
FILE = (
    CONFIG.format(folder="published")
    + f"""\
  max_grad_norm: 1.0
  num_steps: {STEPS}
  validate_every: 1 epoch
scheduler:
  name: linear
"""
)


def trained_by_hand(folder: Path, batches: list[tuple[dict[str, torch.Tensor], torch.Tensor]]) -> nn.Module:
    """What transformers' Trainer does with its defaults: AdamW, a linear schedule, the norm clipped; without dropout."""
    dropouts = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0}
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, **dropouts).train()
    plain = [p for name, p in model.named_parameters() if p.ndim < 2]
    decayed = [p for name, p in model.named_parameters() if p.ndim >= 2]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.003)
    scheduler = transformers.get_linear_schedule_with_warmup(optimizer, 0, STEPS)
    for inputs, labels in batches:
        optimizer.zero_grad()
        model(**inputs, labels=labels).loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
    return model.eval()


def test_training_is_that_of_the_trainer(workplace: Path) -> None:
    """The same published model, batches, optimizer, schedule and clipping give the same weights and logits after 8 steps."""
    (workplace / "tiny.yaml").write_text(FILE)
    labels = ["chess", "cooking", "sailing"]
    folder = write_published(workplace / "published", labels=labels)
    agent = build("tiny.yaml", {"model.dropout": 0.0, "model.attention_dropout": 0.0, "optimizer.weight_decay": 0.01})
    batches = []
    for epoch in range(2):
        for (batch,) in agent.data.loaders["train"].train_batches(epoch):
            field = batch.fields[0]
            inputs = {"input_ids": field["input_ids"], "attention_mask": field["attention_mask"].long()}
            batches.append((inputs, batch.labels))
    theirs = trained_by_hand(folder, batches[:STEPS])
    agent.load_checkpoint()
    agent.train()
    agent.model.eval()
    inputs, _ = batches[0]
    field = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"].bool()}
    with torch.no_grad():
        torch.testing.assert_close(agent.model([field]), theirs(**inputs).logits, atol=1e-5, rtol=1e-4)
    agent.experiment.close()


def test_a_batch_is_that_of_data_collator_with_padding() -> None:
    rows = [[2, 7, 8, 3], [2, 9, 3], [2, 3]]
    tokens = Tokens.from_lengths(
        np.array([id for row in rows for id in row], np.int32), np.array([4, 3, 2]), np.zeros(3, bool)
    )
    ours = collate([tokens], np.zeros(3, np.int64), np.arange(3)).fields[0]
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=_word_level(), pad_token="[PAD]")
    theirs = transformers.DataCollatorWithPadding(tokenizer)([{"input_ids": row} for row in rows])
    assert torch.equal(ours["input_ids"], theirs["input_ids"])
    assert torch.equal(ours["attention_mask"], theirs["attention_mask"].bool())


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_encoder_is_nn_transformer_encoder(norm: str) -> None:
    from graphs.models.attention import RealTokens
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
    tokens = RealTokens.of(mask)
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
