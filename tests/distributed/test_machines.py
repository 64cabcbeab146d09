"""Two machines with a network between them, made of namespaces: what each of them says when the other one is gone."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs import undisturbed
from lab import Lab
from torchruns import Torchrun, is_saved, none_is_left, wait_for  # noqa: F401

TIMEOUT, LIMIT = 10, 15.0  # seconds
ADDRESS = "10.77.0.{number}"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class Machine:
    """A network of its own with one link to the other machine, and a name of its own."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number, self.space, self.link = number, f"glassbox{number}-{os.getpid()}", f"gb{number}-{os.getpid()}"
        self.hosts = folder / f"hosts{number}"
        # As Debian has it, and neither knows the other's name.
        self.hosts.write_text(f"127.0.0.1 localhost\n127.0.1.1 node{number}\n")
        ip("netns", "add", self.space)

    def plug_in(self) -> None:
        address = f"{ADDRESS.format(number=self.number)}/24"
        for words in (["link", "set", "lo", "up"], ["addr", "add", address, "dev", self.link]):
            ip("-n", self.space, *words)
        self.switch("up")

    def switch(self, state: str) -> None:
        """Its link, up or down: down, nothing arrives, and nobody is told."""
        ip("-n", self.space, "link", "set", self.link, state)

    @property
    def prefix(self) -> list[str]:
        """What runs a command on it."""
        named = f'hostname node{self.number} && mount --bind {self.hosts} /etc/hosts && exec "$@"'
        return ["ip", "netns", "exec", self.space, "unshare", "--uts", "--mount", "sh", "-c", named, "sh"]


def can_make_networks() -> bool:
    needed = all(shutil.which(name) for name in ("ip", "unshare", "hostname")) and os.geteuid() == 0
    return needed and subprocess.run(["unshare", "--net", "--uts", "--mount", "true"], check=False).returncode == 0


pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not can_make_networks(), reason="needs root and iproute2, to make networks"),
]


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Machine]]:
    found = [Machine(number, tmp_path_factory.mktemp("hosts")) for number in (1, 2)]
    try:
        one, two = found
        ip("link", "add", one.link, "netns", one.space, "type", "veth", "peer", "name", two.link, "netns", two.space)
        for machine in found:
            machine.plug_in()
        yield found
    finally:
        for machine in found:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", machine.space)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("machines"))


@pytest.fixture(scope="module")
def control(lab: Lab) -> dict[str, Any]:
    """The results of a run of four processes that nothing disturbs."""
    return undisturbed(lab, 4)


def start(
    lab: Lab, machines: list[Machine], name: str, *, is_told_the_way: bool = True, restarts: int = 3
) -> list[Torchrun]:
    """As docs/clusters.md says it, by hand on each of them."""
    options = ["--nnodes=2", "--nproc_per_node=2", f"--max-restarts={restarts}", "--rdzv-id=1", "--rdzv-backend=c10d"]
    options += [f"--rdzv-endpoint={ADDRESS.format(number=1)}:29500", "--monitor-interval=0.1"]
    runs = []
    for machine in machines:
        more = ["--rdzv-conf=is_host=true"] if machine.number == 1 else []
        more.append(f"--local-addr={ADDRESS.format(number=machine.number)}")
        env = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        if is_told_the_way:
            env["GLOO_SOCKET_IFNAME"] = machine.link
        words = [f"distributed.timeout={TIMEOUT}"]
        runs.append(Torchrun(lab, name, *options, *more, env=env, on=machine.prefix, words=words))
    return runs


def said(run: Torchrun) -> list[str]:
    """The lines of its processes, without torchrun's."""
    return [line for line in run.errors.read_text().splitlines() if line.startswith("rank ")]


def check_end(lab: Lab, runs: list[Torchrun], name: str, control: dict[str, Any]) -> None:
    codes = [run.end(240)[0] for run in runs]
    assert codes == [0, 0], [run.errors.read_text() for run in runs]
    assert lab.results(name) == control


def test_two_machines_train_the_run_of_one(lab: Lab, machines: list[Machine], control: dict[str, Any]) -> None:
    check_end(lab, start(lab, machines, "plain"), "plain", control)


def test_an_address_that_leads_nowhere_is_refused(lab: Lab, machines: list[Machine]) -> None:
    runs = start(lab, machines, "loopback", is_told_the_way=False, restarts=0)
    assert [run.end()[0] for run in runs] == [1, 1]
    (line,) = [line for run in runs for line in said(run)]
    number = 1 if line.startswith(("rank 0", "rank 1")) else 2
    assert (
        f"the address of node{number} on itself (/etc/hosts) is 127.0.1.1, where other machines do not find it" in line
    )
    assert f"(here: {machines[number - 1].link})" in line


def test_machines_that_lose_each_other_say_so_and_go_on_when_they_are_back(
    lab: Lab, machines: list[Machine], control: dict[str, Any]
) -> None:
    runs = start(lab, machines, "cut")
    wait_for(lambda: is_saved(lab, "cut"))
    workers = [run.workers() for run in runs]
    machines[1].switch("down")
    try:
        cut = time.monotonic()
        wait_for(lambda: all(said(run) for run in runs))
        wait_for(lambda: not any(set(run.workers()) & set(before) for run, before in zip(runs, workers, strict=True)))
        assert time.monotonic() - cut <= TIMEOUT + LIMIT
    finally:
        machines[1].switch("up")
    check_end(lab, runs, "cut", control)
    there = "; ".join(
        f"rank {2 + rank} (process {pid} on node2) gives no answer" for rank, pid in enumerate(workers[1])
    )
    (line,) = said(runs[0])
    assert line in (f"rank {rank}: {there}; run the same command to resume" for rank in (0, 1)), line
    lines = said(runs[1])
    assert 1 <= len(lines) <= 2, lines  # each rank for itself: they cannot ask the store who has reported
    for line in lines:
        assert f": rank 0 (process {workers[0][0]} on node1) or its machine gives no answer" in line


@pytest.mark.parametrize("number", range(2))
def test_a_death_is_said_and_the_run_goes_on(
    lab: Lab, machines: list[Machine], control: dict[str, Any], number: int
) -> None:
    name = f"dead-{number}"
    runs = start(lab, machines, name)
    wait_for(lambda: is_saved(lab, name))
    pid = runs[number].workers()[0]
    os.kill(pid, signal.SIGKILL)
    check_end(lab, runs, name, control)
    found = [said(run) for run in runs]
    assert max(map(len, found)) == 1, found
    assert len(found[0] + found[1]) == (1 if number else 2), "the store ends with rank 0, and each machine reports that"
    for line in found[0] + found[1]:
        assert f"rank {2 * number} (process {pid} on node{number + 1}) " in line
        assert line.endswith(
            ("has died; run the same command to resume", "gives no answer; run the same command to resume")
        )


def test_an_error_of_the_first_process_is_reported(lab: Lab, machines: list[Machine]) -> None:
    runs = start(lab, machines, "error", restarts=0)
    wait_for(lambda: is_saved(lab, "error"))
    folder = lab.path("error") / "checkpoints"
    folder.rename(lab.folder / "elsewhere")
    folder.touch()  # the next save meets a file in its place
    assert [run.end()[0] for run in runs] == [1, 1]
    first, *others = [line for run in runs for line in said(run)]
    assert first.startswith("rank 0: experiments/error/checkpoints")
    assert len(others) <= len(runs), others  # one of each machine, as the store has ended with rank 0
    assert all(": rank 0 (process " in line for line in others)


def test_a_signal_to_both_is_said_once(lab: Lab, machines: list[Machine], control: dict[str, Any]) -> None:
    runs = start(lab, machines, "signal")
    wait_for(lambda: is_saved(lab, "signal"))
    for run in runs:
        run.process.send_signal(signal.SIGTERM)
    assert all(run.end()[0] != 0 for run in runs)
    (line,) = [line for run in runs for line in said(run)]
    assert ": stopped by SIGTERM: saved step " in line
    check_end(lab, start(lab, machines, "signal"), "signal", control)
