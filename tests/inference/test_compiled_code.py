"""Cached files of compiled code: atomic writing, aligned weights, locks, eviction, permissions."""

import os
import time
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import torch
from filelock import FileLock, Timeout
from torch import nn
from torch.export import Dim

from lxmert.inference import compiled_code, int8
from lxmert.inference.compiled_code import is_trusted, load_code, lock_folder, write_code
from lxmert.inference.compiling import CompiledPart
from tests.inference.test_fast_model import needs_compiler
from tests.inference.test_int8 import needs_int8

CACHE_LINE = 64
"""Bytes of a processor's cache line."""


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(("kind", "accuracy"), [
    ("float32", 1e-6),
    pytest.param("int8", 0.05, marks=needs_int8),
    pytest.param("uint8", 0.05, marks=needs_int8),
])  # fmt: skip
def test_written_code_loads_once_with_aligned_weights_and_same_results(
    kind: str, accuracy: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = nn.Linear(32, 1024), nn.Linear(1024, 3)
    if kind != "float32":
        monkeypatch.setattr(int8, "has_amx", lambda: kind == "int8")
        first, last = (int8.Int8Linear(one, torch.float32) for one in (first, last))
    part = nn.Sequential(first, nn.Tanh(), last).eval()
    example = torch.rand(5, 32)
    rows = {"input": {0: Dim("rows", min=1)}}
    path = tmp_path / "a name with spaces" / "part.so"
    path.parent.mkdir()
    write_code(path, torch.export.export(part, (example,), dynamic_shapes=rows))
    assert list(path.parent.iterdir()) == [path], "nothing else is left"

    runners = []
    real = torch._C._aoti.AOTIModelContainerRunnerCpu

    def recorded(*given: Any) -> Any:
        runners.append(real(*given))
        return runners[-1]

    monkeypatch.setattr(torch._C._aoti, "AOTIModelContainerRunnerCpu", recorded)
    code = load_code(path)
    for given in (
        example,
        example[:1],
        example[::2],
        example[:1].expand(5, -1),
        example.t()[:5].t().repeat(1, 7),
    ):
        given = given[:, :32]
        torch.testing.assert_close(code(given), part(given), rtol=0, atol=accuracy)
    weights = runners[0].extract_constants_map(False)
    assert len(weights) >= 3
    addresses = [
        torch.ops.mkldnn.data_ptr(one) if one.is_mkldnn else one.data_ptr() for one in weights.values()
    ]
    assert {address % CACHE_LINE for address in addresses} == {0}
    assert compiled_code._aligned_weights(runners[0]) is not None, "not by luck"
    assert load_code(path) is code, "loaded once"


def test_load_code_raises_for_invalid_or_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.so"
    path.touch()
    for wrong in (path, tmp_path / "missing.so"):
        with pytest.raises(RuntimeError):
            load_code(wrong)
    assert [one.name for one in tmp_path.iterdir()] == ["empty.so"], "none is made"


@pytest.fixture
def stub_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes packages of 10 bytes of code in no time."""

    def package(program: object, *, package_path: str, inductor_configs: object) -> None:
        with ZipFile(package_path, "w") as archive:
            archive.writestr("model/data/code.cpp", "source")
            archive.writestr("model/data/code.so", b"0123456789")

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", package)


def write_stub_code(path: Path) -> Path:
    write_code(path, None)  # type: ignore[arg-type]
    return path


def test_write_code_keeps_only_shared_object_of_package(tmp_path: Path, stub_compiler: None) -> None:
    assert write_stub_code(tmp_path / "one.so").read_bytes() == b"0123456789"
    assert [path.name for path in tmp_path.iterdir()] == ["one.so"]


def test_lock_folder_blocks_other_processes(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    other = FileLock(folder / "compiling.lock")
    with lock_folder(folder), pytest.raises(Timeout):
        other.acquire(timeout=0)
    other.acquire(timeout=0)


def test_lock_folder_continues_where_locks_are_unsupported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise NotImplementedError("no flock")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with lock_folder(tmp_path):
        pass


def test_failed_compilation_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", refuse)
    with pytest.raises(RuntimeError, match="no compiler"):
        write_stub_code(tmp_path / "one.so")
    assert list(tmp_path.iterdir()) == []


def test_least_recently_used_code_is_deleted_above_size_limit(
    tmp_path: Path, stub_compiler: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_code, "_MAX_BYTES", 25)
    for age, name in enumerate(("newest", "middle", "oldest")):
        path = write_stub_code(tmp_path / f"{name}.so")
        os.utime(path, (0, time.time() - 100 * age))
    other = tmp_path / "not-code.txt"
    other.write_text("0" * 100)
    write_stub_code(tmp_path / "new.so")
    assert {path.name for path in tmp_path.iterdir()} == {"newest.so", "middle.so", "new.so", "not-code.txt"}


def test_partial_folders_older_than_a_day_are_removed(tmp_path: Path, stub_compiler: None) -> None:
    day = 24 * 60 * 60
    for age, name in ((2 * day, "old"), (60, "young")):
        folder = tmp_path / f".partial-{name}"
        folder.mkdir()
        os.utime(folder, (0, time.time() - age))
    write_stub_code(tmp_path / "one.so")
    assert {path.name for path in tmp_path.iterdir()} == {".partial-young", "one.so"}


def change_owner(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a file or folder belong to another user than the one who runs, who is not the administrator."""
    if path.stat().st_uid == 0:
        os.chown(path, 1234, -1)
    monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)


@pytest.mark.parametrize("writer", ["group", "all", "another user"])
@pytest.mark.parametrize("target", ["file", "folder"])
def test_code_writable_by_other_users_is_not_loaded(
    target: str, writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "compiled"
    folder.mkdir(mode=0o700)
    code = folder / "part.so"
    code.touch(mode=0o600)
    ran = []
    monkeypatch.setattr("lxmert.inference.compiling.load_code", ran.append)
    CompiledPart._load_cached(code)
    assert ran == [code]
    path = code if target == "file" else folder
    if writer == "another user":
        change_owner(path, monkeypatch)
    else:
        path.chmod(0o720 if writer == "group" else 0o702)
    assert CompiledPart._load_cached(code) is None
    assert ran == [code]
    assert code.exists()


def test_lock_folder_makes_private_folder_and_rejects_other_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0)
    try:
        with lock_folder(tmp_path / "compiled"):
            pass
    finally:
        os.umask(before)
    assert is_trusted(tmp_path / "compiled")
    change_owner(tmp_path / "compiled", monkeypatch)
    with (
        pytest.raises(PermissionError, match="other users can write there"),
        lock_folder(tmp_path / "compiled"),
    ):
        pass


def test_lock_folder_rejects_folder_that_stays_world_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on mounted drives of other systems: else each process would compile anew, for minutes."""
    tmp_path.chmod(0o777)
    monkeypatch.setattr(Path, "chmod", lambda path, mode: None)
    with (
        pytest.raises(PermissionError, match="other users can write there"),
        lock_folder(tmp_path),
    ):
        pass
