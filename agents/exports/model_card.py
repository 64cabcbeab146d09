"""A model card (Mitchell et al. 2019, https://arxiv.org/abs/1810.03993) of a run, with the head that Hugging Face reads."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from utils.analysis.paired import wilson_interval
from utils.config.config import Config
from utils.errors import counted, printable

MAX_LABELS = 30
TASKS = {"classification": "text-classification", "regression": "text-classification"}  # as Hugging Face names them


def model_card(
    config: Config, labels: Sequence[str], report: Mapping[str, Any], facts: Mapping[str, Any], num_examples: int
) -> str:
    """The card as Markdown. report: of the run, or empty; facts: of its checkpoint; num_examples: texts with expected answers."""
    lines = [
        f"---\n{_head(config, report)}---\n",
        f"# {_text(config.name)}\n",
        f"A trained {config.model.name} model: {_task(config, labels)}.\n",
        *_section("Data", _data(config, report, facts)),
        *_section("Results", _results(report)),
        *_section("Limits", _limits(config, report)),
        *_section("Use", _use(num_examples)),
        *_section("Training", _training(config, report)),
    ]
    return "\n".join(lines)


def _section(title: str, lines: Iterator[str]) -> list[str]:
    return [f"## {title}\n", *lines, ""]


def _head(config: Config, report: Mapping[str, Any]) -> str:
    """The YAML that Hugging Face reads: the task, and the test's figures as a model index."""
    task = TASKS.get(config.agent, config.agent)
    values: dict[str, Any] = {"pipeline_tag": task, "tags": [config.model.name, config.agent]}
    if metrics := [{"type": name, "value": value, "name": name} for name, value in _scalars(report)]:
        data = {"name": config.data.name, "type": config.data.name, "split": "test"}
        result = {"task": {"type": task}, "dataset": data, "metrics": metrics}
        values["model-index"] = [{"name": config.name, "results": [result]}]
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _task(config: Config, labels: Sequence[str]) -> str:
    fields = " and ".join(map(_text, config.data.fields))
    if not labels:
        return f"{fields} -> a number"
    shown = ", ".join(map(_text, labels[:MAX_LABELS])) + (", ..." if len(labels) > MAX_LABELS else "")
    kind = f"any number of {len(labels)} labels" if config.data.multi_label else f"one of {len(labels)} labels"
    return f"{fields} -> {kind} ({shown})"


def _data(config: Config, report: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    files = ", ".join(_text(config.data[split]) for split in ("train", "valid", "test") if config.data.get(split))
    yield f"- source: {_text(config.data.name)}{f' ({files})' if files else ''}"
    for split in ("train", "valid", "test"):
        if counts := report.get("data", {}).get(split):
            yield f"- {split}: {counts['used']:,} of {counts['read']:,} rows"
    yield f"- hash: {facts.get('data', 'not known')}"
    yield from (f"- warning: {_text(line)}" for line in report.get("data", {}).get("warnings", []))


def _results(report: Mapping[str, Any]) -> Iterator[str]:
    if not report.get("test"):
        yield "The run has no report of a test."
        return
    number = report["data"]["test"]["used"]
    yield f"On {counted(number, 'test text')}; in brackets the 95% interval (Wilson 1927).\n"
    yield "| metric | test |\n| --- | ---: |"
    for name, value in _scalars(report):
        yield f"| {name} | {value:.4f}{_interval(value, number) if name == 'accuracy' else ''} |"
    if "per_class" in report["test"]:
        yield "\n| label | precision | recall | F1 | texts |\n| --- | ---: | ---: | ---: | ---: |"
    for label, row in list(report["test"].get("per_class", {}).items())[:MAX_LABELS]:
        yield f"| {_text(label)} | {row['precision']:.4f} | {row['recall']:.4f} | {row['f1']:.4f} | {row['support']} |"


def _scalars(report: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The figures of the test."""
    return [(name, value) for name, value in (report.get("test") or {}).items() if isinstance(value, float)]


def _interval(share: float, number: int) -> str:
    low, high = wilson_interval(round(share * number), number)
    return f" [{low:.4f}, {high:.4f}]"


def _limits(config: Config, report: Mapping[str, Any]) -> Iterator[str]:
    yield "- It was measured on texts like those it was trained on; on others, of another year or language, nothing is known."
    if config.data.max_length is not None and config.data.long_texts != "windows":
        share = report.get("data", {}).get("truncated", {}).get("test")
        cut = "" if share is None else f", as {100 * share:.0f}% of the test texts were"
        yield f"- Texts of more than {config.data.max_length} tokens are truncated (`{config.data.long_texts}`){cut}."
    unmeasured = [label for label, row in report.get("test", {}).get("per_class", {}).items() if not row["support"]]
    if unmeasured:
        yield f"- Not measured, as the test has no text of them: {', '.join(map(_text, unmeasured[:MAX_LABELS]))}."
    yield "- Its probabilities are not calibrated, and differences between groups of people were not measured."


def _use(num_examples: int) -> Iterator[str]:
    yield "    python main.py verify FOLDER                       # the files, and the answers to the texts in it"
    yield '    python main.py predict FOLDER --text "..."\n'
    yield f"`EXAMPLES.jsonl` holds {num_examples} texts of the run's data with the answers that this model gives."


def _training(config: Config, report: Mapping[str, Any]) -> Iterator[str]:
    if train := report.get("train"):
        yield f"- {counted(train['epochs'], 'epoch')}, {counted(train['steps'], 'step')}, {train['seconds']:.0f} s"
        yield f"- {counted(report['parameters'], 'parameter')}"
        yield f"- {', '.join(f'{name} {value}' for name, value in report['versions'].items())}"
    yield f"- seed {config.seed}; initial weights: {_text(config.init_from or 'random')}; every option: `run/config.yaml`"


def _text(value: Any) -> str:
    """A name from a config or from data, that is no Markdown."""
    return printable(str(value)).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
