"""Terms in texts: exchanged for others of their set (counterfactual swaps), and found, to group texts by them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agents.auditing.audited_file import NONE
from datasets.tokenizers.tokens import num_unknown
from utils.config import strict_yaml
from utils.errors import ConfigError, unreadable

SEVERAL = "(several)"  # the group of texts with terms of several groups
Texts = tuple[str, ...]


class Swapped(NamedTuple):
    """Texts of a record with other terms, and what was exchanged: "he → she"."""

    texts: Texts
    exchanged: list[str]


class Terms:
    """Finds terms as whole words, the longest first, whatever their case."""

    def __init__(self, terms: Sequence[str]) -> None:
        alternatives = "|".join(re.escape(term) for term in sorted(terms, key=len, reverse=True))
        self.pattern = re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)", re.IGNORECASE)
        self.written = {folded(term): term for term in terms}

    def in_text(self, text: str) -> set[str]:
        """The terms in a text, as they are written in the list."""
        return {self.written[folded(found)] for found in self.pattern.findall(text)}


def folded(term: str) -> str:
    """A term without its case; like re.IGNORECASE, and unlike casefold, with the Turkish letters as an i."""
    return term.replace("\u0130", "i").replace("\u0131", "i").casefold()


class Swap:
    """A named exchange: each term of a set becomes the next of its set, all of them at once, so that none is exchanged twice."""

    def __init__(self, name: str, sets: Sequence[Sequence[str]]) -> None:
        self.name, self.sets = name, sets
        self.terms = Terms([term for own in sets for term in own])
        self.place = {term: (own, i) for own in sets for i, term in enumerate(own)}

    def variants(self, texts: Texts) -> list[Swapped]:
        """Of sets of k terms k - 1 variants of a text that has a term of them: each term moved on by 1, 2, ... in its set."""
        found = set().union(*map(self.terms.in_text, texts))
        size = max((len(self.place[term][0]) for term in found), default=1)
        return [self._moved(texts, shift) for shift in range(1, size)]

    def _moved(self, texts: Texts, shift: int) -> Swapped:
        exchanged: dict[str, None] = {}

        def other(match: re.Match[str]) -> str:
            old = self.terms.written[folded(match[0])]
            own, place = self.place[old]
            new = own[(place + (shift - 1) % (len(own) - 1) + 1) % len(own)]
            exchanged[f"{old} → {new}"] = None
            return in_case_of(match[0], old, new)

        return Swapped(tuple(self.terms.pattern.sub(other, text) for text in texts), list(exchanged))


def in_case_of(found: str, old: str, new: str) -> str:
    """The new term in the case of the one found, where that differs from how the old one is written in the list."""
    if found == old:
        return new
    if found.isupper() and len(found) > 1:
        return new.upper()
    return new[:1].upper() + new[1:] if found[:1].isupper() else new


def unknown_terms(tokenizer: Any, terms: Sequence[str]) -> list[str]:
    """The terms of which a run's tokenizer knows no token. To the model all of them are one: exchanging two changes nothing."""
    ignored = [tokenizer.unknown_id, *tokenizer.special.ids]
    return [term for term in terms if num_unknown([tokenizer.encode([term])], ignored)]


def read_swaps(path: Path) -> list[Swap]:
    """{name: [[he, she], [man, woman]]}: one exchange a name; a bare list is one. Raises ConfigError."""
    swaps = []
    for name, (place, sets) in _entries(path).items():
        is_list = isinstance(sets, list) and bool(sets)
        if not is_list or not all(isinstance(own, list) and len(own) > 1 for own in sets):
            raise ConfigError(
                f"{place}: {name} must be a list of sets of at least two terms, such as [[he, she], [man, woman]]"
            )
        _check_terms(place, name, [term for own in sets for term in own])
        swaps.append(Swap(name, sets))
    return swaps


def read_groups(path: Path) -> dict[str, list[str]]:
    """{group: [terms]}. Raises ConfigError at the line at fault."""
    groups: dict[str, list[str]] = {}
    for name, (place, terms) in _entries(path).items():
        if not isinstance(terms, list) or not terms:
            raise ConfigError(f"{place}: {name} must be a list of terms, such as [woman, women]")
        groups[name] = terms
        _check_terms(place, name, [term for own in groups.values() for term in own])
    return groups


def _entries(path: Path) -> dict[str, tuple[str, Any]]:
    """{name: (FILE:LINE, what the file holds under it)}."""
    try:
        parsed = strict_yaml.parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(unreadable(path, error)) from None
    values = {path.stem: parsed.value} if isinstance(parsed.value, list) else parsed.value
    if not isinstance(values, dict) or not values:
        raise ConfigError(f"{path}: must be a mapping of names to lists of terms")
    return {name: (f"{path}:{parsed.lines.get((name,), 1)}", value) for name, value in values.items()}


def _check_terms(place: str, name: str, terms: Sequence[Any]) -> None:
    """Raise ConfigError for what is no word, and for a word in two places, of which nobody knows which is meant."""
    seen = set()
    for term in terms:
        if not isinstance(term, str) or not term.strip():
            raise ConfigError(f"{place}: {name}: {term!r} is not a term; write it in quotes")
        if folded(term) in seen:
            raise ConfigError(f"{place}: {name}: {term!r} is given twice; a term can have one place only")
        seen.add(folded(term))


def by_terms(texts: Sequence[Texts], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """The group of each text: the one whose terms it holds, or (none), or (several)."""
    terms = Terms([term for own in groups.values() for term in own])
    group_of = {term: name for name, own in groups.items() for term in own}
    found = [{group_of[term] for text in own for term in terms.in_text(text)} for own in texts]
    return [NONE if not names else min(names) if len(names) == 1 else SEVERAL for names in found]
