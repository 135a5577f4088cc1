"""The files of a checkpoint: whether an interruption or a power failure has left them complete."""

import json
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from safetensors import SafetensorError, safe_open

from lxmert.weights.files import SAFETENSORS_NAME

# Files of every checkpoint, besides the random number states. The trainer writes the last one last.
_CHECKPOINT_FILES = (SAFETENSORS_NAME, "optimizer.pt", "scheduler.pt", "trainer_state.json")

# Files that torch.save writes are zip files.
_ZIP_SUFFIXES = (".pt", ".pth")


def is_complete(checkpoint: Path, processes: int) -> bool:
    """Whether all files of a checkpoint are there and have their beginning and their end.

    Args:
        checkpoint: its folder.
        processes: the number of processes that wrote it.
    """
    # Each process writes its own random number state, and does not wait for the others.
    required = [*_rng_state_files(checkpoint, processes), *(checkpoint / name for name in _CHECKPOINT_FILES)]
    return all(path.is_file() for path in required) and all(map(_is_intact, checkpoint.iterdir()))


def _rng_state_files(checkpoint: Path, processes: int) -> list[Path]:
    """The files of the random number states, of which each process writes its own."""
    if processes == 1:
        return [checkpoint / "rng_state.pth"]
    return [checkpoint / f"rng_state_{rank}.pth" for rank in range(processes)]


def _is_intact(path: Path) -> bool:
    """Whether a file has its beginning and its end, which a power failure may take; not all of it is read."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt"):
                pass
        elif path.suffix in _ZIP_SUFFIXES:
            with ZipFile(path):
                pass
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
    except (OSError, SafetensorError, BadZipFile, ValueError):
        return False
    return True
