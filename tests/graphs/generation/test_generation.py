"""Generated targets: those of transformers, of a slow and obvious search, alone and in batches, and what they may not be."""

import itertools
from typing import Any

import pytest
import torch
from pairs import BEGIN, END, SIZES, like_marian, marian, pair_batch
from torch import Tensor

from graphs.generation.beam_search import beam_search, top
from graphs.generation.options import GenerationOptions, Hypothesis
from graphs.generation.sampling import drawn_tokens, generate_rows
from graphs.generation.without_cache import WithoutCache
from graphs.models.encoder_decoder import EncoderDecoder

START = [BEGIN]


@pytest.fixture(scope="module")
def theirs() -> Any:
    return marian(spread=0.6, seed=2)


@pytest.fixture(scope="module")
def model(theirs: Any) -> EncoderDecoder:
    return like_marian(theirs)


def generated(model: Any, batch: Any, start: list[int] = START, **options: Any) -> list[list[Hypothesis]]:
    given = GenerationOptions(**{"max_length": 20} | options)
    search = generate_rows if given.beam_size == 1 else beam_search
    return search(model, batch.input_ids, batch.attention_mask, start, END, given)


# Other libraries, and the obvious.


@pytest.mark.parametrize(
    ("alpha", "early_stop", "num"), [(1.0, False, 200), (0.0, False, 60), (0.6, True, 60), (2.0, True, 60)]
)
def test_beam_search_is_that_of_transformers(
    theirs: Any, model: EncoderDecoder, alpha: float, early_stop: bool, num: int
) -> None:
    batch = pair_batch(num, (12, 2))
    expected = theirs.generate(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask.long(),
        num_beams=5,
        num_return_sequences=5,
        length_penalty=alpha,
        early_stopping=early_stop,
        max_length=21,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    found = generated(model, batch, length_penalty=alpha, early_stop=early_stop)
    lengths = [len(best[0].ids) + best[0].is_complete for best in found]
    assert min(lengths) < 6
    assert max(lengths) == 20, "targets of all lengths, and some that have no end"
    ids, scores = (each.view(num, 5, -1).tolist() for each in (expected.sequences, expected.sequences_scores))
    num_other = 0
    for ours, other, score in zip(found, ids, scores, strict=True):
        assert whole(ours[0]) == trimmed(other[0])
        assert [each.score for each in ours] == pytest.approx([value for (value,) in score], abs=5e-4)
        num_other += [whole(each) for each in ours] != [trimmed(each) for each in other]
    assert num_other <= 1, "where two are equally good but for rounding"


def test_greedy_search_is_that_of_transformers(theirs: Any, model: EncoderDecoder) -> None:
    batch = pair_batch(200, (12, 2))
    asked = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask.long()}
    expected = theirs.generate(**asked, num_beams=1, max_length=21, do_sample=False).tolist()
    for (ours,), ids in zip(generated(model, batch, beam_size=1), expected, strict=True):
        assert whole(ours) == trimmed(ids)


def whole(hypothesis: Hypothesis) -> list[int]:
    """With its beginning and its end."""
    return [BEGIN, *hypothesis.ids, *([END] if hypothesis.is_complete else [])]


def trimmed(ids: list[int]) -> list[int]:
    """Without what fills up a batch after the end."""
    return ids[: ids.index(END) + 1] if END in ids else ids


def test_a_wide_beam_finds_the_best_of_all_targets() -> None:
    """With 4 tokens and targets of at most 4 all can be tried."""
    torch.manual_seed(3)
    small = EncoderDecoder(4, **SIZES).eval()
    ids, mask = torch.tensor([[1, 2, 0], [2, 0, 0]]), torch.tensor([[True, True, True], [True, False, False]])
    found = beam_search(small, ids, mask, [1], 3, GenerationOptions(beam_size=64, max_length=4, length_penalty=0.7))
    for text in range(2):
        scores = {}
        for length in range(1, 5):
            for target in itertools.product(range(4), repeat=length):
                is_whole = target[-1] == 3 or length == 4
                if is_whole and 3 not in target[:-1]:
                    scores[target] = log_probability(small, ids[text], mask[text], [1], target) / length**0.7
        best = max(scores, key=lambda target: scores[target])
        assert (*found[text][0].ids, *([3] if found[text][0].is_complete else [])) == best
        assert found[text][0].score == pytest.approx(scores[best], abs=1e-5)


def log_probability(
    model: EncoderDecoder, ids: Tensor, mask: Tensor, start: list[int], target: tuple[int, ...]
) -> float:
    """Of a target, by the model as it trains."""
    given = torch.tensor([[*start, *target[:-1]]])
    batch = pair_batch(1)
    sizes = {
        "input_ids": ids[None, : int(mask.sum())],
        "attention_mask": torch.ones(1, int(mask.sum()), dtype=torch.bool),
    }
    sizes |= {
        "token_index": torch.arange(int(mask.sum())),
        "target_ids": given,
        "target_mask": torch.ones_like(given).bool(),
    }
    batch = type(batch)(**sizes, target_index=torch.arange(given.shape[1]))
    with torch.no_grad():
        scores = model(batch).log_softmax(dim=-1)[len(start) - 1 :]
    return float(scores[torch.arange(len(target)), torch.tensor(target)].sum())


@pytest.mark.parametrize("options", [{"beam_size": 1}, {"beam_size": 4}, {"beam_size": 2, "no_repeat_ngram": 2}])
def test_log_probabilities_are_those_of_the_training_model(model: EncoderDecoder, options: dict[str, int]) -> None:
    batch = pair_batch(8, (9, 2))
    for text, hypotheses in enumerate(generated(model, batch, **options)):
        for each in hypotheses:
            target = (*each.ids, *([END] if each.is_complete else []))
            expected = log_probability(model, batch.input_ids[text], batch.attention_mask[text], START, target)
            assert each.log_probability == pytest.approx(expected, abs=1e-3)


# The same in every way.


def test_greedy_is_a_beam_of_one(model: EncoderDecoder) -> None:
    batch = pair_batch(50, (12, 2))
    one = beam_search(
        model, batch.input_ids, batch.attention_mask, START, END, GenerationOptions(beam_size=1, max_length=20)
    )
    assert [found[0].ids for found in generated(model, batch, beam_size=1)] == [found[0].ids for found in one]


@pytest.mark.parametrize("options", [{"beam_size": 1}, {"beam_size": 5}, {"beam_size": 1, "sample": True}])
def test_each_alone_has_the_targets_of_the_batch(model: EncoderDecoder, options: dict[str, Any]) -> None:
    batch = pair_batch(20, (12, 2))
    given = GenerationOptions(max_length=20, **options)
    search: Any = beam_search if given.beam_size > 1 else generate_rows
    seeds: Any = (lambda *rows: {"seeds": rows, "num_rows": 3}) if given.sample else lambda *rows: {}
    whole = search(model, batch.input_ids, batch.attention_mask, START, END, given, **seeds(*range(20)))
    for text in range(20):
        size = int(batch.attention_mask[text].sum())
        ids, mask = batch.input_ids[text : text + 1, :size], batch.attention_mask[text : text + 1, :size]
        (alone,) = search(model, ids, mask, START, END, given, **seeds(text))
        assert [each.ids for each in alone] == [each.ids for each in whole[text]]


@pytest.mark.parametrize("beam_size", [1, 4])
def test_the_cache_changes_nothing(model: EncoderDecoder, beam_size: int) -> None:
    batch = pair_batch(30, (12, 2))
    cached, plain = (generated(each, batch, beam_size=beam_size) for each in (model, WithoutCache(model)))
    for ours, theirs in zip(cached, plain, strict=True):
        assert [each.ids for each in ours] == [each.ids for each in theirs]
        assert [each.score for each in ours] == pytest.approx([each.score for each in theirs], abs=1e-4)


# What targets may not be.


@pytest.mark.parametrize("beam_size", [1, 3])
def test_constraints_hold(model: EncoderDecoder, beam_size: int) -> None:
    batch = pair_batch(40, (12, 2))
    for found, *_ in generated(model, batch, beam_size=beam_size, min_length=7):
        assert len(found.ids) >= 7
        assert END not in found.ids
    for found, *_ in generated(model, batch, beam_size=beam_size, no_repeat_ngram=2, max_length=30):
        pairs = list(itertools.pairwise(found.ids))
        assert len(set(pairs)) == len(pairs)
    plain = generated(model, batch, beam_size=beam_size, max_length=30)
    assert any(len(set(itertools.pairwise(each[0].ids))) < len(each[0].ids) - 1 for each in plain), "they do repeat"


def test_a_target_goes_on_from_what_it_begins_with(model: EncoderDecoder) -> None:
    batch = pair_batch(10, (12, 2))
    (whole_,), *_ = generated(model, batch, beam_size=1, max_length=12)
    assert len(whole_.ids) > 3
    found = generated(model, batch, [BEGIN, *whole_.ids[:2]], beam_size=1, max_length=12)
    assert [*whole_.ids[:2], *found[0][0].ids] == whole_.ids
    start = [BEGIN, 9, 8, 7]
    for text, (best, *_) in enumerate(generated(model, batch, start, beam_size=3)):
        target = (*best.ids, *([END] if best.is_complete else []))
        expected = log_probability(model, batch.input_ids[text], batch.attention_mask[text], start, target)
        assert best.log_probability == pytest.approx(expected, abs=1e-3)
        assert len(target) + 3 <= 20, "the prefix counts"
    for beam_size in (1, 3):
        for best, *_ in generated(model, batch, start, beam_size=beam_size, no_repeat_ngram=1, max_length=15):
            assert len({*best.ids, 9, 8, 7}) == len(best.ids) + 3


def test_the_largest_are_found_in_blocks() -> None:
    values = torch.randn(3, 2, 9731, generator=torch.Generator().manual_seed(0))
    for num in (1, 10, 30):
        found, expected = top(values, num), values.topk(num, dim=-1)
        assert torch.equal(found[0], expected.values)
        assert torch.equal(found[1], expected.indices)


# Sampling.


def test_tokens_are_drawn_as_often_as_they_are_probable() -> None:
    log_probs = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05]).log().expand(1, 20000, 5)
    drawn = torch.rand(1, 20000, generator=torch.Generator().manual_seed(0))
    cases: dict[str, tuple[dict[str, Any], list[float]]] = {
        "all": ({}, [0.4, 0.3, 0.15, 0.1, 0.05]),
        "top_k": ({"top_k": 2}, [4 / 7, 3 / 7, 0, 0, 0]),
        "top_p": ({"top_p": 0.8}, [0.4 / 0.85, 0.3 / 0.85, 0.15 / 0.85, 0, 0]),
        "temperature": (
            {"temperature": 0.5},
            [0.16 / 0.285, 0.09 / 0.285, 0.0225 / 0.285, 0.01 / 0.285, 0.0025 / 0.285],
        ),
    }
    for name, (options, expected) in cases.items():
        tokens = drawn_tokens(log_probs, drawn, GenerationOptions(sample=True, **options))
        shares = torch.bincount(tokens[0], minlength=5) / 20000
        torch.testing.assert_close(shares, torch.tensor(expected), atol=0.012, rtol=0, msg=name)


def test_bad_options_are_named() -> None:
    for name, value in {
        "beam_size": 0,
        "max_length": 0,
        "top_p": 0.0,
        "temperature": 0.0,
        "top_k": 0,
        "length_penalty": -1.0,
    }.items():
        with pytest.raises(ValueError, match=f"^{name} must"):
            GenerationOptions(**{name: value})
    with pytest.raises(ValueError, match="min_length must be less than max_length 5, got 5"):
        GenerationOptions(min_length=5, max_length=5)
