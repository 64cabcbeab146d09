"""A config file, its bases and the command line's overrides -> one Config that knows where each key was written.

Loading makes no folder, prints nothing and builds nothing; what the keys mean is checked in utils/config/schema.py.
"""

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from easydict import EasyDict

from utils.config import strict_yaml
from utils.config.merging import COMMAND_LINE, Shared, load_file, nested, nulls_of, override, parse_overrides
from utils.errors import ConfigError

RUNS = Path("experiments")
MAX_NAME = 100  # bytes of a run's name that is made here


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
    went when an override chose another part for their section; nulls: {dotted key: place} of nulls that removed nothing, whose
    names nothing else would check.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        path: Path,
        places: Mapping[str, str],
        free: Collection[str] = (),
        dropped: Mapping[str, Any] = MappingProxyType({}),
        nulls: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.values_by_key = Values(values)  # held, not inherited: EasyDict would take our methods for keys
        self.path, self.places, self.free, self.dropped, self.nulls = path, dict(places), free, dropped, nulls

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
    nulls: dict[str, str] = {}
    values, places = load_file(path, (), shared, nulls)
    pairs = list(_plain(overrides).items()) if isinstance(overrides, Mapping) else parse_overrides(overrides)
    given = flatten(values)
    # A section comes before its options, and its changed part before the part's options.
    for key, value in sorted(pairs, key=lambda pair: (pair[0].count("."), not pair[0].endswith(".name"))):
        nulls |= dict.fromkeys(nulls_of(values, nested(key, value)), COMMAND_LINE)
        override(values, places, shared, key, value)
    kept = flatten(values).keys() | dict(pairs).keys()  # an option that is removed by null is not dropped
    dropped = {key: value for key, value in given.items() if key not in kept}
    config = Config(values, path, places, free, dropped, nulls)
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


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_word(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
