"""A config file, its bases and the command line's overrides -> one Config that knows where each key was written.

Loading makes no folder, prints nothing and builds nothing; what the keys mean is checked in utils/config/schema.py.
"""

import difflib
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from easydict import EasyDict

from utils.config import strict_yaml
from utils.errors import ConfigError

COMMAND_LINE = "command line"
RUNS = Path("experiments")
MAX_NAME = 100  # bytes of a run's name that is made here
Shared = Mapping[str, Collection[str]]  # {section: the options that it has whatever its part is}


class Values(EasyDict):  # type: ignore[misc]
    """Attribute access to every key but the names of dict's methods, such as the label `items` in class_weights."""

    def __setattr__(self, name: str, value: Any) -> None:
        value = Values(value) if isinstance(value, dict) else value
        if hasattr(EasyDict, name):
            dict.__setitem__(self, name, value)
        else:
            super().__setattr__(name, value)

    __setitem__ = __setattr__


class Config(MutableMapping[str, Any]):
    """A run's settings, by key or by attribute: `config.train.batch_size`.

    free: the dotted keys that two starts of one run may differ in; dropped: {dotted key: value} of the options of the file that
    went when an override chose another part for their section.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        path: Path,
        places: Mapping[str, str],
        free: Collection[str] = (),
        dropped: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.values_by_key = Values(values)  # held, not inherited: EasyDict would take our methods for keys
        self.path, self.places, self.free, self.dropped = path, dict(places), free, dropped

    def __getattr__(self, key: str) -> Any:
        try:
            return self.__dict__["values_by_key"][key]
        except KeyError:
            raise AttributeError(key) from None

    def __getitem__(self, key: str) -> Any:
        return self.values_by_key[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.values_by_key[key] = value

    def __delitem__(self, key: str) -> None:
        del self.values_by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_key)

    def __len__(self) -> int:
        return len(self.values_by_key)

    def place(self, key: str) -> str:
        """Where `key`, or else the section around it, was written: FILE:LINE, or "command line"."""
        while key and key not in self.places:
            key = key.rpartition(".")[0]
        return self.places[key] if key else str(self.path)

    def error(self, key: str, message: str) -> ConfigError:
        """The one-line error for `key`: its place, then the message."""
        return ConfigError(f"{self.place(key)}: {message}")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain dicts and lists."""
        return _plain(self.values_by_key)

    def fixed(self) -> dict[str, Any]:
        """{dotted key: value} of what all starts of a run have in common: all but the free keys."""
        return {key: value for key, value in flatten(self.to_dict()).items() if key not in self.free}

    def to_yaml(self, *, is_ascii: bool = False) -> str:
        """The settings as YAML that load_config reads back to the same values."""
        return strict_yaml.dump(self.to_dict(), is_ascii=is_ascii)


def load_config(
    path: str | Path,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    shared: Shared = MappingProxyType({}),
    free: Collection[str] = (),
) -> Config:
    """Read a config file with its bases; overrides are `key=value` words or a mapping of dotted keys to values.

    shared: the options that stay where a later file or override chooses another part for their section; free: see `Config`.
    """
    path = Path(path)
    values, places = _load_file(path, (), shared)
    pairs = list(_plain(overrides).items()) if isinstance(overrides, Mapping) else _parse_overrides(overrides)
    given = flatten(values)
    # A section comes before its options, and its changed part before the part's options.
    for key, value in sorted(pairs, key=lambda pair: (pair[0].count("."), not pair[0].endswith(".name"))):
        _override(values, places, shared, key, value)
    kept = flatten(values).keys() | dict(pairs).keys()  # an option that is removed by null is not dropped
    config = Config(values, path, places, free, {key: value for key, value in given.items() if key not in kept})
    config.setdefault("name", _default_name(path, pairs, free))
    return config


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings -> {dotted key: value}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _load_file(
    path: Path, seen: tuple[Path, ...], shared: Shared, named_at: str = ""
) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of a file and its bases, and where each was written; named_at: the place that names this file as a base."""
    text, own = _read(path, named_at), path.resolve()
    if own in seen:
        raise ConfigError(f"{named_at}leads back to a file above it ({' -> '.join(f.name for f in (*seen, own))})")
    parsed = strict_yaml.parse(text, str(path))
    if not isinstance(parsed.value, dict):
        raise ConfigError(f"{path}: a config is a mapping of sections (agent:, data:, model:, ...)")
    values, places = parsed.value, {".".join(key): f"{path}:{line}" for key, line in parsed.lines.items()}
    if "base" not in values:
        return _merge({}, values), places
    base = values.pop("base")
    if not isinstance(base, str):
        raise ConfigError(f"{places['base']}: base must be the path of a config, got {base!r}")
    base_values, base_places = _load_file(path.parent / base, (*seen, own), shared, f"{places['base']}: base: ")
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
        raise ConfigError(f"{named_at}{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


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


def _is_other_part(old: dict[str, Any], new: dict[str, Any]) -> bool:
    name = new.get("name")  # a number is the weight of a label that is called so
    return isinstance(name, str) and name != old.get("name")


def _parse_overrides(words: Sequence[str]) -> list[tuple[str, Any]]:
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


def _override(values: dict[str, Any], places: dict[str, str], shared: Shared, key: str, value: Any) -> None:
    *sections, last = key.split(".")
    if len(sections) > strict_yaml.MAX_DEPTH:
        raise ConfigError(f"{COMMAND_LINE}: {key[:40]}... is nested deeper than {strict_yaml.MAX_DEPTH} levels")
    nested: dict[str, Any] = {last: value}
    for section in reversed(sections):
        nested = {section: nested}
    inner = list(_all_keys(nested))
    if "" in key.split("."):
        raise ConfigError(f"{COMMAND_LINE}: {key} cannot be a key")
    node: Any = values
    for depth, section in enumerate(sections):
        node = node.get(section, {})
        if not isinstance(node, dict):
            raise ConfigError(f"{COMMAND_LINE}: {key}: {'.'.join(sections[: depth + 1])} is a value, not a section")
    merged = _merge(values, nested, shared)
    values.clear()
    values.update(merged)
    kept = _kept(places, merged)
    places.clear()
    places.update(kept | {name: COMMAND_LINE for name in inner if name.startswith(key) or name not in kept})


def _default_name(path: Path, pairs: list[tuple[str, Any]], free: Collection[str]) -> str:
    """The file's stem, and -key=value for every override that makes it another run; of a long one the beginning, and a hash.

    A run that an earlier version made under the long name goes on.
    """
    pairs = [(key, value) for key, value in pairs if not flatten({key: value}).keys() <= set(free)]
    words = path.stem + "".join([f"-{key}={_word(value)}" for key, value in pairs])
    name = "".join("_" if c in "/\\" or not c.isprintable() else c for c in words.replace(" ", ""))
    encoded = name.encode("utf-8", "replace")
    if len(encoded) <= MAX_NAME or os.path.isdir(RUNS / name):  # noqa: PTH112  # Path.is_dir raises for a name that is too long
        return name
    digest = hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()[:12]
    return f"{encoded[: MAX_NAME - 13].decode('utf-8', 'ignore')}-{digest}"


def _word(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def _similar_files(path: Path) -> str:
    others = sorted({*path.parent.glob("*.y*ml"), *Path("configs").glob("*.y*ml")} if len(path.name) < 256 else [])
    if close := difflib.get_close_matches(path.stem, [other.stem for other in others], n=1):
        return f"; did you mean {next(other for other in others if other.stem == close[0])}?"
    return f"; there are {', '.join(map(str, others))}" if others else f"; there is no YAML file in {path.parent}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_word(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
