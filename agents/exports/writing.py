"""Writes a trained run in another form, once that form is seen to give the run's answers."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.exports.bundle import bundle_files
from agents.exports.encoder_decoder import encoder_decoder_files
from agents.exports.exported_run import EXAMPLES, RUN, VERSION, ExportedRun
from agents.exports.graph import int8_files, onnx_files
from agents.exports.hugging_face import hugging_face_files, to_json
from agents.exports.verifying import checks_of
from agents.running.abilities import Generates, Predicts, require
from agents.running.predictor import Predictor
from agents.running.trained_run import TrainedRun
from utils.errors import ConfigError
from utils.files.sealed import sealed
from utils.files.storage import new_folder, read_regular, refuse_existing, write_synced
from utils.machine.environment import versions
from utils.runs.saved import CONFIG, EXPORT

Files = dict[str, bytes]  # by their names in the export's folder
FORMATS: dict[str, Callable[[Predictor, list[dict[str, Any]]], Files]] = {
    "hf": hugging_face_files,
    "onnx": onnx_files,
    "int8": int8_files,
    "bundle": bundle_files,
}


def export_run(folder: Path, out: Path, format: str, data: Path | None) -> dict[str, Any]:
    """Write the new folder `out`; -> how its answers compare with the run's, empty for a run that answers no rows.

    data: texts for the comparison; None for the run's own. Raises ConfigError for a run that has no such form, and CheckpointError,
    without leaving a folder, for an export that does not pass.
    """
    predictor = Predictor(folder)
    run = predictor.run
    if isinstance(run, ExportedRun):
        raise ConfigError(
            f"{folder}: is an export; export the run that it was made of ({run.export['source']['name']})"
        )
    refuse_existing(out)
    is_generation = format == "hf" and isinstance(predictor.agent, Generates)
    if format == "hf" and not is_generation and not isinstance(predictor.agent, Predicts):  # a masked language model
        publish(out, hugging_face_files(predictor, []), lambda temporary: None)
        return {}
    if not is_generation:
        require(run, Predicts, f"be exported as {format}")
    checks, is_gated = checks_of(predictor), format == "int8"
    lines = checks.examples_of(predictor, data, is_gated=is_gated)
    files = (encoder_decoder_files if is_generation else FORMATS[format])(predictor, lines) | run_files(run, lines)
    export = export_values(run, format, files)

    def check(temporary: Path) -> None:
        write_synced(temporary / EXPORT, to_json(sealed(export)))
        export["check"] = checks.compared(Predictor(temporary), lines)
        checks.refuse_different(export["check"], is_gated=is_gated, place=str(out))
        write_synced(temporary / EXPORT, to_json(sealed(export)))

    publish(out, files, check)
    return dict(export["check"])


def publish(out: Path, files: Files, check: Callable[[Path], None]) -> None:
    """Write a new folder with the files; it gets its name unless `check` of it raises."""
    with new_folder(out, sum(map(len, files.values()))) as temporary:
        for name, content in files.items():
            (temporary / name).parent.mkdir(exist_ok=True)
            write_synced(temporary / name, content)
        check(temporary)


def run_files(run: TrainedRun, lines: list[dict[str, Any]]) -> Files:
    """What every form keeps of a run: its config, its tokenizer and labels, and the examples."""
    kept = {CONFIG: read_regular(run.folder / CONFIG), **run.artifacts.files()}
    files = {f"{RUN}/{name}": text.encode() if isinstance(text, str) else text for name, text in kept.items()}
    return files | {EXAMPLES: "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()}


def export_values(run: TrainedRun, format: str, files: Files) -> dict[str, Any]:
    """The values of EXPORT.json, without the check."""
    return {
        "version": VERSION,
        "format": format,
        "source": {"name": run.config.name, "checkpoint": run.checkpoint.name, "sha256": run.sha256},
        "facts": run.facts,
        "environment": versions(),
        "files": {name: sha256(content) for name, content in files.items()},
    }


def sha256(content: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(content).hexdigest()
