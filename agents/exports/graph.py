"""A trained classifier as a graph for onnxruntime."""

from typing import Any

import numpy as np

from agents.exports.examples import texts_of
from agents.exports.exported_run import GRAPH, require_packages
from agents.running.predictor import Predictor
from datasets.batches.examples import EVALUATION
from graphs.conversion.onnx import to_int8, to_onnx
from graphs.models.text_classifier import TextClassifier
from utils.errors import ConfigError

TRACED = 3  # texts of the batch that the graph is made from; torch.export takes a size of 1 for a constant


def onnx_files(predictor: Predictor, lines: list[dict[str, Any]]) -> dict[str, bytes]:
    """{name: content} of the graph. Raises ConfigError for a model that is no text classifier."""
    require_packages("onnx", "onnxscript", "onnxruntime")
    if not isinstance(predictor.model, TextClassifier):
        raise ConfigError(f"{predictor.folder}: only text classifiers and regressors have an ONNX form")
    texts = [texts_of(predictor.corpus.fields, line) for line in lines[-TRACED:]]  # the longest is the last
    records = [record for record in predictor.reader("error").read(predictor.rows(texts)) if record is not None]
    batch = predictor.agent.encode(records).collate(np.arange(len(records)), EVALUATION)
    return {GRAPH: to_onnx(predictor.model, batch.fields)}


def int8_files(predictor: Predictor, lines: list[dict[str, Any]]) -> dict[str, bytes]:
    """{name: content} of the graph in 8 bits. Raises ConfigError for a run without labels, by which it would be judged."""
    if not hasattr(predictor.agent, "labels"):
        raise ConfigError(
            f"{predictor.folder}: int8 is judged by its labels, and a run of agent {predictor.config.agent} has none"
        )
    return {GRAPH: to_int8(onnx_files(predictor, lines)[GRAPH])}
