"""One small made data set, read back from disk with nothing but json."""

import json
from pathlib import Path

import pytest

from lxmert.scenes import SceneCounts, make_scenes

SPLITS = ("train", "val", "test")


class OnDisk:
    """The JSON files of a made data set."""

    def __init__(self, folder: Path, counts: SceneCounts) -> None:
        self.folder = folder
        self.counts = counts

    def read(self, name: str) -> dict:
        return json.loads((self.folder / "annotations" / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> OnDisk:
    folder = tmp_path_factory.mktemp("scenes") / "data"
    return OnDisk(folder, make_scenes(folder, 60, 3, progress=False))
