"""Machine code of a module with its weights as a file, which any later process loads in seconds.

Written by AOTInductor. Its own loader (torch 2.13) puts the weights 16 bytes after a multiple of 64, so that
each row that a matrix unit takes lies in two cache lines, which slows products down; here they are laid out
anew. Source: AOTInductor's documentation, and the headers of its runtime
(`torch/csrc/inductor/aoti_runtime`).
"""

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

from lxmert.inference.int8 import MIDDLE

SUFFIX = ".so"

_MOST_BYTES = 8 * 2**30
"""What a folder may hold when new code comes: what was not used for longest goes. Of a full-size model it
takes 0.9 GB in float32 and half of it in bfloat16."""

_OF_ALL_INT8_PRODUCTS = {"x_scale": (1.0,), "x_zp": (0, MIDDLE)}
"""Constants that share one name across all 8-bit products in the code, and their values (`int8.py`)."""

_OTHERS_WRITE = 0o022
"""The bits of a mode by which a group or all others may write."""

_PARTIAL = ".partial-"
_ABANDONED_SECONDS = 24 * 60 * 60


@contextmanager
def one_process_at_a_time(folder: Path) -> Iterator[None]:
    """Hold the one lock of a folder of code, waiting for it: the ranks of a run all want the same code.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    make_own_folder(folder)
    lock = FileLock(folder / "compiling.lock")
    with suppress(NotImplementedError):  # A file system without locks: each process compiles for itself.
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def make_own_folder(folder: Path) -> None:
    """A folder of code, made where there is none, into which no other user can put a file: code is run.

    Raises:
        PermissionError: it is another user's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not is_trusted(folder) and folder.stat().st_uid == os.getuid():
        folder.chmod(folder.stat().st_mode & ~_OTHERS_WRITE)
    if not is_trusted(folder):  # Another user's, or on a file system whose modes stay as they are.
        raise PermissionError("other users can write there")


def is_trusted(path: Path) -> bool:
    """Whether none but this user and the system's administrator can have written a file or folder."""
    if not hasattr(os, "getuid"):  # Windows keeps what lies in a home from others by itself.
        return True
    facts = path.stat()
    return facts.st_uid in (0, os.getuid()) and not facts.st_mode & _OTHERS_WRITE


def write_code(path: Path, program: ExportedProgram) -> None:
    """Compile a program of one result for this processor, with its weights frozen.

    Args:
        path: of the file, in a folder that is there; it is there whole or not at all.
        program: on the CPU.

    Raises:
        Exception: of any kind, as compilers do.
    """
    from torch._inductor import aoti_compile_and_package  # Takes a second.
    from torch._inductor.utils import fresh_cache

    folder = path.parent
    _tidy(folder)
    partial = Path(mkdtemp(prefix=_PARTIAL, dir=folder))
    code = partial / path.name
    try:
        # A compiler is not told of spaces in names (torch 2.13).
        place = None if re.search(r"\s", str(partial)) else partial
        with TemporaryDirectory(
            prefix="lxmert-compiling-", dir=place, ignore_cleanup_errors=True
        ) as building:
            package = Path(building) / "package.pt2"
            # What the compiler keeps for itself is as large, and of no further use.
            with torch.no_grad(), fresh_cache(dir=building):
                aoti_compile_and_package(
                    program, package_path=str(package), inductor_configs={"freezing": True}
                )
            with ZipFile(package) as archive, code.open("wb") as whole:
                (name,) = (name for name in archive.namelist() if name.endswith(SUFFIX))
                with archive.open(name) as packed:
                    copyfileobj(packed, whole)
                whole.flush()
                os.fsync(whole.fileno())
            code.chmod(code.stat().st_mode & ~_OTHERS_WRITE)
        os.replace(code, path)
    finally:
        rmtree(partial, ignore_errors=True)


@cache
def load_code(path: Path) -> Callable[..., Tensor]:
    """The function that a file of `write_code` holds: of tensors in the program's order, shapes and dtypes.

    A file is loaded once, and its weights stay in memory until the process ends: the runtime never frees
    weights that are laid out for it.

    Raises:
        RuntimeError: there is no such file, or it is damaged.
    """
    runner = torch._C._aoti.AOTIModelContainerRunnerCpu(str(path), 1)
    with suppress(OSError):  # Only tells how lately it was used.
        os.utime(path)
    aligned = _aligned_weights(runner)
    if aligned is not None:
        # In the second of two sets, so that the first may go.
        runner.update_constant_buffer(aligned, True, True, True)
        runner.swap_constant_buffer()
        runner.free_inactive_constant_buffer()

    def call(*inputs: Tensor) -> Tensor:
        # The code takes strides for granted, and reads elsewhere where they differ.
        (result,) = runner.run([one.contiguous() for one in inputs])
        return result

    return call


def _aligned_weights(runner: Any) -> dict[str, Tensor] | None:
    """Copies of the weights, by the names that the code has for them; None where they are ambiguous."""
    loaded = runner.extract_constants_map(False)  # By the names that weights have in the model.
    names = runner.get_constant_names_to_original_fqns()
    for in_model, count in Counter(names.values()).items():
        if count > 1 and loaded[in_model].tolist() not in _OF_ALL_INT8_PRODUCTS.get(in_model, ()):
            return None
    # torch's copies start at multiples of 64 bytes.
    copies = {in_model: weight.clone() for in_model, weight in loaded.items()}
    for in_model, weight in loaded.items():
        if not weight.is_mkldnn and copies[in_model].stride() != weight.stride():
            return None
    return {name: copies[in_model] for name, in_model in names.items()}


def _tidy(folder: Path) -> None:
    """Make room in a folder of code, and remove what a process that was killed has left."""
    for partial in folder.glob(f"{_PARTIAL}*"):
        if _age_seconds(partial) > _ABANDONED_SECONDS:
            rmtree(partial, ignore_errors=True)
    room = _MOST_BYTES
    for code in sorted(folder.glob(f"*{SUFFIX}"), key=_age_seconds):
        with suppress(OSError):  # Another process may be at the same.
            room -= code.stat().st_size
            if room < 0:
                code.unlink()


def _age_seconds(path: Path) -> float:
    """Since a file or folder was touched; 0 when it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
