"""YAML without its traps: `1e-4` is a float, `no` is a word, a key given twice is an error.

Every value keeps the line it was written on, so that later checks can name it. The scalars are those of YAML 1.2's core
schema (https://yaml.org/spec/1.2.2/, 10.3.2) in lower case, less octal and hexadecimal numbers.
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
    """A safe loader with its own rules of what a bare word means; it knows no aliases, no tags and no deep nesting."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 (PyYAML's own class attribute: none of YAML 1.1's rules)
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _marked(event, f"the alias *{event.anchor} is not allowed; write the value out")
        if event.tag is not None:
            raise _marked(event, f"the tag {event.tag.replace(TAG, '!!')} is not allowed; write a plain value")
        if self.depth > MAX_DEPTH:  # stop here: reading on takes time that grows with the square of the depth
            raise _marked(event, f"nested deeper than {MAX_DEPTH} levels")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class StrictDumper(yaml.SafeDumper):
    """Writes what StrictLoader reads back to the same values: it quotes a text that would be read as a number."""

    yaml_implicit_resolvers = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.Node:
        """In double quotes, where they are escaped, if it holds line ends that YAML would turn into spaces."""
        return self.represent_scalar(TAG + "str", text, style='"' if re.search("[\r\x85\u2028\u2029]", text) else None)


StrictDumper.add_representer(str, StrictDumper.represent_text)

for _tag, _pattern, _first in [
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", list("tf")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", list("-+.0123456789")),
]:
    for _side in (StrictLoader, StrictDumper):
        _side.add_implicit_resolver(TAG + _tag, re.compile(f"^(?:{_pattern})$"), _first)

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
    if any("\ud800" <= character <= "\udfff" for character in text):  # how Python takes in bytes that are no UTF-8
        raise ConfigError(f"{source}: holds bytes that are not UTF-8; if it is a path, rename the file or link to it")
    if len(text.encode()) > MAX_BYTES:
        raise ConfigError(f"{source}: larger than {MAX_BYTES // 1024} KB; a config is short")
    try:
        node = yaml.compose(text, StrictLoader)
        parsed = Parsed(None)
        parsed.value = None if node is None else _build(node, (), parsed.lines)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        hint = "; indent with spaces" if "'\\t'" in str(error.problem) else ""
        raise ConfigError(f"{source}:{line}: {', '.join(filter(None, (error.context, error.problem)))}{hint}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{source}: not YAML: {str(error).splitlines()[0]}") from None
    return parsed


def dump(values: Any, *, is_ascii: bool = False) -> str:
    """Plain values -> YAML text that `parse` reads back to the same values."""
    return yaml.dump(values, Dumper=StrictDumper, sort_keys=False, allow_unicode=not is_ascii)


def _build(node: yaml.Node, path: Path, lines: dict[Path, int]) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(node, path, lines)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, str(i)), lines) for i, item in enumerate(node.value)]
    kind = node.tag.removeprefix(TAG)
    try:
        if kind == "float" and re.fullmatch(r"[-+]?0[0-9]+", node.value):
            raise _marked(node, f"{node.value} has a leading zero; write {int(node.value)} or '{node.value}'")
        node.value.encode()  # an escape such as "\ud800" is no character, and could not be written to any file
        return SCALARS[kind](node.value)
    except ValueError:
        raise _marked(node, f"{node.value[:40]!a} cannot be read as {kind}") from None


def _build_mapping(node: yaml.MappingNode, path: Path, lines: dict[Path, int]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise _marked(key_node, "a key must be a word, not a list or mapping")
        key = key_node.value
        key.encode()  # as of a value
        if key in mapping:
            first = lines[(*path, key)]
            raise _marked(key_node, f"{'.'.join((*path, key))} is given twice (first on line {first})")
        lines[(*path, key)] = key_node.start_mark.line + 1
        mapping[key] = _build(value_node, (*path, key), lines)
    return mapping


def _marked(place: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)
