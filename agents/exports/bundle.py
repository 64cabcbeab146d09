"""bundle"""
from typing import Any
from agents.running.predictor import Predictor
def bundle_files(predictor: Predictor, lines: list[dict[str, Any]]) -> dict[str, bytes]:
    return {}
