"""Scores the examples of an export again."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

from agents.exports import examples, pair_examples
from agents.exports.exported_run import EXAMPLES, ExportedRun, verified
from agents.running.abilities import Generates
from agents.running.predictor import Predictor
from utils.errors import CheckpointError
from utils.runs.saved import EXPORT


def checks_of(predictor: Predictor) -> ModuleType:
    """What its answers are compared by: `examples_of`, `compared` and `refuse_different`."""
    return pair_examples if isinstance(predictor.agent, Generates) else examples


def verify(folder: Path) -> dict[str, Any]:
    """How its answers compare with those of the run that it was made of. Raises CheckpointError where they differ, or a file."""
    predictor = Predictor(folder)
    run = predictor.run
    if not isinstance(run, ExportedRun):
        raise CheckpointError(f"{folder}: is a run, not an export of one ({EXPORT} is missing)")
    content = verified(folder, EXAMPLES, run.export)  # bytes, which U+2028 in a text does not cut into lines
    lines = [json.loads(line) for line in content.splitlines()]
    checks = checks_of(predictor)
    result: dict[str, Any] = checks.compared(predictor, lines)
    checks.refuse_different(result, is_gated=run.format == "int8", place=str(folder))
    return result
