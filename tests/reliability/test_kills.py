"""kill -9 at random moments of data preparation, training, validation, saving and reporting: the same bits at the end."""

import json
import time

import pytest
from faults import DIED
from lab import MODELS, TASKS, Lab, moment, of_tier
from test_fault_points import assert_at_most_one_interval_is_lost, assert_same_results, has_last_save

NUM_RUNS, NUM_KILLS = of_tier(1, 6), of_tier(4, 100)  # for each model
SAVED = {"pattern": r"fsync .*/checkpoints"}  # a new checkpoint has got its name


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("kills"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("model", MODELS + of_tier([], list(TASKS)))
def test_kills_at_random_moments_cost_nothing(lab: Lab, model: str) -> None:
    _, seconds = lab.control(model)
    num_runs = num_kills = 0
    while num_runs < NUM_RUNS or num_kills < NUM_KILLS:
        name = f"{model}-{num_runs}"
        is_last_save = False
        while not lab.is_finished(name):
            process = lab.start(model, name)
            time.sleep(moment(0.9 * seconds))
            num_kills += process.kill()
            assert_at_most_one_interval_is_lost(lab, name)
            is_last_save = is_last_save or has_last_save(lab, name)
        lab.finish(model, name)
        assert_same_results(lab, model, name, is_last_save=is_last_save)
        num_runs += 1


@pytest.mark.parametrize("model", MODELS[: of_tier(1, len(MODELS))])
def test_a_run_that_stops_early_stops_there_wherever_it_is_killed(lab: Lab, model: str) -> None:
    """Killed after each of its saves, the last of which holds that its patience is at an end."""
    options = ("train.patience=1", "train.monitor=+accuracy", "optimizer.lr=1e-5")  # with which nothing is learnt
    lab.finish(model, f"early-{model}", *options)
    report = json.loads((lab.path(f"early-{model}") / "report.json").read_bytes())
    assert report["train"]["is_stopped_early"]
    num_saves = 0
    for number in range(1, 10):
        name = f"early-{model}-{number}"
        code = lab.start(model, name, *options, die_at=SAVED | {"n": number}).wait()
        num_saves += code == DIED
        lab.finish(model, name, *options)
        results, control = lab.results(name), lab.results(f"early-{model}")
        assert {key: results[key] for key in control} == control
    assert 3 <= num_saves < 9  # the last ones had no save to die after


@pytest.mark.parametrize("model", MODELS)
def test_successive_kills_in_one_epoch_train_on_every_batch_once(lab: Lab, model: str) -> None:
    options = ("train.num_epochs=1", "train.batch_size=4", "train.save_every=1 step", "seed=3")
    log = {"to": "whole.jsonl"}
    lab.finish(model, f"whole-epoch-{model}", *options, tell_batches=log)
    for _ in range(of_tier(3, 15)):
        run = lab.start(model, f"epoch-{model}", *options, tell_batches={"to": "cut.jsonl"}, die_at=SAVED)
        assert run.wait() == DIED
    lab.finish(model, f"epoch-{model}", *options, tell_batches={"to": "cut.jsonl"})
    whole, cut = ((lab.folder / name).read_text().splitlines() for name in ("whole.jsonl", "cut.jsonl"))
    assert cut == whole
    assert [json.loads(line)[0] for line in cut] == list(range(1, 19))
    assert lab.results(f"epoch-{model}") == lab.results(f"whole-epoch-{model}")
    for name in ("whole.jsonl", "cut.jsonl"):
        (lab.folder / name).unlink()
