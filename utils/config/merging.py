"""Config files over their bases, and the command line's overrides over both: key by key, and where each was written."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from utils.config import strict_yaml
from utils.errors import ConfigError, unreadable

COMMAND_LINE = "command line"
Shared = Mapping[str, Collection[str]]  # {section: the options that it has whatever its part is}


def load_file(
    path: Path, seen: tuple[Path, ...], shared: Shared, nulls: dict[str, str], named_at: str = ""
) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of a file and its bases, and where each was written; named_at: the place that names this file as a base.

    nulls: gets those of these files that remove nothing.
    """
    text, own = _read(path, named_at), path.resolve()
    if own in seen:
        raise ConfigError(f"{named_at}leads back to a file above it ({' -> '.join(f.name for f in (*seen, own))})")
    parsed = strict_yaml.parse(text, str(path))
    if not isinstance(parsed.value, dict):
        raise ConfigError(f"{path}: a config is a mapping of sections (agent:, data:, model:, ...)")
    values, places = parsed.value, {".".join(key): f"{path}:{line}" for key, line in parsed.lines.items()}
    if "base" not in values:
        nulls |= {key: places[key] for key in nulls_of({}, values)}
        return _merge({}, values), places
    base = values.pop("base")
    if not isinstance(base, str):
        raise ConfigError(f"{places['base']}: base must be the path of a config, got {base!r}")
    base_values, base_places = load_file(path.parent / base, (*seen, own), shared, nulls, f"{places['base']}: base: ")
    nulls |= {key: places[key] for key in nulls_of(base_values, values)}
    merged = _merge(base_values, values, shared)
    return merged, _kept(base_places, merged) | places


def _read(path: Path, named_at: str) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(strict_yaml.MAX_BYTES + 1)  # no more than shows that it is too large: it may have no end
    except FileNotFoundError:
        raise ConfigError(f"{named_at}{path}: no such config{_similar_files(path)}") from None
    except IsADirectoryError:
        raise ConfigError(f"{named_at}{path}: is a folder; a config is a file, such as configs/bilstm.yaml") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{named_at}{unreadable(path, error)}") from None


def _kept(places: dict[str, str], values: Mapping[str, Any]) -> dict[str, str]:
    """The places of keys that are still there: a section of another part must not be blamed on the old part's lines."""
    keys = set(_all_keys(values))
    return {key: place for key, place in places.items() if key in keys}


def _all_keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted keys of all sections and values."""
    for key, value in values.items():
        yield prefix + key
        if isinstance(value, Mapping):
            yield from _all_keys(value, f"{prefix}{key}.")


def _merge(base: dict[str, Any], new: dict[str, Any], shared: Shared = MappingProxyType({})) -> dict[str, Any]:
    """Key by key; None removes a key; of a section that names another part only the shared options stay."""
    merged = dict(base)
    for key, value in new.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            old = before if isinstance(before := base.get(key), dict) else {}
            kept = shared.get(key, ()) if _is_other_part(old, value) else old
            merged[key] = _merge({name: old[name] for name in old if name in kept}, value)
        else:
            merged[key] = value
    return merged


def nulls_of(base: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted keys of `new` that are null, and so remove a key, but of none that the base has."""
    for key, value in new.items():
        old = base.get(key)
        if value is None and old is None:
            yield prefix + key
        elif isinstance(value, dict):
            yield from nulls_of(old if isinstance(old, dict) else {}, value, f"{prefix}{key}.")


def _is_other_part(old: dict[str, Any], new: dict[str, Any]) -> bool:
    name = new.get("name")  # a number is the weight of a label that is called so
    return isinstance(name, str) and name != old.get("name")


def parse_overrides(words: Sequence[str]) -> list[tuple[str, Any]]:
    """`key=value` words as keys and values; each value is YAML. Raises ConfigError."""
    pairs: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"{COMMAND_LINE}: {word!r} is not key=value, such as optimizer.lr=3e-4")
        if key in pairs:
            raise ConfigError(f"{COMMAND_LINE}: {key} is given twice")
        if not text:
            what = f"{COMMAND_LINE}: {key}= is empty (a variable of the shell that is not set?)"
            raise ConfigError(f"{what}; write {key}=null to remove the option")
        try:
            pairs[key] = strict_yaml.parse(text, key).value
        except ConfigError as error:
            raise ConfigError(f"{COMMAND_LINE}: {str(error).replace(f'{key}:1:', f'{key}:', 1)}") from None
    return list(pairs.items())


def override(values: dict[str, Any], places: dict[str, str], shared: Shared, key: str, value: Any) -> None:
    """Merge one dotted key into the values, and note where it was written. Raises ConfigError for what is no key."""
    sections, given = key.split(".")[:-1], nested(key, value)
    inner = list(_all_keys(given))
    if "" in key.split("."):
        raise ConfigError(f"{COMMAND_LINE}: {key} cannot be a key")
    node: Any = values
    for depth, section in enumerate(sections):
        node = node.get(section, {})
        if not isinstance(node, dict):
            raise ConfigError(f"{COMMAND_LINE}: {key}: {'.'.join(sections[: depth + 1])} is a value, not a section")
    merged = _merge(values, given, shared)
    values.clear()
    values.update(merged)
    kept = _kept(places, merged)
    places.clear()
    places.update(kept | {name: COMMAND_LINE for name in inner if name.startswith(key) or name not in kept})


def nested(key: str, value: Any) -> dict[str, Any]:
    """A dotted key with its value as a section. Raises ConfigError for too many levels."""
    *sections, last = key.split(".")
    if len(sections) > strict_yaml.MAX_DEPTH:
        raise ConfigError(f"{COMMAND_LINE}: {key[:40]}... is nested deeper than {strict_yaml.MAX_DEPTH} levels")
    found: dict[str, Any] = {last: value}
    for section in reversed(sections):
        found = {section: found}
    return found


def _similar_files(path: Path) -> str:
    others = sorted({*path.parent.glob("*.y*ml"), *Path("configs").glob("*.y*ml")} if len(path.name) < 256 else [])
    if close := difflib.get_close_matches(path.stem, [other.stem for other in others], n=1):
        return f"; did you mean {next(other for other in others if other.stem == close[0])}?"
    return f"; there are {', '.join(map(str, others))}" if others else f"; there is no YAML file in {path.parent}"
