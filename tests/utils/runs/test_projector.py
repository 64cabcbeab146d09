"""Vectors for TensorBoard's Projector: read back by its plugin, whatever the labels are called; and which points are shown."""

from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from werkzeug.test import Client
from werkzeug.wrappers import Response

from utils.runs.projector import MAX_POINTS, Projector, spread
from utils.runs.run_log import RunLog

LABELS = ["a\tb", "a\nb", "<script>", "体育", "\ud800", "", "x" * 999, "a\u2028b\x85c"]


def served(folder: Path, route: str, name: str) -> bytes:
    """What the plugin gives the page for a view of the run `run`."""
    multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(folder))
    plugin = ProjectorPlugin(TBContext(logdir=str(folder), data_provider=provider))
    response = Client(plugin.get_plugin_apps()[route], Response).get(route, query_string={"run": "run", "name": name})
    assert response.status_code == 200, response.data
    return bytes(response.data)


def test_tensorboard_reads_each_view_with_its_labels(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run")
    (tmp_path / "run").mkdir()
    log.open_at(0, {})
    log.close()
    vectors = {name: np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32) for name in ("one", "two.weight")}
    for _ in range(2):  # as where the end of a run is repeated
        projector = Projector(tmp_path / "run")
        for name, values in vectors.items():
            projector.add(name, values, ("gold", "id"), zip(LABELS, range(8), strict=True))
    for name, values in vectors.items():
        assert np.array_equal(np.frombuffer(served(tmp_path, "/tensor", name), np.float32).reshape(8, 5), values)
        head, *rows = served(tmp_path, "/metadata", name).decode().removesuffix("\n").split("\n")
        assert head == "gold\tid"
        assert [row.split("\t")[1] for row in rows] == [str(i) for i in range(8)]
        assert [row.split("\t")[0] for row in rows][:6] == ["a b", "a b", "<script>", "体育", "\\ud800", ""]
    assert not list((tmp_path / "run").rglob(".tmp-*"))


def test_each_group_keeps_its_share_of_the_points() -> None:
    generator = np.random.default_rng(0)
    groups = generator.choice(4, size=50_000, p=[0.6, 0.3, 0.09, 0.01])
    chosen = spread(groups)
    assert len(set(chosen.tolist())) == MAX_POINTS
    assert (np.diff(chosen) > 0).all()
    shares = [np.bincount(rows, minlength=4) / len(rows) for rows in (groups, groups[chosen])]
    assert np.abs(shares[0] - shares[1]).max() <= 1.5 / MAX_POINTS
    assert spread(np.array([3, 1, 2])).tolist() == [0, 1, 2]
