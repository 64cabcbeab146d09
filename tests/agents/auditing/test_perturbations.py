"""Small changes of texts, by hand."""

import random

import pytest

from agents.auditing.perturbations import (
    DIRECTIONAL,
    INVARIANT,
    NAMES,
    negation,
    other_names,
    perturbed,
    punctuation,
    typo,
    upper_case,
)

SEEDED = random.Random(0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The food is good and was hot.", "The food is not good and was hot."),
        ("It is not good, but they are.", "It is not good, but they are not."),
        ("It isn't bad", "It isn't bad"),
        ("they could n't", "they could n't"),
        ("this island was", "this island was not"),
        ("that's what I had", "that's what I had"),
    ],
)
def test_negation(text: str, expected: str) -> None:
    assert negation(text, SEEDED) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Good!", "Good"),
        ("Good ?!\n", "Good \n"),
        ("Good", "Good."),
        ("Good ", "Good. "),
        ("Mr. X", "Mr. X."),
        ("(a)", "(a)"),
    ],
)
def test_punctuation(text: str, expected: str) -> None:
    assert punctuation(text, SEEDED) == expected


def test_upper_case() -> None:
    assert upper_case("Ein Spaß", SEEDED) == "EIN SPASS"


@pytest.mark.parametrize("seed", range(20))
def test_a_typo_exchanges_two_neighbours_of_a_long_word(seed: int) -> None:
    text = "the 1234 quick ooo"
    found = typo(text, random.Random(seed))
    (first, second) = [i for i, (a, b) in enumerate(zip(text, found, strict=True)) if a != b]
    assert second == first + 1
    assert text[first] + text[second] == found[second] + found[first]
    assert 9 <= first < second <= 13


def test_nothing_to_mistype() -> None:
    assert typo("an ox oooo 12345", SEEDED) == "an ox oooo 12345"


def test_names_stay_the_same_ones_in_all_fields() -> None:
    text = "Mary met John. Mary and Susan left; maryland"
    one, two = perturbed((text, "Mary"), other_names, "seed")
    words = one.replace(".", "").replace(";", "").split()
    assert words[0] == words[3] == two != "Mary"
    assert words[0] in NAMES[1]
    assert words[2] in NAMES[0]
    assert len({words[0], words[5]}) == 2
    assert words[-1] == "maryland"


@pytest.mark.parametrize("name", [*INVARIANT, *DIRECTIONAL])
def test_the_seed_decides(name: str) -> None:
    text, change = "Mary Johnson was quite happy with the beautiful telephone", {**INVARIANT, **DIRECTIONAL}[name]
    assert perturbed((text,), change, "1") == perturbed((text,), change, "1") != (text,)
    assert change("", random.Random(0)) == ""
