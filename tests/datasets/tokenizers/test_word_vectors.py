"""Word vectors as GloVe and word2vec write them, and the line of what is wrong."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED_DATA, tiny_rows
from refusals import refusal

from datasets.tokenizers.word_vectors import WordVectors
from main import main
from utils.errors import DataError

IDS = {"<pad>": 0, "<unk>": 1, "the": 2, "café": 3, "absent": 4}
GLOVE = "the 1 2.5\nother 0 0\ncafé -1e-3 .5\n"


def read(path: Path, text: str | bytes, size: int = 2) -> dict[str, list[float]]:
    """The vectors that were found, by word."""
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    rows, vectors = WordVectors(path=str(path)).read(IDS, size)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(rows), size)
    return {list(IDS)[row]: vector.round(4).tolist() for row, vector in zip(rows, vectors, strict=True)}


FOUND = {"the": [1.0, 2.5], "café": [-0.001, 0.5]}
FORMATS = {
    "GloVe": GLOVE,
    "word2vec": f"3 2\n{GLOVE}",
    "a space at the end": GLOVE.replace("\n", " \n"),
    "CRLF": GLOVE.replace("\n", "\r\n"),
    "no last line end": GLOVE.rstrip(),
    "a word with spaces": f"{GLOVE}. . . 1 2\nat name@domain.com 3 4\n",
    "a word of bytes": GLOVE.encode() + b"\xff\xfe 1 2\n",
    "the first of a repeated word": f"{GLOVE}the 7 7\n",
    "a byte order mark": f"\ufeff{GLOVE}",
    "a byte order mark and a header": f"\ufeff3 2\n{GLOVE}",
    "blank lines": "\n \n" + GLOVE.replace("\n", "\n\n"),
    "tabs": GLOVE.replace(" ", "\t"),
    "a tab after the word": "\n".join(line.replace(" ", "\t", 1) for line in GLOVE.split("\n")),
    "several spaces": GLOVE.replace(" ", "   "),
    "the vector of a space": f"{GLOVE}  3 4\n",
    "a word with a space of Unicode": f"{GLOVE}a\u00a0b 3 4\n",
    "a broken number of a word that is not needed": f"{GLOVE}useless 7 x\n",
}


@pytest.mark.parametrize("name", ["vectors.txt", "vectors.txt.gz"])
@pytest.mark.parametrize("kind", FORMATS)
def test_the_words_of_the_vocabulary_are_found(tmp_path: Path, kind: str, name: str) -> None:
    found = read(tmp_path / name, FORMATS[kind])
    assert found.keys() == FOUND.keys()
    assert all(found[word] == pytest.approx(FOUND[word]) for word in FOUND)


REFUSED = {
    "too few numbers": ("other 1 2\nthe 1\n", ":2: has 1 numbers; model.embedding_size is 2"),
    "too many numbers": ("the 1 2\nother 1 2 3\n", ":2: has 3 numbers; model.embedding_size is 2"),
    "another size": ("the 1 2 3 4\n", ":1: has 4 numbers; model.embedding_size is 2"),
    "another size after a header": ("1 4\nthe 1 2 3 4\n", ":2: has 4 numbers; model.embedding_size is 2"),
    "a header that is none": ("the 1\nother 1 2\n", ":1: has 1 numbers"),
    "a line without an end": ("the 1 2\n" + "1" * 1_000_001, ":2: is longer than 1,000,000 bytes; no vector is"),
    "no number": ("other 1 2\nthe 1 x\n", ":2: not a word and its 2 numbers"),
    "not finite": ("the 1 nan\n", ":1: holds a number that is not finite"),
    "infinite": ("the inf 1\n", ":1: holds a number that is not finite"),
    "too large for 32 bits": ("the 1e39 1\n", ":1: holds a number that is not finite"),
    "none of the words": ("other 1 2\n", ": has none of the 5 words of the vocabulary"),
    "empty": ("", ": has none of the 5 words of the vocabulary"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_line_of_a_bad_vector_is_named(tmp_path: Path, case: str) -> None:
    text, message = REFUSED[case]
    with pytest.raises(DataError) as error:
        read(tmp_path / "vectors.txt", text)
    assert str(error.value).startswith(f"{tmp_path / 'vectors.txt'}{message}")


@pytest.mark.parametrize("case", REFUSED)
def test_bad_vectors_end_a_run_before_its_first_step(
    workplace: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    text, message = REFUSED[case]
    (workplace / "vectors.txt").write_text(text)
    last = refusal(capsys, "vectors.path=vectors.txt", "model.embedding_size=2")
    assert last.startswith(f"vectors.txt{message.partition(' 5 words')[0]}")
    assert not list(workplace.glob("experiments/*/checkpoints/*"))


def test_what_is_no_file_of_vectors_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        WordVectors(path=str(tmp_path / "none.txt")).read(IDS, 2)
    (tmp_path / "plain.gz").write_text(GLOVE)
    os.mkfifo(tmp_path / "pipe")  # without a writer
    for path in (tmp_path, tmp_path / "plain.gz", tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DataError, match=str(path)):
            WordVectors(path=str(path)).read(IDS, 2)


def test_a_resumed_run_needs_the_vectors_no_more(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = sorted({word for row in tiny_rows() for word in row["text"].split()})
    lines = "".join(f"{word} {i / 10} {-i / 10}\n" for i, word in enumerate(words))
    options = ["vectors.path=vectors.txt", "vectors.freeze=true", "model.embedding_size=2", "data.fields=[text]"]
    reports = {}
    for name in ("whole", "halves"):
        (workplace / "vectors.txt").write_text(lines)
        if name == "halves":
            assert main(["tiny.yaml", "name=halves", *options, "train.num_epochs=1"]) == 0
            (workplace / "vectors.txt").unlink()
        assert main(["tiny.yaml", f"name={name}", *options, "train.num_epochs=3"]) == 0
        reports[name] = json.loads(Path("experiments", name, "report.json").read_bytes())["test"]
        assert main(["tiny.yaml", f"name={name}", *options, "train.num_epochs=3"]) == 0  # finished: does nothing
    assert reports["whole"]["loss"] == reports["halves"]["loss"]
    capsys.readouterr()
    assert main(["tiny.yaml", "name=third", *options]) == 3
    assert "vectors.txt: no such file" in capsys.readouterr().err.splitlines()[-1]


SAMPLE = SHARED_DATA / "glove_sample"


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="needs the samples of GloVe beside the project")
@pytest.mark.parametrize("size", [100, 300])
def test_a_piece_of_the_real_glove_is_read(size: int) -> None:
    path = SAMPLE / f"glove.6B.{size}d.sample.txt.gz"
    words = [line.split(" ")[0] for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    rows, vectors = WordVectors(path=str(path)).read({word: i for i, word in enumerate(words)}, size)
    assert rows.tolist() == list(range(100))
    assert np.isfinite(vectors).all()
    assert 3 < np.linalg.norm(vectors, axis=1).mean() < 9
    with pytest.raises(DataError, match=f"has {size} numbers; model.embedding_size is 50"):
        WordVectors(path=str(path)).read({"the": 0}, 50)
