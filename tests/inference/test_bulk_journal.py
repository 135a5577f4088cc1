"""`AnswerJournal`: answers survive crashes, damaged lines are ignored, another run's journal is rejected."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lxmert.errors import ConfigurationError, DataError
from lxmert.inference import bulk_journal
from lxmert.inference.bulk_journal import AnswerJournal, journal_folder
from lxmert.inference.ranks import Ranks

RUN = {"weights": "ab12", "settings": ["cpu", None, False]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return journal_folder(tmp_path / "out.json")


def journal_labels(folder: Path, run: dict[str, Any] = RUN, **options: Any) -> dict[int, int]:
    with AnswerJournal(folder, run, **options) as journal:
        return dict(journal.labels)


def test_reopened_journal_has_appended_answers(folder: Path) -> None:
    assert folder.name == "out.json.journal"
    with AnswerJournal(folder, RUN) as journal:
        assert journal.labels == {}
        journal.append([3, 1, 4], [10, 11, 12])
        journal.append([0], [9])
        assert journal.contains([4, 0])
        assert not journal.contains([4, 2])
    assert journal_labels(folder) == {3: 10, 1: 11, 4: 12, 0: 9}
    with AnswerJournal(folder, RUN) as journal:
        journal.append([2], [7])
        journal.close()
        journal.remove()
    assert not folder.exists()


def test_truncated_journal_is_read_up_to_last_whole_line(folder: Path) -> None:
    batches = [([0, 5], [1, 2]), ([3], [4]), ([9, 8, 7], [0, 1, 0])]
    with AnswerJournal(folder, RUN) as journal:
        for batch in batches:
            journal.append(*batch)
    (path,) = folder.glob("*.jsonl")
    content = path.read_bytes()
    ends = [n + 1 for n, byte in enumerate(content) if byte == ord("\n")]
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        whole = max(sum(end <= size for end in ends) - 1, 0)
        expected = {place: label for batch in batches[:whole] for place, label in zip(*batch, strict=True)}
        assert journal_labels(folder) == expected, size
        # It goes on where it was cut.
        with AnswerJournal(folder, RUN) as journal:
            journal.append([50], [6])
        assert journal_labels(folder) == {**expected, 50: 6}


def test_journal_is_read_up_to_first_altered_line(folder: Path) -> None:
    with AnswerJournal(folder, RUN) as journal:
        journal.append([1], [1])
        journal.append([2], [2])
        journal.append([3], [3])
    (path,) = folder.glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"labels":[2]', b'"labels":[4]'))
    assert journal_labels(folder) == {1: 1}


def test_journal_of_another_run_is_rejected_naming_differences(folder: Path) -> None:
    with AnswerJournal(folder, RUN) as journal:
        journal.append([1], [1])
    with pytest.raises(DataError, match=r"another run \(weights, more\).*--overwrite") as caught:
        journal_labels(folder, {**RUN, "weights": "cd34", "more": 1})
    assert "\n" not in str(caught.value)
    assert journal_labels(folder) == {1: 1}, "the other run's answers are lost"
    assert journal_labels(folder, {**RUN, "weights": "cd34"}, overwrite=True) == {}
    assert journal_labels(folder, {**RUN, "weights": "cd34"}) == {}


def test_answers_depend_on_the_sizes_of_their_files(folder: Path, tmp_path: Path) -> None:
    pictures = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for picture in pictures:
        picture.write_bytes(b"123")
    with AnswerJournal(folder, RUN, Ranks(0, 2)) as journal:
        journal.append([0, 1], [5, 6], [str(pictures[0]), str(pictures[1])])
    with AnswerJournal(folder, RUN, Ranks(1, 2)) as journal:
        journal.append([2], [7], [str(pictures[1])])
    pictures[2].write_bytes(b"unused")
    assert journal_labels(folder) == {0: 5, 1: 6, 2: 7}
    pictures[1].write_bytes(b"1234")
    for ranks in (Ranks(), Ranks(1, 2)):
        with pytest.raises(DataError, match=r"b\.png, which had another size then \(3 bytes, now 4\)"):
            journal_labels(folder, ranks=ranks)
    pictures[1].unlink()
    with pytest.raises(DataError, match=r"b\.png, which had another size then \(3 bytes, now None\)"):
        journal_labels(folder)
    assert journal_labels(folder, overwrite=True) == {}


def test_each_rank_writes_own_file_and_reads_all(folder: Path) -> None:
    first, second = (AnswerJournal(folder, RUN, Ranks(rank, 2)) for rank in (0, 1))
    first.append([0, 1], [5, 6])
    second.append([2], [7])
    assert not first.contains([2])
    assert first.read() == second.read() == {0: 5, 1: 6, 2: 7}
    with pytest.raises(DataError, match="another process is writing to this folder as rank 1"):
        AnswerJournal(folder, RUN, Ranks(1, 2))
    first.close()
    second.close()
    # A run of one process goes on with what two have begun; or begins anew, without the second's.
    assert journal_labels(folder) == {0: 5, 1: 6, 2: 7}
    assert journal_labels(folder, overwrite=True) == {}
    assert journal_labels(folder) == {}


@pytest.mark.parametrize("rank", [0, 1])
def test_overwrite_is_rejected_for_unconnected_ranks(folder: Path, rank: int) -> None:
    """The others' files could be of this run or of an older one."""
    for other in (0, 1):
        with AnswerJournal(folder, RUN, Ranks(other, 2)) as journal:
            journal.append([other], [7])
    before = {path: path.read_bytes() for path in folder.glob("*.jsonl")}
    with pytest.raises(ConfigurationError, match=r"delete .*out\.json\.journal before.*omit") as caught:
        AnswerJournal(folder, RUN, Ranks(rank, 2), overwrite=True)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in folder.glob("*.jsonl")} == before
    with pytest.raises(DataError, match=r"another run \(weights\).*start over by deleting the folder"):
        journal_labels(folder, {**RUN, "weights": "cd34"}, ranks=Ranks(rank, 2))


def test_journal_of_another_run_without_answers_is_replaced(folder: Path) -> None:
    for rank in (0, 1):
        with AnswerJournal(folder, {**RUN, "weights": "cd34"}, Ranks(rank, 2)) as journal:
            journal.record_decision("precision", [64, 64])
    with AnswerJournal(folder, RUN) as journal:
        assert (journal.labels, journal.decisions) == ({}, {})
        journal.append([3], [10])
    assert journal_labels(folder) == {3: 10}
    with pytest.raises(DataError, match=r"another run \(weights\)"):
        journal_labels(folder, {**RUN, "weights": "cd34"})


@pytest.mark.parametrize("old", [RUN, {**RUN, "weights": "cd34"}])
def test_overwrite_by_connected_ranks_discards_all_files(folder: Path, old: dict[str, Any]) -> None:
    for rank in range(3):
        with AnswerJournal(folder, old, Ranks(rank, 3)) as journal:
            journal.append([rank], [7])
    new = [AnswerJournal(folder, RUN, Ranks(rank, 2, is_connected=True), overwrite=True) for rank in (1, 0)]
    assert [journal.labels for journal in new] == [{}, {}]
    assert new[0].read() == {}
    for journal in new:
        journal.close()


def test_append_calls_fsync_every_few_seconds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most as much work as `_SYNC_SECONDS` hold is lost where the power fails."""
    clock = SimpleNamespace(now=100.0)
    fsync_times: list[float] = []
    monkeypatch.setattr(bulk_journal.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(bulk_journal.os, "fsync", lambda descriptor: fsync_times.append(clock.now))
    with AnswerJournal(folder, RUN) as journal:
        for clock.now in (101.0, 104.5, 105.0, 106.0, 109.5, 110.5):
            journal.append([3], [0])
        assert fsync_times == [105.0, 110.5]
    assert fsync_times == [105.0, 110.5, 110.5]


def test_journal_path_that_is_a_file_raises_data_error(tmp_path: Path) -> None:
    (tmp_path / "out.journal").write_text("a file")
    with pytest.raises(DataError, match="cannot be written"):
        AnswerJournal(tmp_path / "out.journal", RUN)


def test_decisions_persist_and_that_of_rank_0_prevails(folder: Path) -> None:
    with AnswerJournal(folder, RUN, Ranks(1, 2)) as journal:
        assert journal.decisions == {}
        journal.record_decision("precision", [63, 64])
        journal.append([4], [9])
        assert journal.decisions == {"precision": [63, 64]}
    with AnswerJournal(folder, RUN, Ranks(0, 2)) as journal:
        assert (journal.decisions, journal.labels) == ({"precision": [63, 64]}, {4: 9})
        journal.record_decision("precision", [64, 64])
    with AnswerJournal(folder, RUN, Ranks(1, 2)) as journal:
        assert journal.decisions == {"precision": [64, 64]}, "the first process's counts"
    with AnswerJournal(folder, RUN, Ranks(1, 2, is_connected=True), overwrite=True) as journal:
        assert (journal.decisions, journal.labels) == ({}, {})


def test_journal_is_opened_without_conversion_of_line_ends(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where a file is opened as text without this flag."""
    binary, opened, opening = 1 << 30, [], os.open

    def noted(path: Path, flags: int, *more: Any) -> int:
        opened.append((path.name, bool(flags & binary)))
        return opening(path, flags & ~binary, *more)

    monkeypatch.setattr(os, "O_BINARY", binary, raising=False)
    monkeypatch.setattr(os, "open", noted)
    assert journal_labels(folder) == {}
    assert ("rank-00000.jsonl", True) in opened


def test_opening_reads_every_file_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rank in (0, 1):
        with AnswerJournal(folder, RUN, Ranks(rank, 2)) as journal:
            journal.record_decision("precision", [rank, 64])
            journal.append([rank], [7])
    opened: list[str] = []
    read_bytes = Path.read_bytes

    def reading(path: Path) -> bytes:
        opened.append(path.name)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", reading)
    with AnswerJournal(folder, RUN, Ranks(1, 2)) as journal:
        assert (journal.decisions, journal.labels) == ({"precision": [0, 64]}, {0: 7, 1: 7})
    assert opened == ["rank-00000.jsonl", "rank-00001.jsonl"]
