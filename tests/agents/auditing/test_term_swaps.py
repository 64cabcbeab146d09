"""Swaps by hand: whole words, case, no word exchanged twice; groups by terms; files at fault."""

from pathlib import Path

import pytest

from agents.auditing.terms import Swap, by_terms, in_case_of, read_groups, read_swaps
from utils.errors import ConfigError

PAIRS = Swap("gender", [["he", "she"], ["man", "woman"]])


def swapped(swap: Swap, text: str) -> list[str]:
    return [variant.texts[0] for variant in swap.variants((text,))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("he saw the man", "she saw the woman"),
        ("She said he knew.", "He said she knew."),  # not back again
        ("HE! He? he", "SHE! She? she"),
        ("the other theme, a manner, he_x", None),  # whole words alone
        ("(man)-woman's", "(woman)-man's"),
        ("nobody", None),
    ],
)
def test_pairs(text: str, expected: str | None) -> None:
    assert swapped(PAIRS, text) == ([] if expected is None else [expected])


def test_a_set_of_three_has_two_variants_and_a_pair_beside_it_is_exchanged_in_both() -> None:
    swap = Swap("s", [["gay", "straight", "bisexual"], ["he", "she"]])
    assert swapped(swap, "he is gay") == ["she is straight", "she is bisexual"]
    assert swapped(swap, "he is bisexual") == ["she is gay", "she is straight"]
    assert swapped(swap, "he") == ["she"]


def test_a_longer_term_goes_first_and_every_field_is_changed() -> None:
    swap = Swap("s", [["african american", "white"], ["african", "european"]])
    (variant,) = swap.variants(("An African American man", "african food"))
    assert variant.texts == ("An White man", "european food")
    assert variant.exchanged == ["african american → white", "african → european"]


def test_signs_in_terms_are_no_pattern() -> None:
    assert swapped(Swap("s", [["c++", "c#"]]), "C++ and c#, cxx") == ["C# and c++, cxx"]


@pytest.mark.parametrize(
    ("found", "old", "new", "expected"),
    [
        ("Christian", "Christian", "Muslim", "Muslim"),
        ("christian", "Christian", "Muslim", "Muslim"),
        ("I", "I", "we", "we"),
        ("A", "a", "the", "The"),
        ("GAY", "gay", "straight", "STRAIGHT"),
    ],
)
def test_case(found: str, old: str, new: str, expected: str) -> None:
    assert in_case_of(found, old, new) == expected


def test_groups_by_terms() -> None:
    groups = {"women": ["she", "woman"], "men": ["he", "man"]}
    texts = [("She, a woman",), ("a man",), ("he and she",), ("it",), ("no", "MAN")]
    assert by_terms(texts, groups) == ["women", "men", "(several)", "(none)", "men"]


def written(folder: Path, text: str) -> Path:
    path = folder / "terms.yaml"
    path.write_text(text)
    return path


def test_files(tmp_path: Path) -> None:
    (swap,) = read_swaps(written(tmp_path, "- [he, she]\n- [man, woman]\n"))
    assert (swap.name, swap.sets) == ("terms", [["he", "she"], ["man", "woman"]])
    assert [swap.name for swap in read_swaps(written(tmp_path, "a: [[x, y]]\nb: [[x, z]]\n"))] == ["a", "b"]
    assert read_groups(written(tmp_path, "old: [old, elderly]\nname: [young]\n")) == {
        "old": ["old", "elderly"],
        "name": ["young"],
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be a mapping"),
        ("a: [he, she]", ":1: a must be a list of sets of at least two terms"),
        ("a: []", "a must be a list of sets"),
        ("a: [[he]]", "a must be a list of sets"),
        ("x: [[b, c]]\na: [[his, her], [him, her]]", ":2: a: 'her' is given twice"),
        ("a: [[1, 2]]", "a: 1 is not a term; write it in quotes"),
        ("a: [[yes, 'no'], [' ', b]]", "' ' is not a term"),
        ("a: [[x", "terms.yaml:1: "),
    ],
)
def test_swaps_at_fault(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_swaps(written(tmp_path, text))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: he", "a must be a list of terms"),
        ("a: [he]\nb: [She, HE]", ":2: b: 'HE' is given twice"),
        ("a: []", "a must be"),
    ],
)
def test_groups_at_fault(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_groups(written(tmp_path, text))
    assert words in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        read_swaps(tmp_path / "none.yaml")


@pytest.mark.parametrize("found", ["iran", "IRAN", "\u0130ran", "\u0131ran"])
def test_turkish_letters_are_found_as_the_pattern_finds_them(found: str) -> None:
    swap = Swap("film", [["film", "iran"]])
    assert swapped(swap, f"the {found} is good")[0].lower() == "the film is good"
