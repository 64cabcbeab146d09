"""The constructor's signature is the schema: which options a part has, of which type, with which default.

The keyword-only parameters of a part's constructor are the options of its config section. Its positional parameters are sizes
known only from the data (`vocab_size`, `num_labels`): the agent passes them, and a config can never write them. Nothing is
declared twice, and a new option is one more keyword argument.
"""

import contextlib
import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, get_type_hints

from utils.config.config import Config, flatten
from utils.config.option_types import WORDS, convert, describe
from utils.errors import ConfigError

Part = Callable[..., Any]
REQUIRED = inspect.Parameter.empty


class Option(NamedTuple):
    """One option of a part, taken from its constructor."""

    name: str
    type: Any
    default: Any


class TorchPart(NamedTuple):
    """A class of torch with the names of its options worth setting: its signature also has internal ones."""

    build: Part
    options: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """What one section of a config may hold.

    parts: the table from which the section's `name` chooses; shared: the options that it has whichever part is chosen;
    default: the part's name where the section gives none; is_optional: whether leaving the section out leaves it empty;
    free: the options that two starts of a run may differ in, as they change how long or where it goes on, not what a step does.
    """

    parts: Mapping[str, Part | TorchPart] | None = None
    shared: Part | tuple[Part, ...] | None = None
    default: str | None = None
    is_optional: bool = False
    free: tuple[str, ...] = ()

    @property
    def shared_parts(self) -> tuple[Part, ...]:
        """What `shared` names, one or several."""
        return self.shared if isinstance(self.shared, tuple) else (self.shared,) if self.shared is not None else ()


def options_of(part: Part | TorchPart) -> dict[str, Option]:
    """The options of a part by name, in the order of its constructor.

    A class with a list of names as `fixed` has the options of the class that it extends, too, but for these.
    """
    build = part.build if isinstance(part, TorchPart) else part
    function = build.__init__ if inspect.isclass(build) else build
    hints, fixed = get_type_hints(function), getattr(build, "fixed", ())
    inherited = options_of(build.__base__) if fixed else {}  # type: ignore[attr-defined]
    found = {name: option for name, option in inherited.items() if name not in fixed}
    for name, parameter in inspect.signature(function).parameters.items():
        is_option = name in part.options if isinstance(part, TorchPart) else parameter.kind == parameter.KEYWORD_ONLY
        if is_option:
            found[name] = Option(name, hints.get(name, Any), parameter.default)
    return found


def sizes_of(part: Part | TorchPart) -> list[str]:
    """The names of the constructor's positional parameters: the sizes that the agent passes."""
    if isinstance(part, TorchPart):
        return []
    parameters = inspect.signature(part).parameters.values()
    return [p.name for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD]


def check_config(config: Config, sections: Mapping[str, Section], settings: Part, owner: str = "") -> None:
    """Check every section of a config by its part's signature and fill in the defaults; `settings` are the top-level values.

    owner: whose sections they are, for the messages; default: the config's agent
    """
    top, owner = options_of(settings), owner or f"agent {config.agent}"
    nulls = {key.partition(".")[0]: place for key, place in config.nulls.items()}
    for key in (*config, *nulls):
        if key not in sections and key not in top:
            hint = _sections_with(key, config, sections) or did_you_mean(key, [*top, *sections])
            raise ConfigError(f"{nulls.get(key) or config.place(key)}: {key} is not a section of {owner}{hint}")
    for key, place in config.nulls.items():
        _check_null(key, place, sections)
    given = {key: value for key, value in config.items() if key in top}
    config.update(_checked_options(config, "", given, top, owner))
    for key, section in sections.items():
        if key in config or not section.is_optional:
            values = check_section(config, key, section)
            config.pop(key, None)  # so that a saved config has every section in the agent's order
            config[key] = values


def _check_null(key: str, place: str, sections: Mapping[str, Section]) -> None:
    """Raise ConfigError for a null that removes nothing, unless it is an option of a part, which has its default then."""
    name, _, option = key.partition(".")
    if not option:
        return
    if name not in sections or "." in option:
        hint = f'; write "{option.rpartition(".")[2].replace(":", ": ", 1)}", with a space' if ":" in option else ""
        raise ConfigError(f"{place}: {key} has no value, and no base gives it one to remove{hint}")
    parts = [*(sections[name].parts or {}).values(), *sections[name].shared_parts]
    known = ["name", *dict.fromkeys(each for part in parts for each in options_of(part))]
    if option not in known:
        raise ConfigError(f"{place}: {key} is not an option of any part of {name}{did_you_mean(option, known)}")


def changed_defaults(config: Config) -> list[str]:
    """A line for each option of the file that an override dropped with its part, and that the new part has with another value."""
    now, lines = flatten(config.to_dict()), list[str]()
    for key, value in config.dropped.items():
        if now.get(key, value) != value:
            section = key.rpartition(".")[0]
            part = now.get(f"{section}.name", section)  # a section of one part has no name
            own, old = ("null" if each is None else each for each in (now[key], value))
            lines.append(
                f"{key} is {own}, the default of {part}, and {old} in {config.path}; give {key}, too, to keep that"
            )
    return lines


def _sections_with(option: str, config: Config, sections: Mapping[str, Section]) -> str:
    """ "; did you mean SECTION.option?" where parts that the config chooses have an option of this name, else an empty text."""
    found = []
    for key, section in sections.items():
        values, parts = config.get(key, {}), section.parts or {}
        name = values.get("name", section.default) if isinstance(values, Mapping) else section.default
        chosen = [parts[name]] if isinstance(name, str) and name in parts else []
        if any(option in options_of(part) for part in (*chosen, *section.shared_parts)):
            found.append(f"{key}.{option}")
    return f"; did you mean {' or '.join(found)}?" if found else ""


def check_section(config: Config, key: str, section: Section) -> dict[str, Any]:
    """One section, its values checked and its defaults filled in. Raises ConfigError at the line at fault."""
    values = config.get(key, {})
    if not isinstance(values, Mapping):
        hint = f"{key}: {{name: {values}}}" if section.parts else f"{key}: {{option: value}}"
        raise config.error(key, f"{key} must be a section, such as {hint}; got {values!r}")
    values, checked, part_name = dict(values), {}, key
    options: dict[str, Option] = {}
    if section.parts is not None:
        part_name = values.pop("name", section.default)
        if part_name is None:
            raise config.error(key, f"{key}.name is missing; known: {', '.join(section.parts)}")
        checked["name"] = part_name
        options |= options_of(lookup(section.parts, part_name, config, f"{key}.name"))
    for part in section.shared_parts:
        options |= options_of(part)
    return checked | _checked_options(config, f"{key}.", values, options, str(part_name))


def lookup(table: Mapping[str, Any], name: Any, config: Config, key: str) -> Any:
    """The entry of a registry, or a ConfigError that lists the known ones."""
    if not isinstance(name, str) or name not in table:
        raise config.error(key, f"{key}: {name!r} is unknown{did_you_mean(name, table)}; known: {', '.join(table)}")
    return table[name]


def construct(config: Config, key: str, part: Part | TorchPart, values: Mapping[str, Any], **sizes: Any) -> Any:
    """Build a part from the options of its section that it has and the sizes it asks for.

    A ValueError of the constructor becomes a ConfigError at the option that its message names, torch's RuntimeError for sizes
    that no memory can hold one at the section.
    """
    names = options_of(part)
    wanted = {name: sizes[name] for name in sizes_of(part) if name in sizes}
    build = part.build if isinstance(part, TorchPart) else part
    try:
        with blamed_on(config, key, values):
            return build(*wanted.values(), **{name: value for name, value in values.items() if name in names})
    except RuntimeError as error:
        message = str(error).partition("\n")[0]
        if re.search("overflow|allocate", message) is None:
            raise
        raise config.error(key, f"{key}: is too large for any memory ({message}); lower the sizes") from None


@contextlib.contextmanager
def blamed_on(config: Config, key: str, values: Mapping[str, Any]) -> Iterator[None]:
    """Turn a ValueError about a section's values into a ConfigError at the option that its message names."""
    try:
        yield
    except ValueError as error:
        message = str(error).partition("\n")[0]
        found = {match.start(): name for name in values if (match := re.search(rf"\b{re.escape(name)}\b", message))}
        place = ".".join(filter(None, (key, found[min(found)] if found else None)))  # the one that is named first
        raise config.error(place, f"{key}: {message}" if key else message) from None


def did_you_mean(word: Any, known: Iterable[str]) -> str:
    """ "; did you mean X?" where a known word is close, else an empty text."""
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _checked_options(
    config: Config, prefix: str, values: Mapping[str, Any], options: Mapping[str, Option], part_name: str
) -> dict[str, Any]:
    for name in values:
        if name not in options:
            known = did_you_mean(name, options) or f"; its options: {', '.join(options) or 'none'}"
            raise config.error(prefix + name, f"{prefix}{name} is not an option of {part_name}{known}")
    checked = {}
    for name, option in options.items():
        if name in values:
            checked[name] = _checked_value(config, prefix + name, values[name], option.type)
        elif option.default is REQUIRED:
            raise config.error(
                prefix.rstrip("."), f"{prefix}{name} is missing ({describe(option.type)}, needed by {part_name})"
            )
        else:
            checked[name] = list(option.default) if isinstance(option.default, tuple) else option.default
    return checked


def _checked_value(config: Config, key: str, value: Any, kind: Any) -> Any:
    try:
        return convert(value, kind)
    except (OverflowError, TypeError) as error:
        words = " or ".join(WORDS.get(word, word) for word in describe(kind).split(" or "))
        words = re.sub(r"\b(list|mapping) of", r"a \1 of", words)
        reason = f", which is {error}" if isinstance(error, OverflowError) else ""
        raise config.error(key, f"{key} must be {words}, got {value!r}{reason}") from None
