"""Pre-training end to end: its losses against slow versions, its exports against transformers, fine-tuning, and bad input."""

import html
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from conftest import tiny_rows
from small_documents import write_corpus
from torch import nn

from agents import build
from agents.language_models.opening import open_scorer
from agents.language_models.watching import Plateau, unigram_entropy
from datasets.batches.examples import EVALUATION
from datasets.tokenizers.vocabulary import Vocabulary
from datasets.tokenizers.word import WordTokenizer
from main import main


@pytest.fixture
def corpus(workplace: Path) -> Path:
    write_corpus(workplace)
    return workplace


def pretrained(*words: str, name: str = "pretrained") -> dict[str, Any]:
    assert main(["documents.yaml", f"name={name}", *words]) == 0
    report: dict[str, Any] = json.loads(Path(f"experiments/{name}/report.json").read_text())
    return report


PAIRS = "objective.pairs=next_sentence"


# Losses and metrics.


@pytest.mark.parametrize("packed", [True, False])
def test_the_losses_are_those_of_all_logits_at_the_masked_places(corpus: Path, packed: bool) -> None:
    agent: Any = build("documents.yaml", {"name": "x", "objective.pairs": "next_sentence", "model.packed": packed})
    model = agent.model.eval()
    batch = next(iter(agent.data.loaders["train"].train_batches(0)))[0]
    terms, _ = agent.compute_loss(batch)
    hidden, encoder = [], model.encoders[0]
    for ids, mask, types in zip(batch.input_ids, batch.attention_mask, batch.token_type_ids, strict=True):
        length = int(mask.sum())
        from graphs.layers.token_layout import PaddedTokens

        found = encoder.encode(ids[None, :length], PaddedTokens(mask[None, :length]), types[None, :length])
        hidden.append(nn.functional.pad(found[0], (0, 0, 0, len(ids) - length)))
    states = torch.stack(hidden)  # (B, T, H), each sequence alone
    logits = model.tokens(states, encoder.embeddings.token.weight)  # of every token
    labels = torch.full(batch.input_ids.shape, -100)
    labels.flatten()[batch.places] = batch.ids
    expected = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
    torch.testing.assert_close(terms["mlm"], expected, atol=1e-3, rtol=1e-5)
    pooled = torch.tanh(encoder.pooler(states[:, 0]))
    pairs = nn.functional.cross_entropy(model.pairs(pooled), batch.pair_labels, reduction="sum")
    torch.testing.assert_close(terms["pairs"], pairs, atol=1e-4, rtol=1e-5)
    assert agent.count(batch) == {"mlm": len(batch.places), "pairs": len(batch.rows)}
    assert 0 < int(batch.pair_labels.sum()) < len(batch.rows), "both labels are there, and both are counted"


def test_the_table_is_shared_and_trained_from_both_sides(corpus: Path) -> None:
    agent: Any = build("documents.yaml", {"name": "x"})
    names = dict(agent.model.named_parameters())
    assert {name for name in names if not name.startswith("encoders.")} == {
        "tokens.bias",
        *(f"tokens.{layer}.{kind}" for layer in ("dense", "norm") for kind in ("weight", "bias")),
    }
    batch = next(iter(agent.data.loaders["train"].train_batches(0)))[0]
    agent.compute_loss(batch)[0]["mlm"].backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in agent.model.parameters())
    table = names["encoders.0.embeddings.token.weight"]
    unseen = sorted(set(range(len(table))) - set(batch.input_ids.flatten().tolist()))
    assert table.grad[unseen].abs().sum(dim=1).min() > 0, "also of tokens that are only predicted"


def test_biases_and_norms_do_not_decay(corpus: Path) -> None:
    agent: Any = build("documents.yaml", {"name": "x", "optimizer.weight_decay": 0.1})
    decayed = {id(p) for group in agent.optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    names = [name for name, p in agent.model.named_parameters() if id(p) in decayed]
    assert names
    assert not [name for name in names if "norm" in name or name.endswith("bias")]


def test_the_report_is_what_a_count_over_its_batches_gives(corpus: Path) -> None:
    report = pretrained(PAIRS)
    agent: Any = build("documents.yaml", {"name": "again", "objective.pairs": "next_sentence"})
    agent.load_checkpoint()
    weights = max(Path("experiments/pretrained/checkpoints").glob("step-*"), key=lambda p: int(p.name[5:]))
    from safetensors.torch import load_file

    best = json.loads((weights / "MANIFEST.json").read_text())["best_step"]
    agent.model.load_state_dict(load_file(weights.with_name(f"step-{best}") / "model.safetensors"))
    agent.model.eval()
    loss = right = count = num_bytes = pairs_right = num_pairs = 0.0
    sizes = Vocabulary.of(agent.artifacts.tokenizer).num_bytes
    examples = agent.data.loaders["test"].examples
    for row in range(len(examples)):
        batch = examples.collate(np.array([row]), EVALUATION)
        with torch.no_grad():
            terms, (tokens, pairs) = agent.compute_loss(batch)
        loss += float(terms["mlm"])
        right += int((tokens.argmax(dim=-1) == batch.ids).sum())
        count += len(batch.ids)
        num_bytes += sizes[batch.ids.numpy()].sum()
        pairs_right += int(pairs.argmax(dim=-1)[0] == batch.pair_labels[0])
        num_pairs += 1
    found = report["test"]
    assert found["mlm"] == pytest.approx(loss / count, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(loss / count), rel=1e-4)
    assert found["mlm_accuracy"] == pytest.approx(right / count)
    assert found["bits_per_byte"] == pytest.approx(loss / math.log(2) / num_bytes, rel=1e-5)
    assert found["pair_accuracy"] == pytest.approx(pairs_right / num_pairs)
    assert found["masked_tokens"] == count


def test_the_metrics_are_those_that_the_config_chooses(corpus: Path) -> None:
    report = pretrained(PAIRS, "metrics=[bits_per_byte]", "train.monitor=+pair_accuracy")
    assert report["test"].keys() == {"loss", "mlm", "pairs", "bits_per_byte", "pair_accuracy", "masked_tokens"}


def test_the_bytes_of_a_token_are_those_of_its_text(corpus: Path) -> None:
    for name, special in (("wordpiece", 0), ("byte_bpe", 0)):
        agent: Any = build("documents.yaml", {"name": name, "tokenizer.name": name, "tokenizer.vocab_size": 400})
        vocabulary, tokenizer = Vocabulary.of(agent.artifacts.tokenizer), agent.artifacts.tokenizer
        text = "chess players met number 7 ."
        ids = tokenizer.bare([text], may_be_empty=True).ids
        expected = len(text.replace(" ", "")) if name == "wordpiece" else len(text)
        assert int(vocabulary.num_bytes[ids].sum()) == expected + special
        assert vocabulary.starts_word[ids].sum() >= 5


# Watching.


def test_validations_show_guesses_and_a_plateau_is_named_once(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("agents.language_models.watching.PLATEAU_TOKENS", 1)
    pretrained("optimizer.lr=1.0e-9")
    lines = [line for line in capsys.readouterr().err.splitlines() if "is still that of guessing by frequency" in line]
    assert len(lines) == 1
    assert "likely causes, in this order: optimizer.lr" in lines[0]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator("experiments/pretrained")
    events.Reload()
    (tag,) = [tag for tag in events.Tags()["tensors"] if tag.startswith("valid/guesses")]
    text = html.unescape(events.Tensors(tag)[0].tensor_proto.string_val[0].decode())  # markup is escaped
    assert "| sentence, masked tokens as [MASK] | masked | guesses |" in text
    assert text.count("\n") > 5


def test_what_a_plateau_is() -> None:
    plateau, many = Plateau(6.0), torch.arange(50)
    good = {"mlm": 4.0, "pair_accuracy": 0.8}
    assert plateau.problem(good, 10**8, many) is None
    assert "guessing by frequency" in str(plateau.problem(good | {"mlm": 5.9}, 10**8, many))
    assert plateau.problem(good | {"mlm": 5.9}, 10**5, many) is None
    assert "the same token everywhere" in str(plateau.problem(good, 10**8, torch.zeros(50)))
    assert "by chance" in str(plateau.problem(good | {"pair_accuracy": 0.51}, 10**8, many))
    assert plateau.problem({"mlm": 4.0}, 10**8, many) is None


def test_the_unigram_entropy_is_that_of_scipy(corpus: Path) -> None:
    from scipy.stats import entropy

    agent: Any = build("documents.yaml", {"name": "x"})
    counts = agent.data.store.token_counts.copy()
    counts[:5] = 0  # special tokens are never masked
    assert unigram_entropy(agent.data.store.token_counts, agent.data.vocabulary) == pytest.approx(entropy(counts))


# What a run is used for.


@pytest.mark.parametrize("tokens", ["wordpiece", "byte_bpe"])
def test_fill_and_export_give_the_logits_of_transformers(
    corpus: Path, capsys: pytest.CaptureFixture[str], tokens: str
) -> None:
    pretrained(f"tokenizer.name={tokens}", "tokenizer.vocab_size=300")
    capsys.readouterr()
    assert main(["fill", "experiments/pretrained", "chess [MASK] met number [MASK] .", "--top", "300", "--json"]) == 0
    gaps = json.loads(capsys.readouterr().out)["gaps"]
    assert main(["export", "experiments/pretrained"]) == 0
    assert "BertForMaskedLM" in capsys.readouterr().out
    model = transformers.AutoModelForMaskedLM.from_pretrained("experiments/pretrained/hf").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained("experiments/pretrained/hf")
    encoded = tokenizer("chess [MASK] met number [MASK] .", return_tensors="pt")
    with torch.no_grad():
        logits = model(**encoded).logits[0]
    places = (encoded.input_ids[0] == tokenizer.mask_token_id).nonzero()[:, 0]
    assert len(places) == 2
    for gap, place in zip(gaps, places, strict=True):
        expected = logits[place].softmax(dim=-1)
        assert [token["probability"] for token in gap] == pytest.approx(
            sorted(expected.tolist(), reverse=True), abs=1e-5
        )
        if tokens == "wordpiece":  # of bytes the space before a word is not shown
            assert gap[0]["token"] == tokenizer.convert_ids_to_tokens(int(expected.argmax()))
    assert (
        main(["fill", "experiments/pretrained/hf", "chess [MASK] met number [MASK] .", "--top", "300", "--json"]) == 0
    )
    again = json.loads(capsys.readouterr().out)["gaps"]
    assert [t["probability"] for t in again[0]] == pytest.approx([t["probability"] for t in gaps[0]], abs=1e-6)


def test_pairs_are_exported_with_their_classifier(corpus: Path) -> None:
    pretrained(PAIRS)
    assert main(["export", "experiments/pretrained"]) == 0
    model = transformers.BertForPreTraining.from_pretrained("experiments/pretrained/hf").eval()
    agent: Any = build(
        "documents.yaml", {"name": "x", "objective.pairs": "next_sentence", "init_from": "experiments/pretrained"}
    )
    batch = next(agent.data.loaders["test"].eval_batches())
    agent.model.eval()
    with torch.no_grad():
        tokens, pairs = agent.model(batch)
        found = model(batch.input_ids, attention_mask=batch.attention_mask.long(), token_type_ids=batch.token_type_ids)
    torch.testing.assert_close(tokens, found.prediction_logits.flatten(0, 1)[batch.places], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(pairs, found.seq_relationship_logits, atol=1e-5, rtol=1e-4)


def test_a_published_model_goes_on_with_its_head(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = pretrained()
    assert main(["export", "experiments/pretrained", "--out", "published"]) == 0
    words = ["init_from=published", "tokenizer=null", "model=null", "optimizer.lr=1.0e-12", "train.num_epochs=1"]
    again = pretrained(*words, name="continued")
    assert "newly initialised: nothing" in capsys.readouterr().err
    assert again["test"]["mlm"] == pytest.approx(report["test"]["mlm"], abs=1e-4)


def test_a_sentence_is_scored_token_by_token(corpus: Path) -> None:
    pretrained()
    scorer = open_scorer("experiments/pretrained", "cpu", "score")
    texts = ["chess players met .", "the opening moves surprised the chess master and others", "met"]
    found = list(scorer.log_likelihoods(texts))
    cls, sep, _ = scorer.vocabulary.special
    for text, score in zip(texts, found, strict=True):
        ids = [cls, *scorer.tokenizer.bare([text], may_be_empty=True).ids.tolist(), sep]
        total = 0.0
        for place in range(1, len(ids) - 1):
            hidden = torch.tensor([[*ids[:place], scorer.vocabulary.mask_id, *ids[place + 1 :]]])
            from graphs.layers.token_layout import PaddedTokens

            encoder: Any = scorer.model.encoders[0]  # type: ignore[index]
            with torch.no_grad():
                states = encoder.encode(hidden, PaddedTokens(torch.ones_like(hidden, dtype=torch.bool)))
                logits = scorer.model.tokens(states[0, place], encoder.embeddings.token.weight)  # type: ignore[operator]
            total += float(logits.log_softmax(dim=-1)[ids[place]])
        assert score == pytest.approx(total, abs=1e-3)


@pytest.mark.parametrize("form", ["jsonl", "tar", "csv"])
def test_minimal_pairs_are_counted_by_paradigm(corpus: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    import csv
    import tarfile

    pretrained()
    scorer = open_scorer("experiments/pretrained", "cpu", "score")
    texts = [row["text"] for row in tiny_rows()][:12]
    rows = [
        {"sentence_good": texts[i], "sentence_bad": texts[i + 1], "UID": f"u{i % 3}", "linguistics_term": f"t{i % 2}"}
        for i in range(0, 12, 2)
    ]
    path = Path("pairs.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if form == "tar":
        with tarfile.open("pairs.tar.gz", "w:gz") as archive:
            archive.add(path, "blimp/pairs.jsonl")
        path = Path("pairs.tar.gz")
    elif form == "csv":
        path = Path("pairs.csv")
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["", "sent_more", "sent_less", "bias_type"])
            writer.writerows([i, row["sentence_good"], row["sentence_bad"], row["UID"]] for i, row in enumerate(rows))
    scores = list(scorer.log_likelihoods(texts))
    right = [scores[i] > scores[i + 1] for i in range(0, 12, 2)]
    capsys.readouterr()
    assert main(["minimal-pairs", "experiments/pretrained", "--data", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["all"]["accuracy"] == pytest.approx(sum(right) / 6)
    assert found["all"]["pairs"] == 6
    assert found["paradigms"]["u0"]["accuracy"] == pytest.approx((right[0] + right[3]) / 2)
    assert main(["minimal-pairs", "experiments/pretrained", "--data", str(path), "--limit", "1"]) == 0
    assert "3 pairs" in capsys.readouterr().out
    with Path("pairs.jsonl").open("a") as file:
        file.write(json.dumps(rows[0] | {"sentence_bad": "boil the rice " * 99}) + "\n")
    assert main(["minimal-pairs", "experiments/pretrained", "--data", "pairs.jsonl"]) == 3
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("pairs.jsonl:7: a text of ")


@pytest.mark.parametrize("words", [[], [PAIRS]])
def test_a_run_is_fine_tuned_with_its_tokenizer(
    corpus: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pretrained(*words)
    agent: Any = build("finetune.yaml", {"name": "tuned"})
    own, base = agent.model.state_dict(), _weights("pretrained")
    encoder = [name for name in own if name.startswith("encoders.0.") and ".pooler." not in name]
    assert encoder
    assert all(torch.equal(own[name], base[name]) for name in encoder)
    has_pooler = "encoders.0.pooler.weight" in base
    assert has_pooler == bool(words)
    if has_pooler:
        assert torch.equal(own["encoders.0.pooler.weight"], base["encoders.0.pooler.weight"])
    assert (
        Path("experiments/tuned/tokenizer.json").read_bytes()
        == Path("experiments/pretrained/tokenizer.json").read_bytes()
    )
    assert "init_from: weights of experiments/pretrained" in capsys.readouterr().err
    agent.run()


def test_any_kept_checkpoint_can_be_fine_tuned(corpus: Path) -> None:
    from safetensors.torch import load_file

    pretrained("train.save_every=3 steps", "train.keep=5")
    folder = Path("experiments/pretrained/checkpoints/step-3")
    agent: Any = build("finetune.yaml", {"name": "tuned", "init_from": str(folder)})
    name = "encoders.0.layers.0.feed_forward.up.weight"
    assert torch.equal(agent.model.state_dict()[name], load_file(folder / "model.safetensors")[name])
    assert not torch.equal(agent.model.state_dict()[name], _weights("pretrained")[name])


def _weights(name: str) -> dict[str, torch.Tensor]:
    from agents.running.trained_run import TrainedRun

    return TrainedRun(Path(f"experiments/{name}")).weights()


def test_a_tokenizer_is_trained_alone_and_read_again(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenizer", "documents.yaml", "--out", "shared"]) == 0
    words = Path("shared/vocab.txt").read_text().splitlines()
    assert words[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert f"{len(words)} tokens" in capsys.readouterr().out
    own: Any = build("documents.yaml", {"name": "own"})
    saved: Any = build("documents.yaml", {"name": "saved", "tokenizer": {"name": "saved", "path": "shared"}})
    for split in ("train", "valid", "test"):
        assert own.data.store.splits[split].ids.tolist() == saved.data.store.splits[split].ids.tolist()
    assert main(["documents.yaml", "name=run", "train.num_epochs=1"]) == 0
    of_run: Any = build("documents.yaml", {"name": "of-run", "tokenizer": {"name": "saved", "path": "experiments/run"}})
    assert of_run.data.store.splits["train"].ids.tolist() == own.data.store.splits["train"].ids.tolist()
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file="shared/tokenizer.json")
    assert theirs.convert_ids_to_tokens(theirs("chess players", add_special_tokens=False).input_ids) == [
        own.artifacts.tokenizer.token(id)
        for id in own.artifacts.tokenizer.bare(["chess players"], may_be_empty=True).ids.tolist()
    ]
    before = Path("experiments/run/tokenizer.json").read_bytes()
    assert (
        main(["tokenizer", "documents.yaml", "--out", "experiments/run"]) == 5
    )  # its vocabulary would change under the run
    assert "experiments/run: already exists" in capsys.readouterr().err
    assert Path("experiments/run/tokenizer.json").read_bytes() == before


@pytest.mark.parametrize(
    ("num_documents", "share", "drawn"), [(1, "0.02", "0 of 1"), (6, "0.3", "4 of 6"), (100, "0.3", None)]
)
def test_a_split_that_chance_has_made_too_small_or_large_is_warned_of(
    corpus: Path, capsys: pytest.CaptureFixture[str], num_documents: int, share: str, drawn: str | None
) -> None:
    Path("some.txt").write_text("one sentence .\ntwo sentences .\n\n" * num_documents)
    pretrained("data.train=some.txt", f"data.split=[{1 - float(share)}, {share}, 0]", "train.num_steps=1")
    line = f"some.txt: {drawn} documents were drawn for valid, whose share in data.split is {share}; give data.valid"
    assert (line in (told := capsys.readouterr().err)) == (drawn is not None)
    assert ("were drawn for" in told) == (drawn is not None)


def test_documents_that_have_changed_are_noticed(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [Path("tiny.txt").read_text()[:400], Path("tiny.txt").read_text()[400:800]]
    Path("test.txt").write_text(texts[0])
    pretrained("train.num_steps=1", "data.test=test.txt")
    for text in texts:
        Path("test.txt").write_text(text)
        capsys.readouterr()
        assert main(["test", "experiments/pretrained"]) == 0
        warning = "warning: the data has changed since experiments/pretrained was trained"
        assert (warning in capsys.readouterr().err) == (text is texts[1])


def test_every_seed_is_measured_on_the_same_masks(corpus: Path) -> None:
    found = []
    for seed in (1, 2):
        agent: Any = build("documents.yaml", {"name": f"seed-{seed}", "seed": seed})
        batch = next(agent.data.loaders["valid"].eval_batches())
        found.append((batch.input_ids.tolist(), batch.places.tolist()))
    assert found[0] == found[1]


def test_another_vocabulary_has_masks_of_its_own(corpus: Path) -> None:
    small: Any = build("documents.yaml", {"name": "small", "objective.dupe_factor": 1})
    large: Any = build("documents.yaml", {"name": "large", "objective.dupe_factor": 1, "tokenizer.vocab_size": 261})
    assert small.data.facts["tokens"] != large.data.facts["tokens"]
    for agent in (small, large):
        batch = next(iter(agent.data.loaders["train"].train_batches(0)))[0]
        assert int(batch.ids.max()) < agent.artifacts.tokenizer.vocab_size


def test_the_own_test_split_and_another_file_are_measured(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = pretrained()
    capsys.readouterr()
    assert main(["test", "experiments/pretrained", "--json"]) == 0
    own = json.loads(capsys.readouterr().out)
    assert own["mlm"] == pytest.approx(report["test"]["mlm"], rel=1e-5)
    Path("other.txt").write_text("chess players met .\nthe moves surprised them .\n\nanother one .\n")
    assert main(["test", "experiments/pretrained"]) == 0
    assert "rows read" not in capsys.readouterr().out  # they were read as training documents, and split off
    assert main(["test", "experiments/pretrained", "--data", "other.txt", "--json"]) == 0
    said = capsys.readouterr()
    other = json.loads(said.out)
    assert "test: 2 documents, 3 sentences" in said.err
    assert "train: " not in said.err
    assert other["data"] == {"read": 4, "used": 3, "skipped": {"blank line": 1}}
    Path("other.jsonl").write_text('{"text": "chess players met. The moves surprised them."}\nno json\n')
    for words in (["--format", "jsonl"], []):  # or by the ending, though the training files are of sentences
        words += ["--on-bad-row", "skip", "--json"]
        assert main(["test", "experiments/pretrained", "--data", "other.jsonl", *words]) == 0
        assert json.loads(capsys.readouterr().out)["data"]["used"] == 1
    assert main(["test", "experiments/pretrained", "--data", "other.txt", "--format", "pdf"]) == 2
    assert "format must be one of" in capsys.readouterr().err
    assert other["masked_tokens"] >= 1


def test_a_text_of_which_much_is_unknown_is_named_and_one_of_which_all_is_is_refused(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing can be masked there, and a loss of nothing would be 0: the best of all."""
    pretrained()
    Path("other.txt").write_text("日本語\n\n中文字\n")
    assert main(["test", "experiments/pretrained", "--data", "other.txt"]) == 3
    assert "the tokenizer knows no token of it, so none can be masked" in capsys.readouterr().err
    Path("mixed.txt").write_text("日本語 chess\n\n中文字 chess\n")
    assert main(["test", "experiments/pretrained", "--data", "mixed.txt"]) == 0
    assert "% of the tokens of train are not in the vocabulary" in capsys.readouterr().err


# Bad input.


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["objective.mask_share=0"], 2, "mask_share must be between 0 and 1"),
        (["objective.mask_share=1"], 2, "mask_share must be between 0 and 1"),
        (["objective.mask_share=2"], 2, "mask_share must be between 0 and 1"),
        (["objective.mask_share={start: 0.3}"], 2, "mask_share must be a number or {start: 0.3, end: 0.15}"),
        (["objective.mask_unit=letter"], 2, "must be one of token, word, span"),
        (["objective.pairs=yes"], 2, "must be one of none, next_sentence, sentence_order"),
        (["objective.mask_token=0.9", "objective.random_token=0.2"], 2, "must add up to at most 1"),
        (["objective.even_masks=true", "objective.dupe_factor=2"], 2, "even_masks needs a fixed mask_share"),
        (["objective.dupe_factor=0"], 2, "dupe_factor must be at least 1"),
        (["data.max_length=100"], 2, "has positions for 64 tokens"),
        (["data.max_length=4"], 2, "max_length must be at least 8"),
        (["data.first_length=16"], 2, "first_length and first_steps must be given together"),
        (["data.first_length=64", "data.first_steps=3"], 2, "first_length must be less than max_length"),
        (["model.name=bilstm"], 2, "bilstm"),
        (["tokenizer={name: word}"], 2, "word"),
        (["tokenizer={name: pretrained}"], 2, "tokenizer.name: pretrained comes with init_from, which is missing"),
        (["objective={even_masks: true, mask_unit: span}"], 2, "even_masks needs mask_unit token or word"),
        (["objective={even_masks: true, mask_share: 0.7}"], 2, "a mask_share of at most 0.5"),
        (["train.monitor=+pair_accuracy"], 2, "there is no metric 'pair_accuracy'; known: loss, mlm_accuracy"),
        (["metrics=[pairs]"], 2, "there is no metric 'pairs'"),
        (["data.valid=one.txt", PAIRS], 3, "one.txt: valid holds one document, and next_sentence takes"),
        (["data.valid=alone.txt", PAIRS], 3, "alone.txt: valid: no document has two sentences"),
        (["data.valid=empty.txt"], 3, "empty.txt: valid holds no document with a token"),
        (
            ["data.valid=unknown.txt"],
            3,
            "unknown.txt: valid: the tokenizer knows no token of it, so none can be masked",
        ),
        (["train.monitor=+accuracy"], 2, "there is no metric 'accuracy'; known: loss, mlm_accuracy"),
        (["data.train=nothing.txt"], 3, "nothing.txt: no such file or folder"),
        (["data.train=empty.txt"], 3, "holds no document with a token"),
        (
            ["data.train=one.txt", PAIRS],
            3,
            "train holds one document, and next_sentence takes half of the second segments from another",
        ),
        (["data.train=alone.txt", PAIRS], 3, "no document has two sentences"),
        (["tokenizer={name: saved, path: nothing}"], 3, "nothing: no such folder"),
        (["tokenizer={name: saved, path: maskless}"], 3, "its vocabulary has no [MASK], which pre-training needs"),
        (
            ["tokenizer={name: saved, path: words}"],
            3,
            "words: its vocabulary is of whole words; pre-training needs one of",
        ),
        (["init_from=experiments/other"], 2, "has another model"),
        (["init_from=experiments/third"], 2, "has another tokenizer"),
    ],
)
def test_bad_input_gets_one_line_and_its_exit_code(
    corpus: Path, words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty.txt").write_text("\n\n")
    Path("unknown.txt").write_text("日本語\n\n中文字\n")
    Path("one.txt").write_text("one sentence .\ntwo sentences .\n" * 30)
    Path("alone.txt").write_text("one sentence .\n\nanother one .\n\n" * 30)
    if "maskless" in words[0]:
        from tokenizers import Tokenizer, models, pre_tokenizers

        Path("maskless").mkdir()
        words_of = {name: id for id, name in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b"])}
        tokenizer = Tokenizer(models.WordPiece(words_of, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.save("maskless/tokenizer.json")
    if "words" in words[0]:
        Path("words").mkdir()
        words_only = WordTokenizer()
        words_only.set_vocabulary(Counter(["a", "sentence"]))
        Path("words/tokenizer.json").write_text(json.dumps(words_only.to_json()))
    if "other" in words[0]:
        pretrained("model.hidden_size=16", "train.num_epochs=1", name="other")
    if "third" in words[0]:
        pretrained("tokenizer.vocab_size=290", "train.num_epochs=1", name="third")
    capsys.readouterr()
    assert main(["documents.yaml", "name=bad", "data.split=[1.0, 0, 0]", *words]) == code
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (["fill", "experiments/pretrained", "no gap"], 2, "the text holds no [MASK], the gap to fill"),
        (["fill", "experiments/pretrained", "[MASK]" * 80], 3, "is longer than the model's 64"),
        (["fill", "experiments/pretrained", "[MASK]", "--top", "0"], 2, "--top must be at least 1"),
        (["fill", "experiments/nothing", "[MASK]"], 4, "experiments/nothing"),
        (
            ["minimal-pairs", "experiments/pretrained", "--data", "tiny.jsonl"],
            3,
            "has no pair of sentences in the columns",
        ),
        (["minimal-pairs", "experiments/pretrained", "--data", "nothing.csv"], 3, "no such file"),
        (["minimal-pairs", "experiments/pretrained", "--data", "broken.tar.gz"], 3, "cannot be read"),
        (
            ["minimal-pairs", "experiments/pretrained", "--data", "tiny.jsonl", "--limit", "0"],
            2,
            "--limit must be at least 1",
        ),
        (
            ["predict", "experiments/pretrained", "--text", "a"],
            2,
            "a run of agent pretraining cannot predict; classification",
        ),
        (["fill", "experiments/classifier", "[MASK]"], 2, "a run of agent classification cannot fill; pretraining can"),
    ],
)
def test_bad_use_gets_one_line_and_its_exit_code(
    corpus: Path, command: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken.tar.gz").write_bytes(b"\x1f\x8bnothing")
    if "experiments/classifier" in command:
        assert main(["tiny.yaml", "name=classifier", "train.num_epochs=1"]) == 0
    elif "experiments/nothing" not in command:
        pretrained("train.num_epochs=1")
    capsys.readouterr()
    assert main(command) == code
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
