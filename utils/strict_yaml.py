"""YAML without its traps: `1e-4` is a float, `no` is a word, a key given twice is an error.

Every value keeps the line it was written on, so that later checks can name it. The scalars are those of YAML 1.2's core
schema (https://yaml.org/spec/1.2.2/, 10.3.2) less octal and hexadecimal numbers.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

from utils.errors import ConfigError

Path = tuple[str, ...]
MAX_BYTES, MAX_DEPTH = 256 * 1024, 20
TAG = "tag:yaml.org,2002:"


class StrictLoader(yaml.SafeLoader):
    """A safe loader with its own rules of what a bare word means."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 (PyYAML's own class attribute: none of YAML 1.1's rules)


for _tag, _pattern, _first in [
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", list("tf")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", list("-+.0123456789")),
]:
    StrictLoader.add_implicit_resolver(TAG + _tag, re.compile(f"^(?:{_pattern})$"), _first)

SCALARS: dict[str, Callable[[str], Any]] = {
    "null": lambda text: None,
    "bool": lambda text: text == "true",
    "int": int,
    "float": lambda text: float(text.replace(".inf", "inf").replace(".nan", "nan")),
    "str": str,
}


@dataclass
class Parsed:
    """A parsed document: plain values, and the line (from 1) of every key."""

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)


def parse(text: str, source: str) -> Parsed:
    """YAML text -> values and lines; `source` names the text in errors. Raises ConfigError and nothing else."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise ConfigError(f"{source}: larger than {MAX_BYTES // 1024} KB; a config is short")
    try:
        for event in yaml.parse(text, StrictLoader):
            if isinstance(event, yaml.AliasEvent):
                raise _error(source, event, f"the alias *{event.anchor} is not allowed; write the value out")
        node = yaml.compose(text, StrictLoader)
        parsed = Parsed(None)
        parsed.value = None if node is None else _build(node, (), parsed.lines, source)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{source}:{line}: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{source}: not YAML: {str(error).splitlines()[0]}") from None
    return parsed


def _build(node: yaml.Node, path: Path, lines: dict[Path, int], source: str) -> Any:
    if len(path) > MAX_DEPTH:
        raise _error(source, node, f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(node, path, lines, source)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, str(i)), lines, source) for i, item in enumerate(node.value)]
    kind = node.tag.removeprefix(TAG)
    if kind not in SCALARS:
        raise _error(source, node, f"the tag {node.tag} is not allowed; write a plain value")
    if kind == "float" and re.fullmatch(r"[-+]?0[0-9]+", node.value):
        raise _error(source, node, f"{node.value} has a leading zero; write {int(node.value)} or '{node.value}'")
    return SCALARS[kind](node.value)


def _build_mapping(node: yaml.MappingNode, path: Path, lines: dict[Path, int], source: str) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = key_node.value
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != TAG + "str":
            raise _error(source, key_node, f"the key {key!r} is not a word")
        if key in mapping:
            first = lines[(*path, key)]
            raise _error(source, key_node, f"{'.'.join((*path, key))} is given twice (first on line {first})")
        if hasattr(dict, key):
            raise _error(source, key_node, f"{'.'.join((*path, key))} cannot be a key: it is a method of dict")
        lines[(*path, key)] = key_node.start_mark.line + 1
        mapping[key] = _build(value_node, (*path, key), lines, source)
    return mapping


def _error(source: str, place: Any, message: str) -> ConfigError:
    return ConfigError(f"{source}:{place.start_mark.line + 1}: {message}")
