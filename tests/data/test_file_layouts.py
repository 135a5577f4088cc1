"""The layout of a data directory."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from lxmert.data.corpus import read_corpus
from lxmert.data.corpus_sections import CorpusSection, SourceSection
from lxmert.data.file_layouts import (
    CocoBoxFiles,
    FileNames,
    GqaFiles,
    VisualGenomeFiles,
    VqaFiles,
    validate_directory,
)
from lxmert.errors import DataError
from lxmert.scenes import dataset, make_scenes


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


def test_directory_of_unfinished_scenes_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> Iterator[None]:
        yield from ()
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_scenes(tmp_path, 1, 0, progress=False)
    monkeypatch.undo()
    section = CorpusSection(sources=[SourceSection(kind="captions", file="captions.json")])
    for read in (validate_directory, partial(read_corpus, section)):
        with pytest.raises(
            DataError, match="`lxmert scenes make` has not finished here; wait for it, or run it again"
        ):
            read(tmp_path)
    make_scenes(tmp_path, 1, 0, progress=False)
    assert validate_directory(tmp_path) == tmp_path
