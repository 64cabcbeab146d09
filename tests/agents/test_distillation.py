"""A run that learns from another run, and two passes that shall agree."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_rows, write_jsonl
from torch.nn import functional

from agents import build, load
from agents.classification import ClassificationAgent
from agents.classifying.teacher import logits_of
from datasets.batches.text_batch import TextBatch as Batch
from datasets.rows.records import Record
from graphs.losses import LOSSES
from graphs.losses.binary_cross_entropy import BinaryCrossEntropy
from graphs.losses.cross_entropy import CrossEntropy
from graphs.losses.distillation import Distillation
from graphs.losses.r_drop import RDrop
from main import main

STUDENT = [
    "model={name: bag_of_embeddings, embedding_size: 8}",
    "loss={name: distillation, teacher: experiments/teacher}",
]

SIZES = "hidden_size: 16, num_layers: 2, num_heads: 2, intermediate_size: 32"
BERT = [
    f"model={{name: bert, {SIZES}}}",
    "tokenizer={name: wordpiece, vocab_size: 400, special_tokens: true}",
    "data.join_fields=true",
    "data.max_length=64",
    "optimizer.lr=0.01",
]


@pytest.fixture
def teacher(workplace: Path) -> Path:
    """A trained run."""
    assert (
        main(["tiny.yaml", "name=teacher", "train.num_epochs=8", "model={name: bag_of_embeddings, embedding_size: 16}"])
        == 0
    )
    return workplace / "experiments" / "teacher"


def refusal(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    capsys.readouterr()
    assert main(["tiny.yaml", *words]) == code
    return capsys.readouterr().err.splitlines()[-1]


def test_distillation_is_the_formula_of_the_paper() -> None:
    torch.manual_seed(0)
    logits, taught = torch.randn(4, 3), torch.randn(4, 3)
    labels = torch.tensor([0, 2, -100, 1])
    loss = Distillation(["a", "b", "c"], teacher="x", alpha=0.3, temperature=3.0)
    soft = sum(
        (q * (q.log() - p.log())).sum()
        for i in (0, 1, 3)
        for p, q in [((logits[i] / 3).softmax(-1), (taught[i] / 3).softmax(-1))]
    )
    hard = functional.cross_entropy(logits, labels, reduction="sum")
    torch.testing.assert_close(loss(logits, labels, taught), 0.7 * hard + 0.3 * 9 * soft)
    torch.testing.assert_close(loss(logits, labels), hard)
    whole = Distillation(["a", "b", "c"], teacher="x", alpha=1.0)
    assert whole(taught, labels, taught).abs() < 1e-6


def test_r_drop_is_the_formula_of_the_paper() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(3, 4), torch.randn(3, 4)
    labels = torch.tensor([1, -100, 0])
    p, q = first.softmax(-1), second.softmax(-1)
    both = (p * (p / q).log() + q * (q / p).log()).sum(-1)
    torch.testing.assert_close(RDrop(r_drop=2.0).disagreement(first, second, labels), 0.5 * both)
    torch.testing.assert_close(CrossEntropy(["a", "b", "c", "d"]).weigh(both, labels), both[0] + both[2])
    many = torch.ones(3, 4)
    assert RDrop(r_drop=1.0).disagreement(first, first, many).tolist() == [0, 0, 0]
    p, q = first.sigmoid(), second.sigmoid()
    both = (p - q) * (p / q).log() + (q - p) * ((1 - p) / (1 - q)).log()
    torch.testing.assert_close(RDrop(r_drop=4.0).disagreement(first, second, many), both.mean(-1))
    torch.testing.assert_close(BinaryCrossEntropy(["a", "b", "c", "d"]).weigh(both.mean(-1), many), both.sum() / 4)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_every_label_at_the_same_weight_is_no_weight(alpha: float) -> None:
    torch.manual_seed(0)
    logits, taught, values = torch.randn(4, 2), torch.randn(4, 2), torch.rand(4)
    labels, options = torch.tensor([0, 1, -100, 1]), {"teacher": "x", "alpha": alpha}
    plain = Distillation(["a", "b"], **options)
    weighted = Distillation(["a", "b"], **options, class_weights={"a": 10.0, "b": 10.0})
    for divided in (lambda loss: loss(logits, labels, taught), lambda loss: loss.weigh(values, labels)):
        expected = divided(plain) / plain.count(labels)
        torch.testing.assert_close(divided(weighted) / weighted.count(labels), expected)


def test_a_label_s_weight_is_that_of_every_term() -> None:
    loss = Distillation(["a", "b"], teacher="x", alpha=1.0, class_weights={"b": 3.0})
    logits, taught = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    a, b = (loss(logits, torch.tensor([label]), taught) for label in (0, 1))
    torch.testing.assert_close(b, 3 * a)


def test_every_text_gets_its_own_answer_of_the_teacher(teacher: Path) -> None:
    agent = build("tiny.yaml", [*STUDENT, "name=student"])
    answers = agent.teacher.all_logits.softmax(-1)
    records = list(agent.data.corpus.records("train", agent.data.splits["train"].rows))
    expected = load(teacher).predict([dict(zip(["title", "text"], record.texts, strict=True)) for record in records])
    torch.testing.assert_close(answers, torch.tensor([list(line["probabilities"].values()) for line in expected]))
    agent.experiment.close()


def test_a_bilstm_of_words_sees_what_a_bert_of_pieces_says_of_the_same_texts(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another model, tokenizer, order of batches and way of joining the fields: the rows alone say which text is meant."""
    assert main(["tiny.yaml", "name=teacher", *BERT]) == 0
    agent = build("tiny.yaml", ["loss={name: distillation, teacher: experiments/teacher}", "name=student"])
    assert agent.data.tokenizer.to_json()["type"] == "word"
    agent.load_checkpoint()
    batches: list[Batch] = []
    taught: list[torch.Tensor] = []
    compute = agent.compute_loss
    monkeypatch.setattr(agent, "compute_loss", lambda batch: (batches.append(batch), compute(batch))[1])
    agent.loss.register_forward_hook(lambda *call: taught.extend(call[2].values()), with_kwargs=True)
    agent.train_one_epoch()
    agent.log.close()
    agent.experiment.close()
    batches = batches[: len(taught)]  # those of the validation after them have no teacher
    assert sorted(row for batch in batches for row in batch.rows) == list(range(72)), "an epoch of every text"
    predictor = load("experiments/teacher")
    for batch, logits in zip(batches, taught, strict=True):
        records = records_of(agent, batch.rows)
        words = agent.data.tokenizer.encode([record.texts[1] for record in records])
        assert [row[row > 0].tolist() for row in batch.fields[1]["input_ids"]] == [
            words.text(i).tolist() for i in range(len(records))
        ], "the student reads these texts"
        torch.testing.assert_close(logits, torch.from_numpy(logits_of(predictor, records)), atol=1e-6, rtol=1e-5)


def records_of(agent: ClassificationAgent, rows: np.ndarray) -> list[Record]:
    """The training texts with these numbers, in this order."""
    records = list(agent.data.corpus.records("train", agent.data.splits["train"].rows))
    return [records[row] for row in rows]


def test_a_student_learns_from_its_teacher_alone(teacher: Path) -> None:
    """Its labels are wrong in all of training: what it knows, the teacher has told it."""
    rows = tiny_rows()
    labels = sorted({row["label"] for row in rows})
    wrong = [row | {"label": labels[(labels.index(row["label"]) + 1) % 3]} for row in rows[:90]]
    write_jsonl(Path("wrong.jsonl"), wrong)
    write_jsonl(Path("right.jsonl"), rows[90:])
    files = ["data.train=wrong.jsonl", "data.valid=right.jsonl", "data.test=right.jsonl"]
    options = ["loss.alpha=1.0", "train.num_epochs=15"]
    assert main(["tiny.yaml", *STUDENT, *files, *options, "name=student"]) == 0
    report = json.loads(Path("experiments/student/report.json").read_text())
    assert report["test"]["accuracy"] > 0.9


def test_the_teacher_is_asked_once(teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agents.running.predictor import Predictor

    build("tiny.yaml", [*STUDENT, "name=one"]).experiment.close()
    files = list(Path(".cache/teachers").iterdir())
    assert len(files) == 1
    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "outputs", lambda *_: pytest.fail("asked again"))
        build("tiny.yaml", [*STUDENT, "name=two"]).experiment.close()
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:-1] + b"\0")
    build("tiny.yaml", [*STUDENT, "name=three"]).experiment.close()
    assert files[0].read_bytes() == whole


def test_another_teacher_is_another_run(teacher: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny.yaml", *STUDENT, "name=student", "train.num_epochs=1"]) == 0
    assert main(["tiny.yaml", "name=teacher", "train.num_epochs=2", "--fresh", "seed=5"]) == 0
    line = refusal(capsys, 4, *STUDENT, "name=student", "train.num_epochs=2")
    assert "belongs to other teacher" in line


def test_bad_teachers(teacher: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, 4, *STUDENT, "loss.teacher=experiments/nobody", "data.train=nothing.jsonl", "name=x")
    assert line == "loss.teacher: there is no run experiments/nobody yet; train the teacher first"
    assert "alpha must be in [0, 1], got 2.0" in refusal(capsys, 2, *STUDENT, "loss.alpha=2.0", "name=x")
    write_jsonl(Path("two.jsonl"), [row for row in tiny_rows() if row["label"] != "chess"])
    line = refusal(capsys, 2, *STUDENT, "data.train=two.jsonl", "name=y")
    assert "knows the labels chess, cooking, sailing, and the data has cooking, sailing" in line
    line = refusal(capsys, 2, *STUDENT, "data.fields=[text]", "name=z")
    assert "reads the field 'title', which is not in data.fields" in line
    assert (
        main(
            ["tiny.yaml", "name=many", "data.multi_label=true", "loss.name=binary_cross_entropy", "train.num_epochs=1"]
        )
        == 0
    )
    line = refusal(capsys, 2, *STUDENT, "loss.teacher=experiments/many", "data.train=nothing.jsonl", "name=x")
    assert "experiments/many gives a text any number of labels, but here each has one" in line
    write_jsonl(Path("numbers.jsonl"), [row | {"label": i} for i, row in enumerate(tiny_rows())])  # type: ignore[arg-type]
    Path("numbers.yaml").write_text(
        "agent: regression\ndata: {name: files, train: numbers.jsonl}\nmodel: {name: bilstm}\ntrain: {num_epochs: 1}"
    )
    assert main(["numbers.yaml", "name=numbers"]) == 0
    line = refusal(capsys, 2, *STUDENT, "loss.teacher=experiments/numbers", "data.train=nothing.jsonl", "name=x")
    assert "experiments/numbers: a run of agent regression cannot teach; classification, similarity can" in line
    line = refusal(capsys, 2, *STUDENT, "loss.temperature=0.0", "name=x")
    assert "temperature must be positive, got 0.0" in line


def test_r_drop_trains_and_asks_for_two_passes(workplace: Path) -> None:
    agent = build("tiny.yaml", ["loss.r_drop=1.0", "name=r"])
    calls = []
    agent.model.register_forward_hook(lambda *_: calls.append(agent.model.training))
    batches = next(iter(agent.data.loaders["train"].train_batches(0)))
    terms, _ = agent.compute_loss(batches[0])
    plain = agent.loss(agent.model(batches[0].fields), batches[0].columns["label"])
    assert calls == [True] * 3
    assert terms["loss"] != plain
    agent.model.eval()
    agent.compute_loss(batches[0])
    assert len(calls) == 4
    agent.experiment.close()


def test_negative_weight_is_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "r_drop must not be negative, got -1.0" in refusal(capsys, 2, "loss.r_drop=-1.0", "name=x")


def test_distillation_is_in_the_table() -> None:
    assert LOSSES["distillation"] is Distillation
