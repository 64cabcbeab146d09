"""Grouping runs by recipe, naming the groups, the options that differ, and runs without predictions."""

from pathlib import Path
from typing import Any

import pytest

from utils.analysis.comparing import compare, direction
from utils.analysis.finding import Run
from utils.analysis.groups import by_rows, chosen_metric, grouped, what_differs
from utils.analysis.tables import as_markdown, header_of, notes_of
from utils.errors import ConfigError


def run_of(name: str, seed: int, value: float, **options: Any) -> Run:
    """A run without predictions, as those of pre-training."""
    train = {"seconds": 10.0 * seed, "texts_per_second": 5.0}
    test = {"mlm": value, "loss": value}
    report = {"test": test, "train": train, "parameters": 7, "peak_memory_bytes": 2**20, "best": {"monitor": "-mlm"}}
    report["data"] = {"test": {"used": 30}}
    return Run(Path(name), {"name": name, "seed": seed, "agent": "pretraining"} | options, report, [], "")


ADAM = {"optimizer.name": "Adam", "optimizer.lr": 1, "optimizer.eps": 0.1}
MUON = {"optimizer.name": "Muon", "optimizer.lr": 2}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a-seed1", "a-seed2"], "a"),
        (["a_s1", "a_s10"], "a"),
        (["papers-lr=0.1-seed3", "papers-lr=0.1-seed4"], "papers-lr=0.1"),
        (["first", "second"], "first"),
        (["lone-seed1"], "lone-seed1"),
        (["bilstm", "bilstm-seed=2"], "bilstm"),
        (["papers-1", "papers-2"], "papers"),
        (["papers1", "papers2"], "papers"),
    ],
)
def test_a_group_is_called_by_what_its_names_share(names: list[str], expected: str) -> None:
    (group,) = grouped([run_of(name, seed, 1.0) for seed, name in enumerate(names)])
    assert group.name == expected


def test_seeds_devices_and_what_is_measured_make_no_recipe() -> None:
    runs = [
        run_of("a", 2, 1.0, device="cpu", num_threads=1),
        run_of("b", 1, 1.0, device="cuda", num_threads=4, metrics=["mcc"]),
    ]
    (group,) = grouped([*runs])
    assert [run.name for run in group.runs] == ["b", "a"], "in the order of their seeds"
    assert len(grouped([*runs, run_of("c", 1, 1.0, lr=1)])) == 2


def test_options_of_all_come_before_those_of_one_part() -> None:
    groups = grouped([run_of("a", 1, 1.0, **ADAM), run_of("b", 1, 1.0, **MUON)])
    assert what_differs(groups) == {
        "optimizer.name": ["Adam", "Muon"],
        "optimizer.lr": [1, 2],
        "optimizer.eps": [0.1, None],
    }


def test_less_of_a_loss_is_better_and_runs_without_rows_are_compared_by_seeds() -> None:
    runs = [run_of(f"a-seed{i}", i, 5.0 + i / 100, **ADAM) for i in (1, 2, 3)]
    runs += [run_of(f"m-seed{i}", i, 4.0 + i / 100, **MUON) for i in (1, 2, 3)]
    comparison = compare(runs, chosen_metric(runs, None))
    assert comparison.metric == "mlm"
    assert [group.name for group in comparison.groups] == ["a", "m"], "the best one last"
    (note,) = notes_of(comparison)[1:]
    assert note.startswith("m scores better than a by 1.0000 (mlm): 95% 0.9")
    assert "(other seeds)" in note
    assert note.endswith(": different.")
    assert header_of(comparison)[4:7] == ["optimizer", "lr", "eps"]
    assert "| a | 3 | 5.02 ± 0.01 |" in as_markdown(comparison)


def test_models_that_are_right_everywhere_promise_nothing_of_smaller_differences() -> None:
    lines = [{"id": i, "gold": "a", "predicted": "a"} for i in range(20)]
    runs = []
    for name, options in {"a": ADAM, "m": MUON}.items():
        run = run_of(name, 1, 0.0, **options)
        report = run.report | {"test": {"accuracy": 1.0, "loss": 0.0}, "best": {"monitor": "+accuracy"}}
        runs.append(run._replace(report=report, lines=lines))
    note = notes_of(compare(runs, "accuracy"))[-1]
    assert "0.0 to 0.0" in note
    assert note.endswith(": no difference shown.")


def test_pairs_that_nothing_can_be_said_of_are_counted() -> None:
    comparison = compare([run_of("a", 1, 5.0, **ADAM), run_of("b", 1, 4.0, **MUON)], "mlm")
    assert notes_of(comparison)[-1] == ("1 pair not tested: one seed on a side, and no predictions that hold mlm")


def test_other_tasks_and_sizes_are_kept_apart() -> None:
    runs = [run_of("a", 1, 1.0), run_of("b", 2, 1.0), run_of("c", 1, 1.0, agent="regression")]
    assert [[run.name for run in members] for members in by_rows(runs)] == [["a", "b"], ["c"]]
    with pytest.raises(ConfigError, match="there is no metric 'bleu' in all of these runs; known: mlm, loss"):
        chosen_metric(runs, "bleu")


def test_groups_have_names_of_their_own() -> None:
    runs = [run_of(f"a-{i}", i, 1.0, lr=1 if i < 3 else 2) for i in (1, 2, 6, 7)]
    assert [group.name for group in grouped(runs)] == ["a-1", "a-6"]


def test_the_monitor_says_what_is_better_and_nothing_is_guessed() -> None:
    run = run_of("a", 1, 1.0)
    assert direction([run], "mlm") == direction([run], "pairs") == direction([run], "loss") == -1.0
    assert direction([run], "macro_f1") == direction([run], "bleu") == direction([run], "mlm_accuracy") == 1.0
    monitored = run._replace(report=run.report | {"best": {"monitor": "-wer"}})
    assert direction([run, monitored], "wer") == -1.0
    with pytest.raises(ConfigError, match="whether more or less wer is better is not known"):
        direction([run], "wer")


def test_other_files_of_one_size_are_kept_apart() -> None:
    runs = [run_of("a", 1, 1.0, **{"data.test": "wiki.txt"}), run_of("b", 2, 1.0, **{"data.test": "code.txt"})]
    assert len(by_rows(runs)) == 2


@pytest.mark.parametrize("change", [{"documents": 9}, {"sentences": 5}, {"sha256": "other"}])
def test_other_documents_are_kept_apart(change: dict[str, Any]) -> None:
    """Of a split that is cut off the training file no rows are counted."""
    one, other = run_of("a", 1, 1.0), run_of("b", 2, 1.0)
    counts = {"used": 0, "documents": 10, "sentences": 40}

    def with_data(run: Run, **changed: Any) -> Run:
        split = counts | {name: value for name, value in changed.items() if name in counts}
        return run._replace(report=run.report | {"data": {run.split: split, "sha256": changed.get("sha256", "same")}})

    assert len(by_rows([with_data(one), with_data(other)])) == 1
    assert len(by_rows([with_data(one), with_data(other, **change)])) == 2


def test_what_is_no_number_is_no_result() -> None:
    run = run_of("a", 1, float("nan"))
    assert run.results == {}
    with pytest.raises(ConfigError, match="known: none"):
        chosen_metric([run], None)


def test_runs_on_changed_files_are_of_another_recipe() -> None:
    """Of older runs nothing is known of the content."""
    runs = [run_of("a", seed, 1.0) for seed in (1, 2, 3)]
    assert len(grouped(runs)) == 1
    for run, content in zip(runs, ("x", "y", "y"), strict=True):
        run.report["data"]["sha256"] = content
    assert [[run.options["seed"] for run in group.runs] for group in grouped(runs)] == [[1], [2, 3]]
    assert what_differs(grouped(runs)) == {"data.sha256": ["x", "y"]}
    again = run_of("b", 1, 1.0)
    again.report["data"]["sha256"] = "y"
    assert not again.is_again(runs[0])


def test_groups_of_one_name_are_told_apart() -> None:
    groups = grouped([run_of("old/run", 1, 1.0, lr=1), run_of("new/run", 1, 1.0, lr=2), run_of("c", 1, 1.0, lr=3)])
    assert [group.name for group in groups] == ["old/run", "new/run", "c"]


def test_the_direction_of_a_known_metric_is_no_runs_choice() -> None:
    run = run_of("a", 1, 1.0)
    run.report["best"]["monitor"] = "+mlm"
    assert direction([run], "mlm") == -1.0
    run.report["best"]["monitor"] = "-mine"
    assert direction([run], "mine") == -1.0
    with pytest.raises(ConfigError, match="whether more or less other is better is not known"):
        direction([run], "other")


@pytest.mark.parametrize(
    ("options", "metric", "reason"),
    [
        (
            {"tokenizer.vocab_size": 350},
            "mlm",
            "mlm is a mean over other tokens in each (tokenizer.vocab_size); bits_per_byte",
        ),
        ({"objective.pairs": "none"}, "loss", "loss is a mean over other tokens in each (objective.pairs)"),
        ({"loss.label_smoothing": 0.1}, "loss", "the losses are not the same function (loss.label_smoothing)"),
        ({"loss.label_smoothing": 0.1}, "mlm", None),
        ({"loss.r_drop": 1.0, "optimizer.betas": [0.9, 0.98]}, "loss", None),
        ({"optimizer.lr": 0.1}, "mlm", None),
    ],
)
def test_figures_of_other_quantities_are_not_tested(options: dict[str, Any], metric: str, reason: str | None) -> None:
    runs = [run_of(f"a-{seed}", seed, 1.0 + 0.01 * seed) for seed in (1, 2, 3)]
    runs += [run_of(f"b-{seed}", seed, 2.0 + 0.01 * seed, **options) for seed in (1, 2, 3)]
    found = compare(runs, metric)
    (pair,) = found.pairs
    notes = " ".join(notes_of(found))
    assert (pair.decisive is None) == (reason is not None)
    assert (f"1 pair not tested: {reason}" if reason else "different") in notes


def test_figures_of_other_signatures_are_not_tested() -> None:
    runs = [run_of(name, seed, 1.0 + seed, lr=name) for name in "ab" for seed in (1, 2)]
    for run in runs:
        run.report["test"] |= {"bleu": 30.0 + run.options["seed"], "bleu_signature": f"case:{run.name}"}
    (pair,) = compare(runs, "bleu").pairs
    assert pair.reason == "sacreBLEU's signatures differ (case:a and case:b)"
    for run in runs:
        run.report["test"]["bleu_signature"] = "case:lc"
    assert compare(runs, "bleu").pairs[0].reason is None
