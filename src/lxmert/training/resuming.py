"""Going on with a run from a checkpoint, also where the folder was moved or the run had ended."""

import json
from collections.abc import Iterable
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from transformers import Trainer, TrainerState

from lxmert.training.stopping import StopEarly
from lxmert.weights.files import read_folder
from lxmert.whole_files import write_whole

_STATE = "trainer_state.json"
_BEST = "best_model_checkpoint"
_LINES_AT_A_TIME = 1_000


def fingerprint(entries: Iterable[str]) -> str:
    """What tells data from others: equal for equal entries in the same order."""
    digest = blake2b(digest_size=16)
    lines = (f"{entry}\n" for entry in entries)
    # Of millions of lines, each call costs more than the line.
    while part := "".join(islice(lines, _LINES_AT_A_TIME)):
        digest.update(part.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def correct_paths(checkpoint: Path) -> None:
    """Let a checkpoint name the best one where it lies now: the Trainer forgets one that is not there.

    Args:
        checkpoint: the folder of a checkpoint, beside which the best one lies.
    """
    path = checkpoint / _STATE
    state = json.loads(path.read_text(encoding="utf-8"))
    if state.get(_BEST) is None:
        return
    here = str((checkpoint.parent / Path(state[_BEST]).name).absolute())
    if state[_BEST] != here:
        write_whole(path, json.dumps(state | {_BEST: here}, indent=2) + "\n")


def restore_ended(trainer: Trainer, checkpoint: Path) -> bool:
    """Give a trainer the state and the weights of a run that had ended, early or not: nothing is trained.

    The Trainer itself would go on with another update after an early stop and within an epoch, because it
    looks whether to stop only after one.

    Args:
        trainer: of the same recipe.
        checkpoint: the newest one; its paths are correct.

    Returns:
        False where the run had not ended: nothing was done.
    """
    state = TrainerState.load_from_json(str(checkpoint / _STATE))
    stops = [callback for callback in trainer.callback_handler.callbacks if isinstance(callback, StopEarly)]
    stopped = any(stop.is_enough(state.log_history) for stop in stops)
    if not stopped and state.global_step < state.max_steps:
        return False
    trainer.state = state
    # A tied matrix is not stored twice.
    trainer.model.load_state_dict(read_folder(state.best_model_checkpoint or checkpoint), strict=False)
    return True
