"""The losses of 30 steps of each run of OVERRIDES, small ones, as they were when the numbers were last meant to change.

    make golden

writes golden_losses.json anew, on purpose: its difference belongs into the commit that says why.
"""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import torch
from lab import Lab

FILE = Path(__file__).with_name("golden_losses.json")
NUM_STEPS = 30
SIZES = "hidden_size: 16, num_layers: 2, num_heads: 2, intermediate_size: 32"
OVERRIDES = {  # run -> (model, what is changed)
    "bilstm": ("bilstm", ["optimizer.lr=0.01"]),
    "bag_of_embeddings": ("bag_of_embeddings", ["optimizer.lr=0.01"]),
    "bag_of_embeddings, sparse": (
        "bag_of_embeddings",
        ["optimizer.name=Adagrad", "optimizer.lr=0.05", "tokenizer.ngrams=2", "data.join_fields=true"],
    ),
    "transformer": ("bilstm", [f"model={{name: transformer, {SIZES}}}", "data.max_length=64", "optimizer.lr=0.003"]),
    "bert": (
        "bilstm",
        [
            f"model={{name: bert, {SIZES}}}",
            "tokenizer={name: wordpiece, special_tokens: true, vocab_size: 2000}",
            "data.max_length=64",
            "optimizer.lr=0.003",
        ],
    ),
}


def machine() -> dict[str, Any]:
    """What the exact bits depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    vendor = re.search(r"vendor_id\s*: (\w+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    capability = torch.backends.cpu.get_cpu_capability()
    return {"torch": torch.__version__, "num_threads": 1, "cpu": capability, "vendor": vendor[1] if vendor else None}


def losses(lab: Lab, run: str, environment: dict[str, str] | None = None) -> list[float]:
    """The loss of each step of a run."""
    model, overrides = OVERRIDES[run]
    name = run.replace(", ", "-")
    arguments = [f"{model}.yaml", f"name={name}", f"train.num_steps={NUM_STEPS}", "train.patience=null", *overrides]
    process = lab.command(*arguments, environment=environment)
    assert process.wait() == 0, process.stderr
    return [line["loss"] for line in lab.metrics(name) if line["split"] == "train"]


def write() -> None:
    """Put the losses of this version into the file."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        found = {"machine": machine(), "losses": {run: losses(lab, run) for run in OVERRIDES}}
    FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    write()
