"""Compiled code of a module with its weights as a file, which later processes load in seconds.

Written by AOTInductor. Its own loader (torch 2.13) places the weights 16 bytes past a multiple of 64, so that
each row that a matrix unit reads spans two cache lines, which slows products down; here they are realigned.
Source: AOTInductor's documentation, and the headers of its runtime (`torch/csrc/inductor/aoti_runtime`).
"""

import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from shutil import copyfileobj, rmtree
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any
from zipfile import ZipFile

import torch
from filelock import FileLock
from torch import Tensor
from torch.export import ExportedProgram

from lxmert.inference.int8 import UINT8_ZERO_POINT

SUFFIX = ".so"

_MAX_BYTES = 8 * 2**30
"""Limit of a folder when new code is written; the least recently used is deleted. A full-size model takes
0.9 GB in float32 and half of that in bfloat16."""

_SHARED_INT8_CONSTANTS = {"x_scale": (1.0,), "x_zp": (0, UINT8_ZERO_POINT)}
"""Constants that share one name across all 8-bit products in the code, and their values (`int8.py`)."""

_WRITABLE_BY_OTHERS = 0o022
"""Mode bits that let the group or others write."""

_PARTIAL = ".partial-"
_ABANDONED_SECONDS = 24 * 60 * 60


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of code, waiting for it: all ranks of a run need the same code.

    Raises:
        OSError: the folder cannot be created or written to.
    """
    create_private_folder(folder)
    lock = FileLock(folder / "compiling.lock")
    with suppress(NotImplementedError):  # A file system without locks: each process compiles for itself.
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def create_private_folder(folder: Path) -> None:
    """Create a folder of code that no other user can write to, since its files are executed.

    Raises:
        PermissionError: it is another user's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not is_trusted(folder) and folder.stat().st_uid == os.getuid():
        folder.chmod(folder.stat().st_mode & ~_WRITABLE_BY_OTHERS)
    if not is_trusted(folder):  # Another user's, or on a file system whose modes cannot change.
        raise PermissionError("other users can write there")


def is_trusted(path: Path) -> bool:
    """Whether only this user and the system administrator can have written a file or folder."""
    if not hasattr(os, "getuid"):  # Windows protects files in a home folder by itself.
        return True
    status = path.stat()
    return status.st_uid in (0, os.getuid()) and not status.st_mode & _WRITABLE_BY_OTHERS


def write_code(path: Path, program: ExportedProgram) -> None:
    """Compile a program of one output for this processor, with its weights frozen.

    Args:
        path: of the file, in an existing folder; it is written completely or not at all.
        program: on the CPU.

    Raises:
        Exception: of any kind, as compilers raise.
    """
    from torch._inductor import aoti_compile_and_package  # Takes a second.
    from torch._inductor.utils import fresh_cache

    folder = path.parent
    _evict(folder)
    partial = Path(mkdtemp(prefix=_PARTIAL, dir=folder))
    code = partial / path.name
    try:
        # Paths with spaces are passed to the compiler unquoted (torch 2.13).
        parent = None if re.search(r"\s", str(partial)) else partial
        with TemporaryDirectory(
            prefix="lxmert-compiling-", dir=parent, ignore_cleanup_errors=True
        ) as build_folder:
            package = Path(build_folder) / "package.pt2"
            # The compiler's own cache is as large, and of no further use.
            with torch.no_grad(), _quiet_cache_warning(), fresh_cache(dir=build_folder):
                aoti_compile_and_package(
                    program, package_path=str(package), inductor_configs={"freezing": True}
                )
            with ZipFile(package) as archive, code.open("wb") as target:
                (name,) = (name for name in archive.namelist() if name.endswith(SUFFIX))
                with archive.open(name) as packed:
                    copyfileobj(packed, target)
                target.flush()
                os.fsync(target.fileno())
            code.chmod(code.stat().st_mode & ~_WRITABLE_BY_OTHERS)
        os.replace(code, path)
    finally:
        rmtree(partial, ignore_errors=True)


@contextmanager
def _quiet_cache_warning() -> Iterator[None]:
    """Hide the warning of `fresh_cache` that a failed compilation keeps its folder, which is deleted here."""
    inductor = logging.getLogger("torch._inductor.utils")

    def is_other(record: logging.LogRecord) -> bool:
        return "temporary cache dir kept" not in str(record.msg)

    inductor.addFilter(is_other)
    try:
        yield
    finally:
        inductor.removeFilter(is_other)


@cache
def load_code(path: Path) -> Callable[..., Tensor]:
    """Load the function in a file of `write_code`; it takes tensors as the program does.

    A file is loaded once, and its weights stay in memory until the process ends: the runtime never frees
    weights that were passed to it.

    Raises:
        RuntimeError: there is no such file, or it is damaged.
    """
    runner = torch._C._aoti.AOTIModelContainerRunnerCpu(str(path), 1)
    with suppress(OSError):  # Only records when it was last used.
        os.utime(path)
    aligned = _aligned_weights(runner)
    if aligned is not None:
        # Into the second of two buffers, so that the first can be freed. All weights must be given; they are
        # not copied again.
        inactive, validate_all, user_managed = True, True, True
        runner.update_constant_buffer(aligned, inactive, validate_all, user_managed)
        runner.swap_constant_buffer()
        runner.free_inactive_constant_buffer()

    def call(*inputs: Tensor) -> Tensor:
        # The code assumes contiguous strides, and would read out of place with others.
        (result,) = runner.run([tensor.contiguous() for tensor in inputs])
        return result

    return call


def _aligned_weights(runner: Any) -> dict[str, Tensor] | None:
    """Return aligned copies of the weights by their names in the code; None if names are ambiguous."""
    loaded = runner.extract_constants_map(False)  # By their names in the model.
    names = runner.get_constant_names_to_original_fqns()
    for model_name, count in Counter(names.values()).items():
        if count > 1 and loaded[model_name].tolist() not in _SHARED_INT8_CONSTANTS.get(model_name, ()):
            return None
    # torch's copies start at multiples of 64 bytes.
    copies = {model_name: weight.clone() for model_name, weight in loaded.items()}
    for model_name, weight in loaded.items():
        if not weight.is_mkldnn and copies[model_name].stride() != weight.stride():
            return None
    return {name: copies[model_name] for name, model_name in names.items()}


def _evict(folder: Path) -> None:
    """Make room in a folder of code, and remove what killed processes left behind."""
    for partial in folder.glob(f"{_PARTIAL}*"):
        if _age_seconds(partial) > _ABANDONED_SECONDS:
            rmtree(partial, ignore_errors=True)
    free_bytes = _MAX_BYTES
    for code in sorted(folder.glob(f"*{SUFFIX}"), key=_age_seconds):
        with suppress(OSError):  # Another process may be doing the same.
            free_bytes -= code.stat().st_size
            if free_bytes < 0:
                code.unlink()


def _age_seconds(path: Path) -> float:
    """Return the time since a file or folder was last modified; 0 if it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
