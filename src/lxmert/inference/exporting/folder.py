"""The folder of an exported model: whole or not there, with all that answering needs."""

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from lxmert.answers import ANSWERS_FILE, write_answers
from lxmert.errors import ConfigurationError
from lxmert.processing import LxmertProcessor

SETTINGS_FILE = "export.json"
PARITY_FILE = "parity.json"
TOKENIZER_FILE = "tokenizer.json"
README_FILE = "README.md"

_MAX_EXPORT_S = 24 * 60 * 60
"""An unfinished folder that is older belongs to no running export."""


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse a folder before any work, where something lies that must not be replaced.

    Raises:
        ConfigurationError: it holds an export, or would if one had not been killed while it replaced it, and
            `overwrite` is False; or it holds anything else, or is a mount point.
    """
    place = Path(os.path.realpath(folder))  # killed exports left theirs beside a link's target
    if os.path.ismount(place):
        raise ConfigurationError(
            f"{folder} is a mount point, which cannot be replaced; choose a folder inside it"
        )
    if not overwrite and _is_absent_or_empty(place) and (formers := _complete_formers(place)):
        raise ConfigurationError(
            f"{folder} contained an exported model, which an interrupted export has moved to "
            f"{' or '.join(map(str, formers))}; rename it back, choose another folder, or overwrite it "
            "(--overwrite)"
        )
    if _is_absent_or_empty(folder):
        return
    if not (folder / SETTINGS_FILE).is_file():
        raise ConfigurationError(
            f"{folder} exists and is not an exported model (it has no {SETTINGS_FILE}); choose another folder"
        )
    if not overwrite:
        raise ConfigurationError(
            f"{folder} already contains an exported model; choose another folder, or overwrite it "
            "(--overwrite)"
        )
    export_files = {*_FILE_DESCRIPTIONS, README_FILE}
    if other_files := [
        path.name for path in folder.iterdir() if path.name not in export_files or path.is_dir()
    ]:
        raise ConfigurationError(
            f"{folder} contains {min(other_files)!r} beside an exported model, and overwriting would delete "
            "it; move it, or choose another folder"
        )


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, which takes the place of `folder` when all has gone well and else vanishes.

    What earlier exports left when they were killed is removed; a folder that one had moved comes back.

    Args:
        folder: one that `check_folder` allows.
    """
    folder = Path(os.path.realpath(folder))  # "." has no name to make others of; a link stays a link
    folder.parent.mkdir(parents=True, exist_ok=True)
    _recover(folder)
    # Beside it, so that on any file system the last step is a renaming.
    suffix = uuid.uuid4().hex[:8]
    partial, previous = (
        folder.with_name(f".{folder.name}.{kind}-{suffix}") for kind in ("partial", "former")
    )
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            os.replace(folder, previous)
        os.replace(partial, folder)
        for former in _folders_beside(folder, "former"):
            shutil.rmtree(former, ignore_errors=True)
    except BaseException:
        if previous.exists() and not folder.exists():
            os.replace(previous, folder)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(previous, ignore_errors=True)


def _recover(folder: Path) -> None:
    """Bring back what a killed export to `folder` had moved away, and remove what one left unfinished."""
    formers = _complete_formers(folder)
    if len(formers) == 1 and _is_absent_or_empty(folder):
        with suppress(FileNotFoundError):
            folder.rmdir()
        os.replace(formers[0], folder)
    for partial in _folders_beside(folder, "partial"):
        with suppress(FileNotFoundError):  # Another export has just finished.
            if time.time() - partial.stat().st_mtime > _MAX_EXPORT_S:
                shutil.rmtree(partial, ignore_errors=True)


def _is_absent_or_empty(folder: Path) -> bool:
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def _complete_formers(folder: Path) -> list[Path]:
    """The exports that others to `folder` have moved away, without those that were being deleted."""
    return [path for path in sorted(_folders_beside(folder, "former")) if (path / SETTINGS_FILE).is_file()]


def _folders_beside(folder: Path, kind: str) -> list[Path]:
    if not folder.parent.is_dir():
        return []
    name = re.compile(rf"\.{re.escape(folder.name)}\.{kind}-[0-9a-f]{{8}}")
    return [path for path in folder.parent.iterdir() if name.fullmatch(path.name)]


def write_text_files(folder: Path, processor: LxmertProcessor) -> None:
    """Write tokenizer.json, which cuts and pads by itself, and answers.json where there are answers."""
    tokenizer = processor.tokenizer
    # The processor's own tokenizer is left as it is: it cuts and pads as each call says.
    standalone = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    standalone.enable_truncation(processor.max_text_length)
    standalone.enable_padding(pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
    standalone.save(str(folder / TOKENIZER_FILE))
    if processor.answers is not None:
        write_answers(folder / ANSWERS_FILE, processor.answers)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file that people can read."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


_README_TEMPLATE = """\
# {title}
{model} for {runtime}, {weights}, exported by lxmert {version}.
It runs without that package.

| file | description |
|---|---|
{files}

## Inputs
Axes called batch, words and objects may have any size from 1; words at most {most_words}.
An axis has the same size in all inputs of a call, masks included: not every runtime checks this.

| name | type | shape | description |
|---|---|---|---|
{inputs}

## Outputs
| name | type | shape | description |
|---|---|---|---|
{outputs}

## Running it
```python
{example}
```
Texts: `tokenizers.Tokenizer.from_file("tokenizer.json").encode_batch(texts)` truncates and pads; `ids` and
`attention_mask` of its results are the first two inputs.

## Agreement with the model
{parity}
"""

_ONNX_EXAMPLE = """\
import onnxruntime

session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
[{first}, *_] = session.run(None, inputs)  # inputs: NumPy arrays by name"""

_TORCH_EXAMPLE = """\
import torch

model = torch.export.load("{file}").module()
{first} = model(**inputs)["{first}"]  # inputs: tensors by name"""

_INT8_NOTE = """
A batch shares the scales that bring its values to 8 bits: the scores of an example vary somewhat with the
other examples and with the padding."""

_FILE_DESCRIPTIONS = {
    SETTINGS_FILE: "names, types and shapes of inputs and outputs; longest text; versions",
    PARITY_FILE: "how closely the file agrees with the model, and on which inputs",
    TOKENIZER_FILE: "text to ids, for the `tokenizers` library",
    ANSWERS_FILE: "the answer of each class, a list",
    "model.onnx": "the model",
    "model.onnx.data": "its weights; keep it beside model.onnx",
    "model.pt2": "the model",
}


def write_readme(folder: Path, settings: dict[str, Any], parity: list[str]) -> None:
    """Write README.md of an exported folder.

    Args:
        folder: holds all other files already.
        settings: the content of export.json.
        parity: one line per comparison.
    """
    onnx = settings["format"] == "onnx"
    first = settings["outputs"][0]["name"]
    files = sorted(path.name for path in folder.iterdir())
    text = _README_TEMPLATE.format(
        title=f"{settings['model_class']}{' for ' + settings['task'] if settings['task'] else ''}",
        model=settings["model_class"],
        runtime=f"ONNX Runtime (operator set {settings['opset']})" if onnx else "PyTorch (torch.export)",
        weights="8-bit weights" if settings["int8"] else "float32",
        version=settings["versions"]["lxmert"],
        files="\n".join(f"| `{name}` | {_FILE_DESCRIPTIONS[name]} |" for name in files),
        most_words=settings["most_words"],
        inputs=_table_rows(settings["inputs"]),
        outputs=_table_rows(settings["outputs"]),
        example=(_ONNX_EXAMPLE if onnx else _TORCH_EXAMPLE).format(file=settings["file"], first=first),
        parity="\n".join([*(f"- {line}" for line in parity), *([_INT8_NOTE] if settings["int8"] else [])]),
    )
    (folder / README_FILE).write_text(text, encoding="utf-8")


def _table_rows(specs: list[dict[str, Any]]) -> str:
    return "\n".join(
        f"| `{spec['name']}` | {spec['dtype']} | {', '.join(map(str, spec['shape']))} | {spec['meaning']} |"
        for spec in specs
    )
