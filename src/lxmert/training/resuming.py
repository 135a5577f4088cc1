"""Resuming a run from a checkpoint, even if the folder was moved or the run had ended."""

import json
from collections.abc import Iterable
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from transformers import Trainer, TrainerState

from lxmert.atomic_files import write_atomic
from lxmert.data.joined_stores import RegionStore
from lxmert.data.region_source import ImageNameIndex, RegionSource
from lxmert.training.early_stopping import EarlyStopping
from lxmert.weights.files import read_folder

_STATE = "trainer_state.json"
_BEST = "best_model_checkpoint"
_LINES_AT_A_TIME = 1_000


def fingerprint(entries: Iterable[str]) -> str:
    """A hash of data, equal for equal entries in the same order."""
    digest = blake2b(digest_size=16)
    lines = (f"{entry}\n" for entry in entries)
    # With millions of lines, a call for each would cost more than the hash.
    while part := "".join(islice(lines, _LINES_AT_A_TIME)):
        digest.update(part.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def fingerprint_features(store: RegionStore, *sources: RegionSource) -> str:
    """A hash of the stored regions of the sources' images; images added to the store later change nothing."""
    index, checksums = ImageNameIndex(store), store.checksums()
    positions = [list(index.find_all(map(str, source.rows)).values()) for source in sources]
    return fingerprint(str(checksum) for part in positions for checksum in checksums[part].tolist())


def correct_best_checkpoint_path(checkpoint: Path) -> None:
    """Correct a checkpoint's path of the best one, since the Trainer forgets a path that does not exist.

    Args:
        checkpoint: the folder of a checkpoint, next to which the best one is.
    """
    path = checkpoint / _STATE
    state = json.loads(path.read_text(encoding="utf-8"))
    if state.get(_BEST) is None:
        return
    current = str((checkpoint.parent / Path(state[_BEST]).name).absolute())
    if state[_BEST] != current:
        write_atomic(path, json.dumps(state | {_BEST: current}, indent=2) + "\n")


def restore_finished_run(trainer: Trainer, checkpoint: Path) -> bool:
    """Restore a trainer's state and weights from a run that had ended, early or not, without training.

    The Trainer itself would make another update after an early stop or within an epoch, because it checks
    whether to stop only after one.

    Args:
        trainer: a trainer of the same recipe.
        checkpoint: the newest one, with correct paths.

    Returns:
        False if the run had not ended; then nothing was done.
    """
    state = TrainerState.load_from_json(str(checkpoint / _STATE))
    callbacks = [
        callback for callback in trainer.callback_handler.callbacks if isinstance(callback, EarlyStopping)
    ]
    has_stopped_early = any(callback.should_stop(state.log_history) for callback in callbacks)
    if not has_stopped_early and state.global_step < state.max_steps:
        return False
    trainer.state = state
    # A tied matrix is not stored twice.
    trainer.model.load_state_dict(read_folder(state.best_model_checkpoint or checkpoint), strict=False)
    return True
