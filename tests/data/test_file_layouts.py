"""The layout of a data directory."""

from pathlib import Path

import pytest

from lxmert.data.file_layouts import (
    CocoBoxFiles,
    FileNames,
    GqaFiles,
    VisualGenomeFiles,
    VqaFiles,
    validate_directory,
)
from lxmert.errors import DataError


@pytest.mark.parametrize(
    ("files", "is_of_scenes"),
    [
        (VqaFiles(), True),
        (CocoBoxFiles(), True),
        (VqaFiles(questions="own_{split}.jsonl"), False),
        (GqaFiles(choices=None), False),
        (VisualGenomeFiles(), False),
        (None, False),
    ],
)
def test_missing_directory_can_be_made_only_in_the_layout_of_scenes(
    tmp_path: Path, files: FileNames | None, is_of_scenes: bool
) -> None:
    with pytest.raises(DataError) as caught:
        validate_directory(tmp_path / "own", files)
    message = str(caught.value)
    assert "own: no such data directory; check the path (in a recipe, data.directory)" in message
    assert (f"; `lxmert scenes make {tmp_path / 'own'} --images 10000` " in message) is is_of_scenes
    assert validate_directory(tmp_path, files) == tmp_path
