"""The types of options: a value checked against one, and one in words."""

import contextlib
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

WORDS = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false"}


def convert(value: Any, kind: Any) -> Any:
    """The value as `kind`: an int serves as a float, nothing else is converted.

    Raises TypeError where it does not fit, OverflowError for a number that is not finite or beyond 64 bits.
    """
    origin, members = get_origin(kind), get_args(kind)
    if kind is Any or (origin is Literal and value in members and type(value) in map(type, members)):
        return value
    if origin in (Union, types.UnionType):
        for member in members:
            with contextlib.suppress(TypeError):
                return convert(value, member)
    if origin in (list, tuple) and isinstance(value, list | tuple):
        if origin is tuple and len(value) != len(members):
            raise TypeError
        return [convert(item, members[i] if origin is tuple else members[0]) for i, item in enumerate(value)]
    if origin is dict and isinstance(value, Mapping):
        return {convert(name, members[0]): convert(item, members[1]) for name, item in value.items()}
    if (kind is float and type(value) in (int, float)) or (kind is int and type(value) is int):
        return kind(_in_range(value))
    if kind in (str, bool, type(None)) and type(value) is kind:
        return value
    raise TypeError


def _in_range(value: float) -> float:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise OverflowError("beyond 64 bits")
    if not math.isfinite(value):
        raise OverflowError("not finite")
    return value


def describe(kind: Any) -> str:
    """A type in words: "int", "list of str", "one of max, mean"."""
    if get_origin(kind) is Literal:
        return "one of " * (len(get_args(kind)) > 1) + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) in (Union, types.UnionType):
        members = [member for member in get_args(kind) if getattr(member, "__name__", "") != "Tensor"]
        return " or ".join("null" if member is type(None) else describe(member) for member in members)
    if get_origin(kind) is list:
        return f"list of {describe(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return f"mapping of {describe(get_args(kind)[0])} to {describe(get_args(kind)[1])}"
    if get_origin(kind) is tuple:
        return "[" + ", ".join(describe(member) for member in get_args(kind)) + "]"
    return getattr(kind, "__name__", str(kind))
