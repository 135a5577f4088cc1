"""ONNX Runtime as a peer: the exported graph of the same model, if ONNX's packages are installed.

The whole graph runs for every question, as a user would run it: batches in the caller's order, padded to
their longest question.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from lxmert.errors import LxmertError
from measuring.answering import PEER_BATCH, pad_token_ids
from measuring.streams import Stream
from measuring.timing import log

EXACT = "ONNX Runtime, float32, our exported graph"
INT8 = "ONNX Runtime, weights of 8 bits, our exported graph"

Answering = Callable[[Stream], torch.Tensor]


@contextmanager
def onnx_sides(model: Any, notes: list[str]) -> Iterator[dict[str, Answering]]:
    """Yield the sides that use ONNX Runtime, by name; none if it cannot be measured, with a note.

    Args:
        model: our model, float32; None to omit ONNX Runtime.
        notes: list to which the reason for an omission is appended.
    """
    if model is None:
        notes.append("ONNX Runtime: left out.")
        yield {}
        return
    with TemporaryDirectory() as folder:
        try:
            sides = _sides(copy.deepcopy(model), Path(folder))
        except (ImportError, LxmertError) as error:
            notes.append(f"{EXACT}: not measured, {str(error).splitlines()[0]}")
            yield {}
        else:
            yield sides


def _sides(model: Any, folder: Path) -> dict[str, Answering]:
    from lxmert.inference.exporting.onnx_files import OnnxScorer, require_onnx, write_int8, write_onnx
    from lxmert.inference.exporting.signature import export_signature

    require_onnx()
    log("exporting to ONNX")
    signature = export_signature(model, segments=False)
    paths = {EXACT: folder / "float32" / "model.onnx", INT8: folder / "int8" / "model.onnx"}
    for path in paths.values():
        path.parent.mkdir()
    write_onnx(model, signature, paths[EXACT])
    write_int8(paths[EXACT], paths[INT8])
    sides: dict[str, Answering] = {}
    for name, path in paths.items():
        file = OnnxScorer(path, torch.get_num_threads())
        sides[name] = lambda stream, file=file: _scores(file, signature, stream)
    return sides


def _scores(file: Any, signature: Any, stream: Stream) -> torch.Tensor:
    """Return scores (Q, C)."""
    scores = []
    for start in range(0, len(stream), PEER_BATCH):
        input_ids, mask = pad_token_ids(stream.token_ids[start : start + PEER_BATCH])
        images = torch.tensor(stream.images[start : start + PEER_BATCH])
        objects_mask = stream.visual_attention_mask
        if objects_mask is None:
            objects_mask = torch.ones(stream.visual_feats.shape[:2]).long()
        inputs = {
            "input_ids": input_ids,
            "attention_mask": mask,
            "visual_feats": stream.visual_feats[images],
            "visual_pos": stream.visual_pos[images],
            "visual_attention_mask": objects_mask[images],
        }
        found = file({name: inputs[name] for name in signature.input_names})
        scores.append(found[signature.scores])
    return torch.cat(scores)
