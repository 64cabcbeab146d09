"""A text given by hand: the row that it would be in a file."""

from collections.abc import Mapping
from typing import Any

from datasets.formats.rows import Row
from datasets.rows.corpus import Corpus
from datasets.rows.records import Record
from utils.errors import DataError


def fields_of(corpus: Corpus, text: Any) -> dict[str, Any]:
    """A bare text, or what stands in place of one, as the last field. Raises DataError where that leaves half of a pair out."""
    *others, last = corpus.fields
    if corpus.needs_all_fields:
        raise DataError(f'this run reads pairs: give each text as {{"{others[0]}": "...", "{last}": "..."}}')
    return {**dict.fromkeys(others, ""), last: text}


def given_record(corpus: Corpus, text: str | Mapping[str, Any], answer: str | None) -> Record:
    """A text, or its fields, with the answer as a file would hold it, or None. Raises DataError."""
    values = dict(text) if isinstance(text, Mapping) else fields_of(corpus, text)
    if answer is not None and corpus.target.column is not None:
        values[corpus.target.column] = answer
    return one_record(corpus, values, has_target=answer is not None)


def one_record(corpus: Corpus, values: dict[str, Any], *, has_target: bool = True) -> Record:
    """The record of a row given by hand. Raises DataError where it is none."""
    reader = corpus.reader(has_target=has_target, on_bad_row="error", skip_option=None, needs_id=False)
    (record,) = reader.read([Row("command line", values)])
    assert record is not None
    return record
