"""Which weights are the best: the highest value, and within its noise the smallest loss."""

import math

import pytest

from utils.errors import ConfigError, NonFiniteError
from utils.training.run_state import RunState
from utils.training.settings import TrainSettings
from utils.training.validation import describe, judge, noise_of

SETTINGS = TrainSettings(monitor="+accuracy", patience=3)


def judged(pairs: list[tuple[float, float]], num_texts: int = 400, settings: TrainSettings = SETTINGS) -> RunState:
    """The state after validations of (accuracy, loss) at steps 1, 2, ..."""
    state = RunState()
    for accuracy, loss in pairs:
        state.count_step(0.0, 1, 1)
        judge({"accuracy": accuracy, "loss": loss}, state, settings, num_texts)
    return state


# Of 400 texts half a standard error at 0.8 is sqrt(0.8 * 0.2 / 400) / 2 = 0.01, four texts.
@pytest.mark.parametrize(
    ("pairs", "best_step", "num_bad"),
    [
        ([(0.795, 0.5), (0.8, 1.3)], 1, 0),  # a tie: the smaller loss stays, and patience begins again with the higher value
        ([(0.8, 1.3), (0.795, 0.5)], 2, 1),
        ([(0.785, 0.5), (0.8, 1.3)], 2, 0),  # beyond the noise
        ([(0.8, 1.3), (0.785, 0.5)], 1, 1),
        ([(0.8, 0.5), (0.8, 0.4)], 2, 1),
        ([(0.8, 0.5), (0.8, 0.5)], 1, 1),
        ([(0.795, 0.5), (0.8, 0.5)], 2, 0),  # of equal losses the higher value
        ([(0.8, 0.9), (0.794, 0.8), (0.788, 0.7), (0.782, 0.6)], 2, 3),  # no slow slide: all are held against the highest
        ([(0.79, 0.3), (0.797, 0.5), (0.804, 1.0)], 3, 0),  # the first is out of it when the third comes
        ([(0.8, math.nan), (0.797, 0.5)], 2, 1),
    ],
)  # fmt: skip
def test_ties_within_the_noise_go_to_the_smaller_loss(
    pairs: list[tuple[float, float]], best_step: int, num_bad: int
) -> None:
    state = judged(pairs)
    assert (state.best_step, state.num_bad) == (best_step, num_bad)
    assert state.best_gain == pairs[best_step - 1][0]
    assert state.highest_gain == max(accuracy for accuracy, _ in pairs)


@pytest.mark.parametrize(
    ("pairs", "patience", "words"),
    [
        ([(0.795, 0.5), (0.83, 0.4)], 3, " (best weights)"),
        ([(0.8, 1.3), (0.795, 0.5)], 3, " (best weights: a tie, decided by the loss; patience used: 1 of 3)"),
        ([(0.8, 1.3), (0.795, 0.5)], None, " (best weights: a tie, decided by the loss)"),
        ([(0.8, 0.5), (0.7, 0.4), (0.8, 0.5)], 2, " (patience used: 2 of 2)"),
        ([(0.8, 0.5), (0.7, 0.4)], None, ""),
        ([(0.795, 0.5), (0.8, 1.3)], 3, ""),  # a tie with the larger loss, but patience begins again
    ],
)
def test_what_is_said_agrees_with_what_is_counted(
    pairs: list[tuple[float, float]], patience: int | None, words: str
) -> None:
    state, settings = judged(pairs), TrainSettings(monitor="+accuracy", patience=patience)
    assert describe(state, settings, is_best=state.best_step == state.step) == words


def test_a_loss_has_no_ties() -> None:
    settings = TrainSettings(monitor="-loss")
    assert judged([(0.5, 0.5), (0.9, 0.501), (0.9, 0.499)], settings=settings).best_step == 3
    assert noise_of("loss", -0.5, 100) == noise_of("absolute_error", -0.5, 100) == 0.0
    assert noise_of("accuracy", 1.0, 100) == 0.0
    assert (
        noise_of("accuracy", 0.8, 400) == noise_of("accuracy", -0.8, 400) == pytest.approx(0.01)
    )  # less may be better
    assert noise_of("mcc", -0.2, 400) == 0.0  # no proportion, and so its noise is another one


def test_a_judgement_survives_a_restart() -> None:
    pairs = [(0.795, 0.5), (0.8, 1.3), (0.796, 0.45), (0.79, 0.4), (0.801, 0.6)]
    for cut in range(1, len(pairs)):
        state = RunState()
        state.load_state_dict(judged(pairs[:cut]).state_dict())
        for accuracy, loss in pairs[cut:]:
            state.count_step(0.0, 1, 1)
            judge({"accuracy": accuracy, "loss": loss}, state, SETTINGS, 400)
        assert state == judged(pairs)


def test_what_is_no_number_or_not_there_ends_the_run() -> None:
    with pytest.raises(NonFiniteError, match="step 1: valid accuracy is not a number"):
        judged([(math.nan, 0.5)])
    with pytest.raises(ConfigError, match=r"train\.monitor: there is no metric 'f2'; known: accuracy, loss"):
        judged([(0.5, 0.5)], settings=TrainSettings(monitor="+f2"))


@pytest.mark.parametrize(
    ("loss", "word"), [(math.inf, "infinite"), (math.nan, "not a number"), (-math.inf, "infinite")]
)
def test_a_monitored_value_that_is_not_finite_ends_the_run(loss: float, word: str) -> None:
    with pytest.raises(NonFiniteError, match=f"valid loss is {word}; lower optimizer.lr"):
        judge({"loss": loss}, RunState(), TrainSettings(monitor="-loss"), 10)
