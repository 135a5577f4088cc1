"""Repositories of the Hugging Face hub as local folders.

One question to the hub says which files there are; its client then fetches those that are needed and not in
its cache yet. Where the hub is out of reach the cached copy serves, and without one the error comes within
seconds: left alone, the client tries again for half a minute, file by file.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from lxmert.errors import WeightsError, first_line

HUB_TIMEOUT_S = 5.0
"""Longest silence of the hub before the cached copy is taken instead."""

HUB_ARGUMENTS = frozenset(
    {"cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token"}
)
"""Keyword arguments of `from_pretrained` that are the hub client's."""

_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
_SETTINGS = ("*.json", "*.txt", "*.yaml")
_SAFETENSORS = "model*.safetensors"
_PYTORCH = "pytorch_model*.bin"
_TENSORFLOW = "tf_model.h5"
_PROCESSOR = "processor_config.json"
_MARKERS = ("config.json", "config.yaml")
"""Files of which every folder of a model or detector holds one."""
_SHARD = re.compile(r"-\d+-of-(\d+)\.")
"""In the name of a file with a part of the weights: how many such files there are."""


def is_hub_name(name: str) -> bool:
    """True for what can be a repository of the hub: "owner/name", or the "name" of a canonical one."""
    return _NAME.fullmatch(name) is not None


def hub_folder(name: str, options: Mapping[str, Any] | None = None, *, weights: bool = True) -> Path:
    """The folder of the hub's cache with the files of a repository.

    Args:
        name: "owner/name".
        options: some of HUB_ARGUMENTS, as `from_pretrained` takes them.
        weights: True fetches the weights too, as safetensors where there are such; False configuration and
            vocabulary only. The folders of the repository in which a processor keeps its detector are fetched
            whole in any case.

    Returns:
        The folder, or the one inside it that `subfolder` names.

    Raises:
        WeightsError: no such repository, revision or folder in it, no access to it, or out of reach and not
            in the cache.
    """
    from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import OfflineModeIsEnabled

    told = {key: value for key, value in (options or {}).items() if value and key != "proxies"}
    inner = str(told.pop("subfolder", "")).strip("/")
    prefix = f"{inner}/" if inner else ""
    place: dict[str, Any] = {key: told[key] for key in ("revision", "cache_dir") if key in told}
    try:
        if told.pop("local_files_only", False):
            raise OfflineModeIsEnabled
        asked = {key: told[key] for key in ("revision", "token") if key in told}
        found = HfApi().model_info(name, timeout=HUB_TIMEOUT_S, **asked)
        files = [one.rfilename for one in found.siblings or ()]
    except Exception as error:  # The client passes on what its HTTP library, whichever it is, raises.
        return _cached_folder(name, prefix, place, error, weights=weights)
    _check_holds_model(name, files, prefix, weights=weights)
    try:
        wanted = _wanted(files, prefix, weights=weights)
        for folder in _folders_of_processor(name, files, prefix, told | {"revision": found.sha}):
            wanted += _wanted(files, folder, weights=True)
        at_commit = place | {"revision": found.sha}
        cached = [try_to_load_from_cache(name, file, **at_commit) for file in wanted]
        if wanted and "force_download" not in told and all(isinstance(path, str) for path in cached):
            return Path(str(cached[0])).parents[wanted[0].count("/")] / inner
        return (
            Path(snapshot_download(name, allow_patterns=wanted, etag_timeout=HUB_TIMEOUT_S, **told)) / inner
        )
    except Exception as error:
        raise WeightsError(
            f"{name}: cannot be fetched from the hub ({first_line(error)}); try again"
        ) from error


def _check_holds_model(name: str, files: Collection[str], prefix: str, *, weights: bool) -> None:
    """Refuse a repository, or a folder "folder/" of it, that is empty or has no model to give weights of."""
    is_empty = not any(file.startswith(prefix) for file in files)
    has_model = any(prefix + marker in files for marker in _MARKERS)
    if has_model or not (is_empty or weights):
        return
    others = ", ".join(file for file in files if file.rpartition("/")[2] in _MARKERS)
    advice = (
        f" (there is {others}: fetch that folder, and give it by its path)" if others else "; check the name"
    )
    raise WeightsError(f"{name} on the hub holds no {prefix}{_MARKERS[0]}, so no model or detector{advice}")


def _wanted(files: Iterable[str], prefix: str, *, weights: bool) -> list[str]:
    """The files that we read of one folder of a repository, "" or "folder/"."""
    inside = (file.removeprefix(prefix) for file in files if file.startswith(prefix))
    names = [file for file in inside if "/" not in file]
    patterns = list(_SETTINGS)
    if weights:
        safe = any(fnmatch(name, _SAFETENSORS) for name in names)
        old = any(fnmatch(name, _PYTORCH) for name in names)
        patterns.append(_SAFETENSORS if safe else _PYTORCH if old else _TENSORFLOW)
    return [prefix + name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]


def _folders_of_processor(
    name: str, files: Collection[str], prefix: str, told: Mapping[str, Any]
) -> list[str]:
    """The folders of a repository, as "folder/", that its processor's description names; "" is its own.

    A saved processor names them from where its file is, with "./" in front.
    """
    from huggingface_hub import hf_hub_download

    file = prefix + _PROCESSOR
    if file not in files:
        return []
    path = hf_hub_download(name, file, etag_timeout=HUB_TIMEOUT_S, **told)
    try:
        settings = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return []  # Who reads the settings says what is wrong with them.
    return [
        prefix + "".join(f"{part}/" for part in PurePosixPath(inner).parts)
        for inner in _texts_of(settings)
        if inner.startswith("./")
    ]


def _texts_of(settings: Any) -> Iterator[str]:
    """All texts of a JSON value, however deep."""
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, dict | list):
        for value in settings.values() if isinstance(settings, dict) else settings:
            yield from _texts_of(value)


def _cached_folder(
    name: str, prefix: str, place: Mapping[str, Any], error: Exception, *, weights: bool
) -> Path:
    """What the cache holds of a repository that the hub did not tell of."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    if isinstance(error, HFValidationError):
        raise WeightsError(f"{name!r} is no name of the hub: {first_line(error)}") from error
    for marker in _MARKERS if weights else (*_MARKERS, _PROCESSOR):
        path = try_to_load_from_cache(name, prefix + marker, **place)
        if isinstance(path, str) and (not weights or _has_weights(Path(path).parent)):
            return Path(path).parent
    what = " or revision" if "revision" in place else ""
    if isinstance(error, OfflineModeIsEnabled):
        told = (
            "its cache holds no whole copy, and asking it is switched off (local_files_only, "
            "HF_HUB_OFFLINE); switch it on once"
        )
    elif isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403, 404):
        told = f"no such repository{what}, or no access to it, and no such folder here; check the name"
    else:
        told = f"cannot be reached ({first_line(error)}), and its cache holds no whole copy; connect once"
    raise WeightsError(f"{name} on the hub: {told}, or give a folder") from error


def _has_weights(folder: Path) -> bool:
    """Whether weights were fetched into a folder, all files of them, and not its settings alone."""
    names = [path.name for path in folder.iterdir()]
    files = set(_wanted(names, "", weights=True)).difference(_wanted(names, "", weights=False))
    shards = [int(found[1]) for file in files if (found := _SHARD.search(file))]
    return bool(files) and len(shards) == max(shards, default=0)
