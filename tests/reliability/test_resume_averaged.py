"""A run with averaged weights and in mixed precision: killed or stopped within an epoch, it goes on to the same bits."""

import signal

import pytest
from faults import DIED
from lab import Lab
from test_non_finite import assert_stopped

OPTIONS = {
    "averaged": ("bilstm", ["average.decay=0.9"]),
    "averaged and mixed": ("bag_of_embeddings", ["average.decay=0.9", "train.precision=mixed"]),
}
STEP, EVALUATE = "agents.base:BaseAgent.train_step", "agents.base:BaseAgent.evaluate"
FAULTS = {
    "killed in step 9, after the save of step 6": ({"die_in": {"place": STEP, "n": 9}}, DIED),
    "stopped in step 8": ({"signal_in": {"place": STEP, "n": 8, "numbers": [int(signal.SIGTERM)]}}, 143),
    "stopped in a validation": ({"signal_in": {"place": EVALUATE, "n": 2, "numbers": [int(signal.SIGINT)]}}, 130),
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("averaged_and_mixed"))


@pytest.mark.parametrize("options", OPTIONS)
def test_whatever_cuts_it_short_the_run_ends_in_the_same_bits(lab: Lab, options: str) -> None:
    model, overrides = OPTIONS[options]
    lab.finish(model, f"whole-{model}", *overrides)
    for i, (fault, code) in enumerate(FAULTS.values()):
        name = f"{model}-{i}"
        assert lab.start(model, name, *overrides, **fault).wait() == code
        lab.finish(model, name, *overrides)
        assert lab.results(name) == lab.results(f"whole-{model}")


@pytest.mark.parametrize("options", OPTIONS)
def test_a_number_that_is_not_finite_stops_the_run_at_its_step(lab: Lab, options: str) -> None:
    model, overrides = OPTIONS[options]
    last = assert_stopped(lab, f"poisoned-{model}", "gradient", "nan", *overrides, model=model)
    assert "the gradient of head.layers.0.weight is not finite; the weights were not changed by it" in last
