"""trackio, an optional package: a database and a dashboard on this machine (https://github.com/gradio-app/trackio)."""

import contextlib
import importlib.util
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


class Trackio:
    """A run in trackio's local database: `trackio show --project glassbox`.

    project: the name under which trackio shows the runs together
    """

    def __init__(self, run: str, *, project: str = "glassbox") -> None:
        """run: its name. Raises ValueError where the package is missing; nothing is opened yet."""
        if importlib.util.find_spec("trackio") is None:
            raise ValueError("name trackio needs the package trackio: pip install trackio")
        self.run, self.project = run, project
        self._tracked: Any = None
        self._known = 0

    def open(self, step: int, settings: Mapping[str, Any]) -> None:
        """Go on with the run of this name, or begin one; what is there beyond `step` stays, and is not written again."""
        import trackio

        with _reported():
            if step:
                self._known = trackio.SQLiteStorage.get_max_step_for_run(self.project, self.run) or 0
            self._tracked = trackio.init(
                *(self.project, self.run),
                config={
                    key: value if isinstance(value, int | float) else str(value) for key, value in settings.items()
                },
                resume="allow" if step else "never",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self._log(dict(values), step)

    def text(self, tag: str, text: str, step: int) -> None:
        import trackio

        self._log({tag: trackio.Markdown(text)}, step)

    def image(self, tag: str, pixels: np.ndarray, step: int) -> None:
        import trackio

        self._log({tag: trackio.Image(pixels)}, step)

    def finish(self) -> None:
        """Wait until the database has it all."""
        with _reported():
            self._tracked.finish()

    def _log(self, values: dict[str, Any], step: int) -> None:
        """A step that is known only in part is written again, with the same values."""
        if step >= self._known:
            with _reported():
                self._tracked.log(values, step)


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    """Its messages go to stderr, since stdout is for results; its errors are those of a `Logger`."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise RuntimeError(f"{type(error).__name__}: {error}") from None
