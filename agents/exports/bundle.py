"""A trained run as one folder: what prediction needs, and what it is: weights, report, environment, model card."""

import importlib.metadata
from typing import Any

import safetensors.torch

from agents.exports.exported_run import WEIGHTS
from agents.exports.hugging_face import to_json
from agents.exports.model_card import model_card
from agents.running.predictor import Predictor
from utils.files.sealed import sealed
from utils.machine.environment import environment_facts
from utils.runs.saved import REPORT

CARD, ENVIRONMENT = "README.md", "environment.json"
PACKAGES = ("torch", "numpy", "scipy", "safetensors", "tokenizers")


def bundle_files(predictor: Predictor, lines: list[dict[str, Any]]) -> dict[str, bytes]:
    """{name: content}. A run that has not finished has no report."""
    run, version = predictor.run, importlib.metadata.version
    environment = environment_facts(predictor.device) | {name: version(name) for name in PACKAGES}
    card = model_card(run.config, list(run.artifacts.labels), run.report, run.facts, len(lines))
    files = {
        WEIGHTS: safetensors.torch.save(run.weights(), metadata={"format": "pt"}),
        ENVIRONMENT: to_json(environment),
        CARD: card.encode(),
    }
    if run.report:
        files[REPORT] = to_json(sealed(run.report))
    return files
