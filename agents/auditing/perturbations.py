"""Small changes of a text after which a classifier should say the same, or less surely so (CheckList, Ribeiro et al. 2020).

Each is a function of a text and a random generator, and gives the text itself where it does not apply.
"""

import random
import re
from collections.abc import Callable

NAMES = [  # frequent in the USA, and rarely words of another meaning
    [
        "James",
        "Robert",
        "John",
        "Michael",
        "David",
        "William",
        "Richard",
        "Joseph",
        "Thomas",
        "Daniel",
        "Matthew",
        "Anthony",
    ],
    [
        "Mary",
        "Patricia",
        "Jennifer",
        "Linda",
        "Elizabeth",
        "Barbara",
        "Susan",
        "Jessica",
        "Sarah",
        "Karen",
        "Lisa",
        "Nancy",
    ],
]
LONG_WORD = re.compile(r"[^\W\d_]{4,}")
ANY_NAME = re.compile(rf"\b(?:{'|'.join(name for own in NAMES for name in own)})\b")
FINAL_MARKS = re.compile(r"[.!?…]+(?=\s*$)")
VERB = re.compile(
    r"(?<![\w'\u2019])(?:is|are|was|were|will|can|could|should|would|must)(?![\w'\u2019])(?!\s+n[o'\u2019]t)"
)


def typo(text: str, generator: random.Random) -> str:
    """Exchange two neighbouring letters inside a word of at least four."""
    places = [
        i for word in LONG_WORD.finditer(text) for i in range(word.start(), word.end() - 1) if text[i] != text[i + 1]
    ]
    if not places:
        return text
    i = generator.choice(places)
    return text[:i] + text[i + 1] + text[i] + text[i + 2 :]


def upper_case(text: str, generator: random.Random) -> str:
    """The text in capitals."""
    return text.upper()


def punctuation(text: str, generator: random.Random) -> str:
    """Without its final marks, or with a full stop where there are none."""
    stripped = FINAL_MARKS.sub("", text)
    return stripped if stripped != text else re.sub(r"(?<=\w)(\s*)$", r".\1", text, count=1)


def other_names(text: str, generator: random.Random) -> str:
    """Other first names of the same list for those of NAMES: the same name stays the same one, others stay different."""
    shift = generator.randrange(1, len(NAMES[0]))
    place = {name: (own, i) for own in NAMES for i, name in enumerate(own)}

    def other(match: re.Match[str]) -> str:
        own, i = place[match[0]]
        return own[(i + shift) % len(own)]

    return ANY_NAME.sub(other, text)


def negation(text: str, generator: random.Random) -> str:
    """`not` after the first form of to be or modal verb that has none."""
    return VERB.sub(lambda match: f"{match[0]} not", text, count=1)


Perturbation = Callable[[str, random.Random], str]
INVARIANT: dict[str, Perturbation] = {
    "typo": typo,
    "upper case": upper_case,
    "punctuation": punctuation,
    "names": other_names,
}
DIRECTIONAL: dict[str, Perturbation] = {"negation": negation}


def perturbed(texts: tuple[str, ...], change: Perturbation, seed: str) -> tuple[str, ...]:
    """Every field changed by the same random numbers; the same for the same seed on every machine."""
    return tuple(change(text, random.Random(seed)) for text in texts)
