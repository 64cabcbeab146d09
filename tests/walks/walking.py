"""The life of a run that every walk begins with: checked, begun, stopped by Ctrl-C and brought to its end by the same command."""

import json
import signal
from pathlib import Path
from typing import Any, Self

from lab import Lab

RUN = "experiments/c"


class Walk(Lab):
    """A folder with the data and the config of a world, in which commands are started."""

    def __init__(self, folder: Path, world: Any) -> None:
        super().__init__(folder)
        self.world = world
        world.set_up(folder)

    def done(self) -> Self:
        """Take the run through its training."""
        self.does("c.yaml", "--dry-run")
        assert not (self.folder / RUN).exists()
        stop = {"place": "agents.base:BaseAgent.train_step", "numbers": [signal.SIGINT], "n": 3, "after": True}
        self.does("c.yaml", code=130, signal_in=stop)
        assert not (self.folder / RUN / "report.json").exists()
        self.does("c.yaml")
        return self

    def report(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / RUN / "report.json").read_bytes()))

    def predictions(self) -> list[dict[str, Any]]:
        return lines_of((self.folder / RUN / "predictions.jsonl").read_text(encoding="utf-8"))


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]
