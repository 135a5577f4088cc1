"""Repositories of the Hugging Face hub as local folders.

One question to the hub says which files there are; its client then fetches those that are needed and not in
its cache yet. Where the hub is out of reach the cached copy serves, and without one the error comes within
seconds: left alone, the client tries again for half a minute, file by file.
"""

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
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
_MARKERS = ("config.json", "config.yaml")
"""Files of which every repository of a model or detector holds one."""


def is_hub_name(name: str) -> bool:
    """True for what can be a repository of the hub: "owner/name", or the "name" of a canonical one."""
    return _NAME.fullmatch(name) is not None


def hub_folder(name: str, *, weights: bool = True, local_files_only: bool = False) -> Path:
    """The folder of the hub's cache with the files of a repository.

    Args:
        name: "owner/name".
        weights: True fetches the weights too, as safetensors where there are such; False configuration and
            vocabulary only.
        local_files_only: True does not ask the hub and takes what the cache holds.

    Raises:
        WeightsError: no such repository, no access to it, or out of reach and not in the cache.
    """
    from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        if local_files_only:
            raise OfflineModeIsEnabled
        found = HfApi().model_info(name, timeout=HUB_TIMEOUT_S)
        wanted = _wanted([one.rfilename for one in found.siblings or ()], weights=weights)
    except Exception as error:  # The client passes on what its HTTP library, whichever it is, raises.
        return _cached_folder(name, error)
    cached = [try_to_load_from_cache(name, file, revision=found.sha) for file in wanted]
    paths = [path for path in cached if isinstance(path, str)]
    if wanted and len(paths) == len(wanted):
        return Path(paths[0]).parent
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, etag_timeout=HUB_TIMEOUT_S))
    except Exception as error:
        raise WeightsError(
            f"{name}: cannot be fetched from the hub ({first_line(error)}); try again"
        ) from error


def hub_folder_with(name: str, options: Mapping[str, Any]) -> Path:
    """As `hub_folder`, under the hub arguments of `from_pretrained`.

    Args:
        name: "owner/name".
        options: some of HUB_ARGUMENTS.

    Returns:
        The folder, or the one inside it that `subfolder` names.

    Raises:
        WeightsError: no such repository or revision, no access to it, or out of reach.
    """
    told = {key: value for key, value in options.items() if value}
    inner = told.pop("subfolder", "")
    if not inner and not told.keys() - {"local_files_only"}:
        return hub_folder(name, local_files_only=bool(told))
    from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache

    told.pop("proxies", None)
    prefix = f"{inner.rstrip('/')}/" if inner else ""
    if told.pop("local_files_only", False):
        place = {key: told[key] for key in ("revision", "cache_dir") if key in told}
        path = try_to_load_from_cache(name, f"{prefix}{_MARKERS[0]}", **place)
        if isinstance(path, str):
            return Path(path).parent
        raise WeightsError(f"{name}: the cache of the hub holds no such copy; allow to ask the hub once")
    try:
        asked = {key: told[key] for key in ("revision", "token") if key in told}
        found = HfApi().model_info(name, timeout=HUB_TIMEOUT_S, **asked)
        files = [one.rfilename for one in found.siblings or ()]
        inside = [file.removeprefix(prefix) for file in files if file.startswith(prefix)]
        wanted = [prefix + file for file in _wanted(inside, weights=True)]
        folder = snapshot_download(name, allow_patterns=wanted, etag_timeout=HUB_TIMEOUT_S, **told)
    except Exception as error:  # The client passes on what its HTTP library, whichever it is, raises.
        raise WeightsError(
            f"{name} on the hub: {first_line(error)}; check name, revision and access, or give a folder"
        ) from error
    return Path(folder) / inner


def _wanted(files: Iterable[str], *, weights: bool) -> list[str]:
    """The files of the repository's top folder that we read."""
    names = [file for file in files if "/" not in file]
    patterns = list(_SETTINGS)
    if weights:
        safe = any(fnmatch(name, _SAFETENSORS) for name in names)
        old = any(fnmatch(name, _PYTORCH) for name in names)
        patterns.append(_SAFETENSORS if safe else _PYTORCH if old else _TENSORFLOW)
    return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]


def _cached_folder(name: str, error: Exception) -> Path:
    """What the cache holds of a repository that the hub did not tell of."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    if isinstance(error, HFValidationError):
        raise WeightsError(f"{name!r} is no name of the hub: {first_line(error)}") from error
    for marker in _MARKERS:
        path = try_to_load_from_cache(name, marker)
        if isinstance(path, str):
            return Path(path).parent
    if isinstance(error, OfflineModeIsEnabled):
        told = "its cache holds no copy, and asking it is switched off (HF_HUB_OFFLINE); switch it on once"
    elif isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403, 404):
        told = "no such repository, or no access to it, and no such folder here; check the name"
    else:
        told = f"cannot be reached ({first_line(error)}), and its cache holds no copy; connect once"
    raise WeightsError(f"{name} on the hub: {told}, or give a folder") from error
