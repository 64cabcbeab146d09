"""E5: two processes train what one does; the same losses at every step, the same weights at the end, and twice the same bits."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from jobs import Job, Own
from lab import Lab
from published import CONFIG, write_published
from small_documents import write_corpus
from small_pairs import write_pairs

STEPS = 50
NO_SYNC = "torch.nn.parallel:DistributedDataParallel.no_sync"
LENGTH = ["train.log_every=1", f"train.num_steps={STEPS}", "train.num_epochs=100"]
OPTIONS = ["model.dropout=0", "head.dropout=0", *LENGTH]
SLOW = "optimizer.lr=0.003"  # so that the losses stay well above what float32 can tell apart
PUBLISHED = ["bert.yaml", "model.attention_dropout=0", "optimizer.lr=0.0003"]
CASES = {
    "bilstm": ["bilstm.yaml", SLOW],
    "bag of embeddings, sparse gradients": ["bag_of_embeddings.yaml", "optimizer={name: SGD, lr: 0.3}"],
    "transformer": [
        "bilstm.yaml",
        "model={name: transformer, hidden_size: 16, num_layers: 2, num_heads: 2, intermediate_size: 32, attention_dropout: 0}",
        "data.max_length=64",
        "optimizer.lr=0.001",
    ],
}
MORE = {
    "published BERT, pairs": [*PUBLISHED, "data.join_fields=false", "data.pair=true"],
    "bag of embeddings, Adagrad": ["bag_of_embeddings.yaml", "optimizer={name: Adagrad, lr: 0.03}"],
    "published BERT, unfrozen layer by layer": [*PUBLISHED, "freeze={layers: all, unfreeze_every: 2}"],
    "windows": ["bilstm.yaml", SLOW, "data.long_texts=windows", "data.max_length=8", "data.stride=2"],
    "batches by tokens": ["bilstm.yaml", SLOW, "train.batch_tokens=300"],
    "several labels": [
        "bilstm.yaml",
        SLOW,
        "data.multi_label=true",
        "loss.name=binary_cross_entropy",
        "train.monitor=-loss",
    ],
    "weights of labels": ["bilstm.yaml", SLOW, "loss.class_weights={chess: 3.0, sailing: 0.2}"],
    "a teacher": [
        "bilstm.yaml",
        SLOW,
        "loss={name: distillation, teacher: experiments/teacher, class_weights: {chess: 3.0}}",
    ],
    "averaged weights": ["bilstm.yaml", SLOW, "average={decay: 0.9}"],
}


OF_LANGUAGE = {
    "pre-training with pairs and a falling share of masks": [
        "documents.yaml",
        "objective={pairs: next_sentence, mask_share: {start: 0.4, end: 0.1}}",
    ],
    "translation": ["pairs.yaml", "optimizer.lr=0.001", "model.dropout=0", "model.attention_dropout=0"],
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("distributed"))
    write_published(lab.folder / "published")
    (lab.folder / "bert.yaml").write_text(CONFIG.format(folder="published"))
    write_corpus(lab.folder)
    write_pairs(lab.folder)
    return lab


@pytest.fixture(scope="module")
def teacher(lab: Lab) -> None:
    lab.finish("bag_of_embeddings", "teacher", "train.num_epochs=3")


def trained(
    lab: Lab, size: int, name: str, arguments: list[str], options: list[str] = OPTIONS
) -> tuple[list[float], dict[str, torch.Tensor]]:
    """(losses by step, final weights) of a run of so many processes."""
    job = Job(lab, size, *arguments, *options, f"name={name}", "data.cache_folder=.cache-shared")
    assert job.wait() == [0] * size, job.errors
    losses = [line["loss"] for line in lab.metrics(name) if line["split"] == "train"]
    assert len(losses) == STEPS
    return losses, safetensors.torch.load_file(lab.path(name) / f"checkpoints/step-{STEPS}/model.safetensors")


def test_micro_batches_are_added_up_over_the_processes_once_a_step(lab: Lab) -> None:
    told = {rank: Own(faults={"tell_calls": {"place": NO_SYNC, "to": f"calls-{rank}"}}) for rank in range(2)}
    job = Job(lab, 2, "bilstm.yaml", "name=accumulated", own=told)  # 25 steps of 3 micro-batches
    assert job.wait() == [0, 0], job.errors
    assert [len((lab.folder / f"calls-{rank}").read_text()) for rank in range(2)] == [50, 50]


def test_a_step_makes_three_small_sums(lab: Lab) -> None:
    """What counts, with texts and tokens; the loss; a signal. The gradients go by DistributedDataParallel's own way."""
    calls = {}
    for steps in (10, 30):
        told = {
            rank: Own(faults={"tell_calls": {"place": "torch.distributed:all_reduce", "to": f"sums-{steps}-{rank}"}})
            for rank in range(2)
        }
        words = [f"name=sums-{steps}", f"train.num_steps={steps}", "train.num_epochs=100", "train.log_every=1000"]
        quiet = [
            "train.validate_every=1000 steps",
            "train.save_every=1000 steps",
            "train.batch_size=72",
        ]  # an epoch is a step
        job = Job(lab, 2, "bilstm.yaml", *words, *quiet, own=told)
        assert job.wait() == [0, 0], job.errors
        calls[steps] = len((lab.folder / f"sums-{steps}-0").read_text())
    ends_of_epochs = 20  # the counts of the epoch's metrics
    assert calls[30] - calls[10] == 3 * 20 + ends_of_epochs


@pytest.mark.parametrize("case", [*CASES, *(pytest.param(case, marks=pytest.mark.full) for case in MORE)])
def test_two_processes_train_what_one_does(lab: Lab, teacher: None, case: str) -> None:
    names = [f"{case}-{word}".replace(",", "") for word in ("one", "two", "again")]
    words = (CASES | MORE)[case]
    one, two, again = (trained(lab, size, name, words) for size, name in zip((1, 2, 2), names, strict=True))
    assert two[0] == pytest.approx(one[0], rel=1e-6)
    for name, weights in one[1].items():
        torch.testing.assert_close(two[1][name], weights, atol=1e-5, rtol=0)
    results = [json.loads(Path(lab.path(name), "report.json").read_bytes())["test"] for name in names]
    assert results[1].pop("loss") == pytest.approx(results[0].pop("loss"), rel=1e-6)
    assert results[1] == results[0]
    lines = [Path(lab.path(name), "predictions.jsonl").read_text().splitlines() for name in names]
    assert [json.loads(line)["id"] for line in lines[1]] == [json.loads(line)["id"] for line in lines[0]]
    assert again[0] == two[0]
    assert all(torch.equal(again[1][name], weights) for name, weights in two[1].items())


@pytest.mark.full
@pytest.mark.parametrize("case", OF_LANGUAGE)
def test_two_processes_pre_train_and_translate_as_one_does(lab: Lab, case: str) -> None:
    names = [f"{case}-{word}" for word in ("one", "two", "again")]
    one, two, again = (
        trained(lab, size, name, OF_LANGUAGE[case], LENGTH) for size, name in zip((1, 2, 2), names, strict=True)
    )
    assert two[0] == pytest.approx(one[0], rel=1e-6, abs=1e-6)
    assert again[0] == two[0]
    assert all(torch.equal(again[1][name], weights) for name, weights in two[1].items())
