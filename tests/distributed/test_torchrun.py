"""With torchrun itself: a run, a signal to it, restarts by it, and two of them that stand for two machines."""

import os
import signal
import time
from typing import Any

import pytest
from jobs import undisturbed
from lab import Lab
from torchruns import Torchrun, free_port, is_listening, is_saved, none_is_left, ours, wait_for  # noqa: F401

LIMIT = 30.0  # seconds


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("torchrun"))


@pytest.fixture(scope="module")
def control(lab: Lab) -> dict[str, Any]:
    """The results of a run of two processes that nothing disturbs."""
    return undisturbed(lab, 2)


def test_torchrun_trains_and_the_report_is_printed_once(lab: Lab, control: dict[str, Any]) -> None:
    code, out, errors = Torchrun(lab, "plain", "--standalone", "--nproc_per_node=2").end()
    assert code == 0, errors
    assert out.count(" steps in ") == 1, out
    assert errors.count("report: experiments/plain/report.json") == 1
    assert "find_unused_parameters" not in errors
    assert lab.results("plain") == control


def test_sigterm_to_torchrun_saves_once_and_the_same_command_goes_on(lab: Lab, control: dict[str, Any]) -> None:
    run = Torchrun(lab, "sigterm", "--standalone", "--nproc_per_node=2")
    wait_for(lambda: is_saved(lab, "sigterm"))
    run.process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    code, _, errors = run.end()
    assert time.monotonic() - started <= LIMIT
    assert code != 0
    (line,) = ours(errors)[:1]
    assert ": stopped by SIGTERM: saved step " in line
    code, _, errors = Torchrun(lab, "sigterm", "--standalone", "--nproc_per_node=2").end()
    assert code == 0, errors
    assert lab.results("sigterm") == control


@pytest.mark.full
def test_torchrun_starts_a_dead_run_again_and_it_goes_on(lab: Lab, control: dict[str, Any]) -> None:
    run = Torchrun(lab, "again", "--standalone", "--nproc_per_node=2", "--max-restarts=1")
    wait_for(lambda: is_saved(lab, "again"))
    os.kill(run.workers()[1], signal.SIGKILL)
    code, _, errors = run.end()
    assert code == 0, errors
    assert len(ours(errors)) == 1, errors
    assert "has died; run the same command to resume" in ours(errors)[0]
    assert "resuming from step" in errors
    assert lab.results("again") == control


@pytest.mark.full
def test_one_of_two_machines_dies_and_comes_back(lab: Lab, control: dict[str, Any]) -> None:
    port = free_port()
    options = [
        "--nnodes=2",
        "--nproc_per_node=1",
        "--max-restarts=3",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint=127.0.0.1:{port}",
    ]
    # Else the second round waits for an address that nobody writes (pytorch/pytorch#135712, torch 2.13).
    env = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    first = Torchrun(lab, "machines", *options, env=env)
    wait_for(lambda: is_listening(port))  # so that it is the one that keeps the store
    second = Torchrun(lab, "machines", *options, env=env)
    wait_for(lambda: is_saved(lab, "machines"))
    second.kill()
    third = Torchrun(lab, "machines", *options, env=env)
    codes = [run.end(240)[0] for run in (first, third)]
    assert codes == [0, 0], [run.errors.read_text() for run in (first, third)]
    assert lab.results("machines") == control
