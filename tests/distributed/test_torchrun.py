"""With torchrun itself: a run, a signal to it, restarts by it, and two of them that stand for two machines."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from jobs import Job
from lab import Lab

LIMIT = 30.0  # seconds


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("torchrun"))


@pytest.fixture(scope="module")
def control(lab: Lab) -> dict[str, Any]:
    """The results of a run of two processes that nothing disturbs."""
    job = Job(lab, 2, "bilstm.yaml", "name=control", "data.cache_folder=.cache-control")
    assert job.wait() == [0, 0], job.errors
    return lab.results("control")


class Torchrun:
    """A started torchrun, in a session of its own."""

    def __init__(self, lab: Lab, name: str, *options: str, env: dict[str, str] | None = None) -> None:
        self.errors = lab.folder / f"{name}-{time.monotonic_ns()}.err"
        words = ["bilstm.yaml", f"name={name}", f"data.cache_folder=.cache-{name}"]
        command = [sys.executable, "-m", "torch.distributed.run", *options, str(ROOT / "main.py"), *words]
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                command, cwd=lab.folder, stdout=subprocess.PIPE, stderr=errors, text=True,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)} | (env or {}), start_new_session=True,
            )  # fmt: skip

    def workers(self) -> list[int]:
        """The processes it has started, by rank."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return sorted(int(pid) for pid in children if b"main.py" in Path(f"/proc/{pid}/cmdline").read_bytes())

    def end(self, timeout: float = 120.0) -> tuple[int, str, str]:
        """(exit code, stdout, stderr)."""
        try:
            out, _ = self.process.communicate(timeout=timeout)
        finally:
            self.kill()
        return self.process.returncode, out, self.errors.read_text()

    def kill(self) -> None:
        """All that is left of it."""
        for pid in [*self.workers(), self.process.pid] if self.process.poll() is None else []:
            os.kill(pid, signal.SIGKILL)


def wait_for(condition: Callable[[], Any], timeout: float = 60.0) -> Any:
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def is_saved(lab: Lab, name: str) -> bool:
    return any(lab.path(name).glob("checkpoints/step-*"))


def is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def ours(errors: str) -> list[str]:
    """The lines of stderr that are not torchrun's."""
    return [line for line in errors.splitlines() if line.startswith(("rank ", "stopped", "Traceback"))]


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


def test_torchrun_starts_a_dead_run_again_and_it_goes_on(lab: Lab, control: dict[str, Any]) -> None:
    run = Torchrun(lab, "again", "--standalone", "--nproc_per_node=2", "--max-restarts=1")
    wait_for(lambda: is_saved(lab, "again"))
    os.kill(run.workers()[1], signal.SIGKILL)
    code, _, errors = run.end()
    assert code == 0, errors
    assert len(ours(errors)) == 1, errors
    assert "has died; the same command goes on" in ours(errors)[0]
    assert "going on from step" in errors
    assert lab.results("again") == control


@pytest.mark.full
def test_one_of_two_machines_dies_and_comes_back(lab: Lab, control: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
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
