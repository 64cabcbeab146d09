"""Fixtures of this room; a test file imports those that it uses."""

from collections.abc import Iterator

import pytest
from disk_cases import MODELS, workplace
from disk_setups import can_mount
from disk_zygote import Zygote

needs_mount = pytest.mark.skipif(
    not can_mount(), reason="needs the right to mount (root): the limit on file sizes is tested"
)


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Starts the program in forks."""
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.fixture(scope="session", params=list(MODELS))
def finished(request: pytest.FixtureRequest, zygote: Zygote, tmp_path_factory: pytest.TempPathFactory):
    """(the model's name, a workplace with its finished run experiments/tiny); not to be changed: copy it."""
    place = workplace(tmp_path_factory.mktemp(request.param) / "place", MODELS[request.param])
    ended = zygote.run(place, "tiny.yaml")
    assert ended.code == 0, ended.err
    return request.param, place
