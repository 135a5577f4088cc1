"""A feature store survives an interrupted writer: killed at any byte, by a signal, or by a power failure."""

import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from lxmert.data.feature_store import FeatureStore, FeatureStoreWriter, parts, verify_store, writer
from lxmert.data.feature_store.layout import PartFiles
from lxmert.errors import DataError
from tests.data.stores import manifest, random_regions, write_store

IMAGES = {f"photo-{number}.jpg": random_regions(number, number % 3) for number in range(4)}
STEM = "rank-00000-part-00000"


def _record_writes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, bytes]]:
    """Write the store; every write of it as file name, offset and bytes, in order."""
    log: list[tuple[str, int, bytes]] = []
    plain = writer._write_at

    def logging_write(file, offset, data):  # type: ignore[no-untyped-def]
        log.append((Path(file.name).name, offset, bytes(data)))
        plain(file, offset, data)

    monkeypatch.setattr(writer, "_write_at", logging_write)
    write_store(folder, IMAGES)
    monkeypatch.undo()
    return log


def _replay(folder: Path, empty: Path, operations: list[tuple[str, int, bytes]]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(empty, folder)
    for name, offset, data in operations:
        with (folder / name).open("r+b") as file:
            file.seek(offset)
            file.write(data)


def test_writer_killed_at_any_write_loses_only_the_current_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = _record_writes(tmp_path / "whole", monkeypatch)
    assert [Path(name).suffix for name, _, _ in log[:3]] == [".data", ".names", ".index"]
    empty = write_store(tmp_path / "empty", {})
    folder = tmp_path / "killed"
    for number, (name, offset, data) in enumerate(log):
        for written in {0, 1, len(data) // 2, len(data) - 1}:
            _replay(folder, empty, [*log[:number], (name, offset, data[:written])])
            complete = number // 3
            store = FeatureStore(folder)
            assert store.names == tuple(IMAGES)[:complete]
            assert all(store[known].equals(IMAGES[known]) for known in store)
            assert verify_store(folder).faults == []
            with FeatureStoreWriter(folder, manifest()) as again:
                assert len(again) == complete
                for missing in tuple(IMAGES)[complete:]:
                    again.add(missing, IMAGES[missing])
            for kind in ("data", "names", "index"):
                path = folder / f"{STEM}.{kind}"
                assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()


@pytest.mark.parametrize("kind", ["data", "names", "index"])
def test_images_with_lost_bytes_are_dropped_after_power_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The disk may have kept the entry of an image and lost its numbers: zeros stand there."""
    log = _record_writes(tmp_path / "whole", monkeypatch)
    folder, empty = tmp_path / "failed", write_store(tmp_path / "empty", {})
    lost = next(number for number, (name, _, _) in enumerate(log) if number >= 6 and name.endswith(kind))
    name, offset, data = log[lost]
    _replay(folder, empty, [*log[:lost], (name, offset, bytes(len(data))), *log[lost + 1 :]])
    assert FeatureStore(folder).names == tuple(IMAGES)[:2]
    assert verify_store(folder).unfinished_bytes > 0
    with FeatureStoreWriter(folder, manifest()) as again:
        for missing in tuple(IMAGES)[2:]:
            again.add(missing, IMAGES[missing])
    assert verify_store(folder).unfinished_bytes == 0
    assert (folder / f"{STEM}.data").read_bytes() == (tmp_path / "whole" / f"{STEM}.data").read_bytes()


def test_trailing_garbage_is_ignored_and_truncated(tmp_path: Path) -> None:
    folder = write_store(tmp_path / "store", IMAGES)
    for kind in ("data", "names", "index"):
        with (folder / f"{STEM}.{kind}").open("ab") as file:
            file.write(b"x" * 100)
    assert FeatureStore(folder).names == tuple(IMAGES)
    report = verify_store(folder)
    assert (report.images, report.faults, report.unfinished_bytes) == (4, [], 300)
    write_store(folder, {"new": random_regions(9)})
    store = FeatureStore(folder)
    assert store.names == (*IMAGES, "new")
    assert store["new"].equals(random_regions(9))
    assert verify_store(folder).unfinished_bytes == 0


def test_files_are_synced_in_order_data_names_index_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "SYNC_BYTES", 0)
    synced: list[str] = []
    real = os.fsync

    def logging_fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append(path.suffix)
        real(descriptor)

    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not tell what a descriptor belongs to")
    with FeatureStoreWriter(tmp_path / "store", manifest()) as store:
        monkeypatch.setattr(os, "fsync", logging_fsync)
        for count, (name, regions) in enumerate(IMAGES.items(), start=1):
            synced.clear()
            store.add(name, regions)
            assert synced == [".data", ".names", ".index", ".synced-partial"]
            assert (tmp_path / "store" / f"{STEM}.synced").read_text() == f"{count}\n"


@pytest.mark.parametrize("kind", ["data", "names", "index"])
def test_truncated_copy_raises_data_error(tmp_path: Path, kind: str) -> None:
    folder = write_store(tmp_path / "store", IMAGES)
    path = folder / f"{STEM}.{kind}"
    os.truncate(path, path.stat().st_size - 70 if kind == "index" else path.stat().st_size - 1)
    with pytest.raises(DataError, match=r"get (the file|it) again"):
        FeatureStore(folder)
    with pytest.raises(DataError, match=r"get (the file|it) again"):
        FeatureStoreWriter(folder, manifest())
    assert len(verify_store(folder).faults) == 1


@pytest.mark.parametrize("kind", ["data", "names", "index"])
@pytest.mark.parametrize("synced", [True, False])
def test_copy_with_missing_file_raises_error_and_is_not_overwritten(
    tmp_path: Path, kind: str, synced: bool
) -> None:
    folder = write_store(tmp_path / "store", IMAGES)
    (folder / f"{STEM}.{kind}").unlink()
    if not synced:
        (folder / f"{STEM}.synced").unlink()
    left = {path.name: path.read_bytes() for path in folder.glob("*.[dni]*")}
    for open_it in (lambda: FeatureStore(folder), lambda: write_store(folder, {"x": random_regions(9)})):
        with pytest.raises(DataError, match=rf"{kind}: no such file; the copy is incomplete, get it again"):
            open_it()
    assert len(verify_store(folder).faults) == 1
    assert {path.name: path.read_bytes() for path in folder.glob("*.[dni]*")} == left


def test_missing_middle_part_raises_data_error(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with FeatureStoreWriter(folder, manifest(), part_bytes=1) as store:
        for name, regions in IMAGES.items():
            store.add(name, regions)
    for path in folder.glob("rank-00000-part-00001.*"):
        path.unlink()
    with pytest.raises(
        DataError, match=r"rank-00000-part-00001\.index: no such file; the copy is incomplete"
    ):
        FeatureStore(folder)
    assert [fault.count("part-00001") for fault in verify_store(folder).faults] == [1]


def test_writer_continues_after_kill_at_start_of_part(tmp_path: Path) -> None:
    whole = write_store(tmp_path / "whole", IMAGES)
    for made in (["data"], ["data", "names"], ["data", "names", "index"]):
        folder = shutil.copytree(whole, tmp_path / f"killed-{len(made)}")
        for kind in made:
            (folder / f"rank-00000-part-00001.{kind}").touch()
        assert FeatureStore(folder).names == tuple(IMAGES)
        assert (verify_store(folder).faults, verify_store(folder).unfinished_bytes) == ([], 0)
        assert FeatureStore(write_store(folder, {"x": random_regions(9)})).names == (*IMAGES, "x")


def test_full_disk_loses_no_image_and_add_can_be_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = writer._write_at
    with FeatureStoreWriter(tmp_path / "store", manifest()) as store:
        store.add("a", random_regions(1))

        def full(file, offset, data):  # type: ignore[no-untyped-def]
            plain(file, offset, data[: len(data) // 2])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(writer, "_write_at", full)
        with pytest.raises(OSError, match="No space") as caught:
            store.add("b", random_regions(2, 9))
        assert caught.value.filename == str(tmp_path / "store")  # Of several disks, which?
        monkeypatch.undo()
        assert "b" not in store
        store.add("b", random_regions(3))
    found = FeatureStore(tmp_path / "store")
    assert found["a"].equals(random_regions(1))
    assert found["b"].equals(random_regions(3))
    assert verify_store(tmp_path / "store").faults == []


def test_failure_to_start_part_is_raised_and_add_can_be_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Path.open

    def full(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "rank-00000-part-00001.names":
            raise OSError(28, "No space left on device")
        return plain(path, *arguments, **options)

    folder = tmp_path / "store"

    def write() -> None:
        with FeatureStoreWriter(folder, manifest(), part_bytes=1) as store:
            store.add("a", random_regions(1))
            monkeypatch.setattr(Path, "open", full)
            with pytest.raises(OSError, match="No space"):
                store.add("b", random_regions(2))
            monkeypatch.undo()
            store.add("b", random_regions(3))
            monkeypatch.setattr(Path, "open", full)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    monkeypatch.undo()
    assert FeatureStore(folder)["b"].equals(random_regions(3))
    assert verify_store(folder).faults == []


def _write_until_killed(folder: Path) -> None:
    with FeatureStoreWriter(folder, manifest()) as store:
        for number in range(len(store), 10**6):
            store.add(f"{number}", random_regions(number % 50, number % 5))


def test_repeatedly_killed_writer_continues_after_last_image(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    context = multiprocessing.get_context("fork")
    reached = 0
    for _ in range(4):
        process = context.Process(target=_write_until_killed, args=(folder,))
        process.start()
        index = folder / f"{STEM}.index"
        deadline = time.monotonic() + 30
        while (index.stat().st_size if index.exists() else 0) < 64 * (reached + 40):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)  # type: ignore[arg-type]
        process.join()
        store = FeatureStore(folder)
        assert len(store) >= reached + 40
        reached = len(store)
    assert store.names == tuple(str(number) for number in range(reached))
    assert all(
        store.regions_at(number).equals(random_regions(number % 50, number % 5)) for number in range(reached)
    )
    assert verify_store(folder).faults == []


def test_second_writer_of_rank_is_rejected_until_first_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with FeatureStoreWriter(folder, manifest()):
        with pytest.raises(DataError, match="another process is writing to this folder as rank 0"):
            FeatureStoreWriter(folder, manifest())
        FeatureStoreWriter(folder, manifest(), rank=1).close()
    FeatureStoreWriter(folder, manifest()).close()


def test_ranks_write_concurrently_and_readers_see_all_images(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with (
        FeatureStoreWriter(folder, manifest(), rank=0) as first,
        FeatureStoreWriter(folder, manifest(), rank=3) as second,
    ):
        for number, (name, regions) in enumerate(IMAGES.items()):
            (second if number % 2 else first).add(name, regions)
    store = FeatureStore(folder)
    assert sorted(store.names) == sorted(IMAGES)
    assert store.names == ("photo-0.jpg", "photo-2.jpg", "photo-1.jpg", "photo-3.jpg")
    assert all(store[name].equals(regions) for name, regions in IMAGES.items())
    with (
        FeatureStoreWriter(folder, manifest(), rank=1) as third,
        pytest.raises(DataError, match="is already in the store"),
    ):
        third.add("photo-3.jpg", IMAGES["photo-3.jpg"])


def test_processes_started_together_create_one_store(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    context = multiprocessing.get_context("fork")
    images = [{f"{rank}-{number}": random_regions(number) for number in range(5)} for rank in range(4)]
    started = [
        context.Process(target=write_store, args=(folder, images[rank], "float32", rank)) for rank in range(4)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * 4
    assert len(FeatureStore(folder)) == 20
    assert not list(folder.glob("*.partial"))


def test_machines_with_equal_process_ids_do_not_share_a_partial_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.link

    def link_while_another_writes(source: Path, target: Path) -> None:
        plain(source, target)
        monkeypatch.setattr(os, "link", plain)
        assert not manifest().write_if_absent(tmp_path)  # On a machine with the same process id.
        assert source.exists()

    monkeypatch.setattr(os, "link", link_while_another_writes)
    assert manifest().write_if_absent(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_unsynced_entry_counts_only_if_its_checksum_is_valid(tmp_path: Path) -> None:
    folder = write_store(tmp_path / "store", IMAGES)
    (folder / f"{STEM}.synced").write_text("2\n")
    assert FeatureStore(folder).names == tuple(IMAGES)
    index = folder / f"{STEM}.index"
    content = bytearray(index.read_bytes())
    content[3 * 64 + 40] ^= 1  # The height of the last image.
    index.write_bytes(content)
    assert FeatureStore(folder).names == tuple(IMAGES)[:3]


@pytest.mark.parametrize("synced", [None, ""])
@pytest.mark.parametrize(("kind", "offset"), [("data", 3), ("names", 1), ("index", 64 + 9)])
def test_complete_images_after_a_damaged_one_are_kept_if_count_is_lost(
    tmp_path: Path, kind: str, offset: int, synced: str | None
) -> None:
    folder = write_store(tmp_path / "store", {f"{n}.jpg": random_regions(n, 2) for n in range(5)})
    (folder / f"{STEM}.synced").unlink()
    if synced is not None:
        (folder / f"{STEM}.synced").write_text(synced)
    path = folder / f"{STEM}.{kind}"
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content + b"torn")
    damaged = offset // 64
    (fault,) = verify_store(folder).faults
    assert fault.startswith(f"{STEM}.index, image {damaged}")
    assert verify_store(folder).unfinished_bytes == 4
    write_store(folder, {"new": random_regions(9, 2)})
    store = FeatureStore(folder)
    assert len(store) == 6
    assert store["new"].equals(random_regions(9, 2))
    kept = [n for n in range(5) if n != damaged]
    assert all(store[f"{n}.jpg"].equals(random_regions(n, 2)) for n in kept)
    assert len(verify_store(folder).faults) == 1


def test_store_can_be_opened_while_writer_appends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image comes, and is forced to the disk, between any two looks of the reader."""
    monkeypatch.setattr(writer, "SYNC_SECONDS", 0)
    folder = tmp_path / "store"
    read_size, read_number = parts._size, PartFiles.synced_count
    with FeatureStoreWriter(folder, manifest()) as growing:

        def grow() -> None:
            growing.add(f"photo-{len(growing)}", random_regions(len(growing)))

        def measure_and_grow(path: Path) -> int:
            size = read_size(path)
            grow()
            return size

        def read_and_grow(files: PartFiles) -> int | None:
            number = read_number(files)
            grow()
            return number

        grow()
        monkeypatch.setattr(parts, "_size", measure_and_grow)
        monkeypatch.setattr(PartFiles, "synced_count", read_and_grow)
        store = FeatureStore(folder)
        assert store.names[:1] == ("photo-0",)
        assert all(store[name].equals(random_regions(int(name[6:]))) for name in store)
    assert len(growing) == 5
