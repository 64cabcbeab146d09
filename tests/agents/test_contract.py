"""What every agent in AGENTS does, and a toy one that is like none of them: trains, resumes, splits up, tests, predicts, loads.

A new agent joins by one line of CASES.
"""

import json
import random
from pathlib import Path

import pytest
import small_pairs
import torch
import toys  # noqa: F401  # which enters its agent
from conftest import tiny_rows, write_jsonl
from faults import DIED
from jobs import Job
from lab import Lab, of_tier, preload
from safetensors.torch import load_file

from agents import AGENTS, checked_config, load
from agents.running.abilities import Predicts
from graphs.losses import LOSSES
from graphs.models import ENCODERS
from utils.metrics.base import LossMeter
from utils.training.update import Updater

CASES = {
    "classification": [],
    "regression": ["data.label=number"],
    "similarity": ["data.label=is_chess"],
    "pretraining": [],
    "seq2seq": [],
    "masked": [],
}
# The config of an agent over documents instead of rows: pairs, masks that fall, and sequences that grow.
DOCUMENTS = """
agent: pretraining
num_threads: 1
data: {train: tiny.txt, format: sentences, split: [0.6, 0.2, 0.2], max_length: 48, first_length: 32, first_steps: 9}
tokenizer: {vocab_size: 300}
model: {hidden_size: 24, num_layers: 2, num_heads: 2, intermediate_size: 32, max_positions: 64}
objective: {pairs: next_sentence, mask_unit: word, mask_share: {start: 0.3, end: 0.15}}
optimizer: {name: AdamW, lr: 0.01}
train: {num_epochs: 5, batch_size: 16, accumulation_steps: 3, max_grad_norm: 1.0, save_every: 3 steps, validate_every: 7 steps}
"""
STEP = "agents.base:BaseAgent.train_step"
PLAIN = ["model.dropout=0", "optimizer.lr=0.003", "train.num_steps=20", "train.num_epochs=100"]


def write_documents(path: Path) -> None:
    """The texts of the tiny rows as documents of three to five sentences."""
    texts = [f"{row['title']} .\n{row['text']} ." for row in tiny_rows()]
    documents = ["\n".join(texts[i : i + 2 + i % 2]) for i in range(len(texts) - 2)]
    path.write_text("\n\n".join(documents) + "\n")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    preload("toys")
    lab = Lab(tmp_path_factory.mktemp("contract"))
    write_inputs(lab.folder, (lab.folder / "bilstm.yaml").read_text())
    return lab


def write_inputs(folder: Path, config: str) -> None:
    """The data and the configs of all agents. config: one with a head of a classifier"""
    rows = [
        row | {"number": 1.5 * (i % 3), "is_chess": str(row["label"] == "chess")} for i, row in enumerate(tiny_rows())
    ]
    write_jsonl(folder / "tiny.jsonl", rows)  # type: ignore[arg-type]
    write_documents(folder / "tiny.txt")
    (folder / "documents.yaml").write_text(DOCUMENTS)
    (folder / "pairs.yaml").write_text(small_pairs.CONFIG)
    (folder / "siamese.yaml").write_text(
        config.replace("hidden_sizes: [8]", "scale: 5.0").replace("dropout: 0.1", "threshold: 0.2")
    )


FILES = {"pretraining": "documents.yaml", "seq2seq": "pairs.yaml", "similarity": "siamese.yaml"}


def file_of(agent: str) -> str:
    return FILES.get(agent, "bilstm.yaml")


def arguments(agent: str) -> list[str]:
    """The config of an agent and what the command line changes of it."""
    return [file_of(agent), f"agent={agent}", *CASES[agent], "data.cache_folder=.cache-shared"]


def plain(agent: str) -> list[str]:
    """Without dropout, of which each process has its own."""
    others = {
        "pretraining": "model.attention_dropout=0",
        "seq2seq": "model.attention_dropout=0",
        "similarity": "head.scale=5",
    }
    words = [*PLAIN, others.get(agent, "head.dropout=0")]
    # The gradient of a key's bias is zero but for rounding, of which Adam would make steps as large as of any other.
    return [*words, "optimizer.eps=1.0e-5"] if agent == "seq2seq" else words


@pytest.fixture(scope="module", params=list(CASES))
def agent(request: pytest.FixtureRequest, lab: Lab) -> str:
    """The name of an agent, with a run of it that nothing disturbed."""
    run = lab.command(*arguments(request.param), f"name={request.param}")
    assert run.wait() == 0, run.stderr
    return str(request.param)


def output(lab: Lab, *words: str, code: int = 0) -> list[str]:
    run = lab.command(*words)
    assert run.wait() == code, run.stderr
    return (run.stderr if code else run.errors.with_suffix(".out").read_text()).splitlines()


def test_every_agent_has_a_case() -> None:
    assert CASES.keys() == AGENTS.keys(), "a new agent is one more line of CASES"


def test_it_trains_and_says_what_it_learned(lab: Lab, agent: str) -> None:
    losses = [line["loss"] for line in lab.metrics(agent) if line["split"] == "train_epoch"]
    assert losses[-1] < 0.9 * losses[0]
    report = json.loads((lab.path(agent) / "report.json").read_text())
    known = AGENTS[agent].known_metrics(checked_config(lab.folder / file_of(agent), arguments(agent)[1:]))
    assert known
    for split in ("valid", "test"):
        assert set(report[split]) > {"loss", *list(known)[:1]}
    if issubclass(AGENTS[agent], Predicts):
        lines = (lab.path(agent) / "predictions.jsonl").read_text().splitlines()
        assert len(lines) == report["data"]["test"]["used"]


@pytest.mark.parametrize("step", of_tier([11], random.Random(0).sample(range(1, 23), 20)))
def test_a_killed_run_comes_to_the_same_bits(lab: Lab, agent: str, step: int) -> None:
    words = [*arguments(agent), f"name={agent}-killed", "--fresh"]
    killed = lab.command(*words, die_in={"place": STEP, "n": step})
    assert killed.wait() == DIED, killed.stderr
    again = lab.command(*words[:-1])
    assert again.wait() == 0, again.stderr
    assert "resuming from step" in again.stderr or step < 4, "saved every 3 steps"
    assert lab.results(f"{agent}-killed") == lab.results(agent)


def test_pieces_and_processes_make_the_same_updates(lab: Lab, agent: str) -> None:
    """One batch whole, in three micro-batches, shared by two processes, and by two of which each has a part of the weights."""
    weights = {}
    for name, size, pieces in (("whole", 1, 1), ("pieces", 1, 3), ("two", 2, 3), ("cut", 2, 1)):
        words = [*arguments(agent), f"name={agent}-{name}", *plain(agent), f"train.accumulation_steps={pieces}"]
        words += ["distributed.strategy=fsdp"] * (name == "cut")
        job = Job(lab, size, *words)
        assert job.wait() == [0] * size, job.errors
        weights[name] = load_file(lab.path(f"{agent}-{name}") / "checkpoints/step-20/model.safetensors")
    for name in ("pieces", "two", "cut"):
        torch.testing.assert_close(weights[name], weights["whole"], atol=2e-5, rtol=1e-4)


def test_every_way_to_use_it_gives_the_same_answers(lab: Lab, agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = f"experiments/{agent}"
    report = json.loads((lab.path(agent) / "report.json").read_text())["test"]
    measured = json.loads(*output(lab, "test", folder, "--json"))
    for name in [name for name, value in report.items() if isinstance(value, float)]:
        assert measured[name] == pytest.approx(report[name], rel=1e-5), name
    if not issubclass(AGENTS[agent], Predicts):
        assert (
            f"a run of agent {agent} cannot predict; classification, "
            in output(lab, "predict", folder, "--text", "a text", code=2)[-1]
        )
        return
    written = [json.loads(line) for line in (lab.path(agent) / "predictions.jsonl").read_text().splitlines()]
    all_lines = {line["id"]: line for line in map(json.loads, output(lab, "predict", folder, "--input", "tiny.jsonl"))}
    monkeypatch.chdir(lab.folder)
    predictor = load(folder)
    for line in written:
        alone = predictor.predict([{"title": line["title"], "text": line["text"]}])[0]
        assert "gold" not in alone
        assert alone.keys() - {"id"} == line.keys() - {"id", "gold"}
        assert all_lines[line["id"]].keys() == line.keys() - {"gold"}


@pytest.mark.parametrize("word", ["train.monitor=+nothing", "metrics=[nothing]"])
def test_a_metric_that_it_does_not_compute_is_refused_before_the_data_is_read(lab: Lab, agent: str, word: str) -> None:
    words = [*arguments(agent), "--dry-run", word, "data.train=not-there.jsonl"]
    assert "there is no metric 'nothing'; known: " in output(lab, *words, code=2)[-1]


# A step on the meta device, which holds no data and takes no tensor of another device: nothing in a step waits for the device.

WORDPIECE = ["tokenizer={name: wordpiece, special_tokens: true, vocab_size: 300}"]
STEPS = [
    *((agent, []) for agent in CASES),
    *(("classification", [f"model={{name: {name}}}", "data.max_length=512", *WORDPIECE]) for name in ENCODERS),
    *(
        ("classification", [f"loss.name={name}"])
        for name in LOSSES
        if name not in ("distillation", "binary_cross_entropy")
    ),
    ("classification", ["data.multi_label=true", "loss.name=binary_cross_entropy", "train.monitor=-loss"]),
    ("classification", ["loss={class_weights: {chess: 2.0}, r_drop: 1.0}"]),
    ("classification", ["metrics=[accuracy, ece, auroc]"]),
    ("classification", ["metrics=[ece, auroc]", "data.multi_label=true", "loss.name=binary_cross_entropy"]),
]


@pytest.mark.parametrize(
    ("name", "options"), STEPS, ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_no_step_waits_for_its_device(
    name: str, options: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_inputs(workplace, (workplace / "tiny.yaml").read_text())
    path = FILES.get(name, "tiny.yaml")
    config = checked_config(path, [f"agent={name}", *CASES[name], *options, "optimizer={name: SGD, lr: 0.1}"])
    device = torch.device("meta")
    agent = AGENTS[name](config, device)
    data = agent.read_data()
    agent.artifacts = data.artifacts
    batch, *_ = next(iter(data.loaders["train"].train_batches(0)))
    with device:
        agent.model = agent.build_model(agent.artifacts).train()
    agent.loss = agent.build_loss(agent.artifacts).to(device)
    optimizer = torch.optim.SGD(agent.model.parameters(), lr=0.1)
    metrics, losses = agent.new_metrics(), LossMeter()
    counts = agent.count(batch)
    on_device = batch.to(device)
    terms, outputs = agent.compute_loss(on_device)
    loss = torch.stack([term / counts[term_name] for term_name, term in terms.items()]).sum()
    loss.backward()
    metrics.update(outputs, on_device)
    losses.update(terms, counts)
    monkeypatch.setattr(Updater, "is_masked", True)  # as with a fused optimizer, which the meta device has not

    def step() -> None:
        assert vars(optimizer).pop("found_inf").device.type == "meta"
        torch.optim.SGD.step(optimizer)

    monkeypatch.setattr(optimizer, "step", step)
    norm = Updater(agent.model, optimizer, 1.0).apply(loss.detach(), str)
    assert {each.device.type for each in (loss, norm, metrics.counts, *losses.sums.values())} == {"meta"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["metrics=[root_mean_squared_error]", "train.monitor=-loss"], {"root_mean_squared_error"}),
        (
            ["metrics=[root_mean_squared_error]"],
            {"root_mean_squared_error", "absolute_error"},
        ),  # the latter is monitored
    ],
)
def test_a_regression_measures_what_its_config_chooses(lab: Lab, words: list[str], expected: set[str]) -> None:
    name = f"name=chosen-{len(words)}"
    run = lab.command(*arguments("regression"), name, *words, "train.num_epochs=1")
    assert run.wait() == 0, run.stderr
    report = json.loads((lab.path(name[5:]) / "report.json").read_text())
    assert report["test"].keys() == {"loss", *expected}


def test_the_errors_of_a_regression_are_scikit_learns(lab: Lab) -> None:
    from sklearn.metrics import mean_absolute_error, root_mean_squared_error

    run = lab.command(*arguments("regression"), "name=errors")
    assert run.wait() == 0, run.stderr
    report = json.loads((lab.path("errors") / "report.json").read_text())["test"]
    lines = [json.loads(line) for line in (lab.path("errors") / "predictions.jsonl").read_text().splitlines()]
    gold, predicted = [line["gold"] for line in lines], [line["predicted"] for line in lines]
    assert report["absolute_error"] == pytest.approx(mean_absolute_error(gold, predicted), rel=1e-6)
    assert report["root_mean_squared_error"] == pytest.approx(root_mean_squared_error(gold, predicted), rel=1e-6)
