"""Print every registered part with a one-line summary; for a section, or one part, also its options.

Everything is taken from the code: options from the constructor's signature, and the sentence on each from a line of its own in
the docstring of the class, or of a base class:

    dropout: dropout probability of the hidden layers
"""

import argparse
import inspect
import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from utils.errors import ConfigError

ANY, SECTION, TOP = "(any)", "(section)", "(top level)"  # for options that do not belong to one part
HINT = "options: python main.py list SECTION, such as model; or list SECTION PART, such as model bilstm"
SUMMARY = "print all agents, models, losses, ... and their options"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The section, its part and the form."""
    parser.add_argument(
        "section",
        metavar="SECTION",
        nargs="?",
        help="a section of a config, such as model, or an option, such as train.patience",
    )
    parser.add_argument(
        "part", metavar="PART", nargs="?", help="one part of it, such as bilstm, and the options that all have"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(options: argparse.Namespace) -> None:
    """Print the tables."""
    parts = describe_parts()
    section, _, part = (options.section or "").partition(".")
    if part in parts.get(section, ()) and options.part is None:  # model.bilstm
        options.section, options.part = section, part
    if options.section is not None and options.section not in parts and options.part is None:
        parts = with_option(parts, options.section)
    elif options.section is not None:
        parts = {options.section: chosen(parts, options.section, "section")}
    if options.part is not None:
        (table,) = parts.values()
        part = chosen(table, options.part, f"part of {options.section}")
        parts = {options.section: {options.part: part} | {name: table[name] for name in table if _is_shared(name)}}
    text = as_text(parts) if options.section is not None else as_names(parts)
    print(json.dumps(parts, indent=1) if options.json else text)


def with_option(parts: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The parts that have an option such as train.patience, or patience of any section, with it alone. Raises ConfigError."""
    section, _, option = path.rpartition(".")
    tables = {section: chosen(parts, section, "section")} if section else parts
    found = {
        key: {
            name: part | {"options": {option: part["options"][option]}}
            for name, part in table.items()
            if option in part["options"]
        }
        for key, table in tables.items()
    }
    if not any(found.values()):
        known = {name: None for table in tables.values() for part in table.values() for name in part["options"]}
        if section:
            chosen(known, option, f"option of {section}")
        chosen(parts, option, "section or option", also=known)
    return {key: table for key, table in found.items() if table}


def chosen(table: Mapping[str, Any], name: str, kind: str, also: Iterable[str] = ()) -> Any:
    """The entry of that name. also: other names that may have been meant. Raises ConfigError."""
    from utils.config.schema import did_you_mean

    if name not in table:
        raise ConfigError(
            f"list: there is no {kind} {name!r}{did_you_mean(name, [*table, *also])}; known: {', '.join(table)}"
        )
    return table[name]


def describe_parts() -> dict[str, Any]:
    """{section: {part: {"summary", "options": {option: {"type", "default", "about"}}}}}; "required": no default."""
    from agents import AGENTS
    from utils.config.run_settings import RunSettings

    found: dict[str, Any] = {
        "agent": {name: {"summary": _summary(agent), "options": {}} for name, agent in AGENTS.items()},
        TOP: {SECTION: _describe(RunSettings)},
    }
    tables: dict[str, dict[str, Any]] = {}
    for agent in AGENTS.values():
        for key, section in agent.sections.items():
            tables.setdefault(key, {}).update(section.parts or {})
    for key, parts in tables.items():
        found[key] = {name: _describe(part) for name, part in parts.items()}
        owners: dict[Any, list[str]] = {}
        for name, agent in AGENTS.items():
            for part in agent.sections[key].shared_parts if key in agent.sections else ():
                owners.setdefault(part, []).append(name)
        num_agents = sum(key in agent.sections for agent in AGENTS.values())
        for part, names in owners.items():
            title = (ANY if parts else SECTION) if len(names) == num_agents else f"(agent {', '.join(names)})"
            found[key][title] = _describe(part)
    of_agents: dict[str, list[str]] = {}
    for name, agent in AGENTS.items():
        of_agents.setdefault(", ".join(agent.metrics), []).append(name)
    found["metrics"] = {", ".join(agents): {"summary": names, "options": {}} for names, agents in of_agents.items()}
    return found


def as_names(parts: Mapping[str, Any]) -> str:
    """A line for each part; for a section without parts, the names of its options."""
    lines = []
    for section, table in parts.items():
        lines.append(f"{section}:")
        for name, part in table.items():
            lines += _wrapped(name, ", ".join(part["options"]) if _is_shared(name) else part["summary"])
    return "\n".join([*lines, "", HINT])


def as_text(parts: Mapping[str, Any]) -> str:
    """The tables as indented text."""
    lines = []
    for section, table in parts.items():
        lines.append(f"{section}:")
        for name, part in table.items():
            lines += _wrapped(name, part["summary"])
            for option, facts in part["options"].items():
                lines.append(f"      {option}: {facts['type']} = {as_yaml(facts['default'])}")
                lines += [f"          {facts['about']}"] if facts["about"] else []
        lines.append("")
    return "\n".join(lines).rstrip()


def _wrapped(name: str, words: str) -> list[str]:
    return textwrap.wrap(f"  {name}: {words}", 130, subsequent_indent="      ")


def as_yaml(value: Any) -> str:
    """A default as written in a config."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_yaml, value))}]"
    return (value or "''") if isinstance(value, str) else json.dumps(value)


def _is_shared(name: str) -> bool:
    return name.startswith("(")


def _describe(part: Any) -> dict[str, Any]:
    from utils.config.option_types import describe
    from utils.config.schema import REQUIRED, TorchPart, options_of

    sentences = {} if isinstance(part, TorchPart) else sentences_of(part)
    options = {
        option.name: {
            "type": describe(option.type),
            "default": "required" if option.default is REQUIRED else option.default,
            "about": sentences.get(option.name, ""),
        }
        for option in options_of(part).values()
    }
    build = part.build if isinstance(part, TorchPart) else part
    is_torchs = build.__module__.startswith("torch.")
    summary = f"torch.optim.{build.__name__}" if is_torchs else _summary(build)
    return {"summary": summary, "options": options}


def _summary(part: Any) -> str:
    return (inspect.getdoc(part) or "").partition("\n")[0]


def sentences_of(part: Any) -> dict[str, str]:
    """{option: sentence}; a class' own lines override those of its base classes."""
    classes = reversed(getattr(part, "__mro__", (part,)))
    docs = [inspect.cleandoc(each.__doc__ or "") for each in classes]
    return {name: words for doc in docs for name, words in re.findall(r"^(\w+): (.+)$", doc, flags=re.MULTILINE)}
