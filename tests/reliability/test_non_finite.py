"""NaN and infinity never pass: the run stops at that very step, says where, and no saved weight is touched by them."""

import json

import pytest
import safetensors.torch
import torch
from lab import MODELS, Lab, of_tier

STEP = 8


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("non_finite"))


def saved_steps(lab: Lab, name: str) -> list[int]:
    """The steps of a run's checkpoints, all of whose weights are finite."""
    folders = list((lab.path(name) / "checkpoints").glob("step-*"))
    for folder in folders:
        weights = safetensors.torch.load_file(folder / "model.safetensors")
        assert all(torch.isfinite(tensor).all() for tensor in weights.values()), folder
    return sorted(int(folder.name.removeprefix("step-")) for folder in folders)


def assert_stopped(lab: Lab, name: str, what: str, value: str, *overrides: str, model: str) -> str:
    """Poison step 8: it is refused with code 6, nothing is updated by it, and the last logged step is the one before."""
    log = lab.folder / f"{name}.updates"
    faults = {"tell_updates": {"to": str(log)}, "poison": {"what": what, "value": value, "step": STEP}}
    run = lab.finish(model, name, *overrides, code=6, **faults)
    assert "Traceback" not in run.stderr
    updates = [json.loads(line) for line in log.read_text().splitlines()]
    assert updates == [[step, step < STEP] for step in range(1, STEP + 1)]
    assert max(line["step"] for line in lab.metrics(name)) == STEP - 1
    assert saved_steps(lab, name) == [6, 7]
    return run.stderr.splitlines()[-1]


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("what", ["loss", "gradient", "weight", "vector"])
@pytest.mark.parametrize("model", MODELS[: of_tier(1, 2)])
def test_a_number_that_is_not_finite_stops_the_run_at_its_step(lab: Lab, model: str, what: str, value: str) -> None:
    name = f"{model}-{what}-{value}"
    last = assert_stopped(lab, name, what, value, model=model)
    assert last.startswith("step 8, texts [")
    culprit = "the gradient of head.layers.0.weight is" if what == "gradient" else "the gradient of "
    assert culprit in last
    assert "is not finite; the weights were not changed by it" in last


@pytest.mark.parametrize("model", MODELS)
def test_after_the_stop_the_same_command_goes_on_from_good_weights(lab: Lab, model: str) -> None:
    name = f"again-{model}"
    assert_stopped(lab, name, "loss", "nan", model=model)
    lab.finish(model, name)
    assert lab.results(name) == lab.control(model)[0]


@pytest.mark.parametrize("save_every", ["3 steps", "1 step"])
def test_an_infinite_rate_is_noticed_before_its_weights_are_saved(lab: Lab, save_every: str) -> None:
    """The gradient is finite and the product is not: the save refuses it, or else the next step's loss."""
    name = f"rate-{save_every[0]}"
    fault = {"poison": {"what": "lr", "value": "inf", "step": STEP}}
    run = lab.finish("bilstm", name, f"train.save_every={save_every}", code=6, **fault)
    assert run.stderr.splitlines()[-1].startswith("step 8: " if save_every == "1 step" else "step 9, texts [")
    assert max(saved_steps(lab, name)) == 7


@pytest.mark.parametrize(("lr", "code"), [(".inf", 2), (".nan", 2), ("1e39", 6)])
def test_a_rate_that_is_not_finite_is_refused(lab: Lab, lr: str, code: int) -> None:
    lab.finish("bag_of_embeddings", f"lr{lr}", f"optimizer.lr={lr}", "train.save_every=1 step", code=code)
    assert saved_steps(lab, f"lr{lr}") == []


@pytest.mark.parametrize("model", MODELS)
def test_a_step_in_which_no_label_counts_is_a_loss_of_zero(lab: Lab, model: str) -> None:
    name = f"ignored-{model}"
    lab.finish(model, name, ignore_labels={"step": STEP})
    [line] = [line for line in lab.metrics(name) if (line["step"], line["split"]) == (STEP, "train")]
    assert (line["loss"], line["grad_norm"]) == (0.0, 0.0)
    assert all(value == value for line in lab.metrics(name) for value in line.values())
    assert saved_steps(lab, name)
