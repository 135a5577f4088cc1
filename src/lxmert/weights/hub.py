"""Repositories of the Hugging Face hub as local folders.

One question to the hub says which files there are; its client then fetches those that are needed and not in
its cache yet. Where the hub is out of reach the cached copy serves, and without one the error comes within
seconds: left alone, the client tries again for half a minute, file by file.
"""

import itertools
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from lxmert.errors import WeightsError, first_line
from lxmert.faults import model_path_fault

HUB_TIMEOUT_S = 5.0
"""Longest silence of the hub before the cached copy is taken instead."""

HUB_ARGUMENTS = frozenset(
    {"cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token"}
)
"""Keyword arguments of `from_pretrained` that are the hub client's."""

_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
_CONFIG_PATTERNS = ("*.json", "*.txt", "*.yaml")
# Not the variants, such as model.fp16.safetensors, which are only read on request.
_SAFETENSORS = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
_PYTORCH = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin")
_TENSORFLOW_FILE = "tf_model.h5"
_WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Files of which every folder with weights of PyTorch holds one."""
_PROCESSOR_FILE = "processor_config.json"
_CONFIG_FILES = ("config.json", "config.yaml")
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
        WeightsError: the name is a file; no such repository, revision or folder in it, no access to it, or
            out of reach and not in the cache.
    """
    from huggingface_hub.errors import HFValidationError

    if fault := model_path_fault(name):
        raise WeightsError(fault)
    client_options = {
        key: value for key, value in (options or {}).items() if (value or value is False) and key != "proxies"
    }
    subfolder = str(client_options.pop("subfolder", "")).strip("/")
    request = _Request(name, f"{subfolder}/" if subfolder else "", client_options, weights)
    try:
        commit, files = _list_hub_files(request)
    except HFValidationError as error:
        raise WeightsError(f"{name!r} is not a valid hub name: {first_line(error)}") from error
    except Exception as error:  # The client passes on what its HTTP library, whichever it is, raises.
        if (cached := _cached_folder(request)) is None:
            raise _unavailable_error(request, error) from error
        return cached
    _check_has_model(request, files)
    try:
        return _download_folder(request, commit, files)
    except Exception as error:
        raise WeightsError(
            f"{name}: cannot be downloaded from the hub ({first_line(error)}); try again"
        ) from error


def cached_weights_folder(name: str, options: Mapping[str, Any], *, commit: str | None = None) -> Path | None:
    """The folder of the hub's cache with weights that `transformers` fetched, without asking the hub.

    Args:
        name: "owner/name".
        options: as `hub_folder` takes them; others are ignored.
        commit: the commit that `transformers` says to have read; without weights there, as in a repository
            that holds only the configuration, the `revision` of the options counts.

    Returns:
        The folder, or the one inside it that `subfolder` names; None if there are no such weights.
    """
    from huggingface_hub import try_to_load_from_cache

    if not is_hub_name(name):
        return None
    subfolder = str(options.get("subfolder") or "").strip("/")
    revisions = dict.fromkeys(filter(None, (commit, options.get("revision") or "main")))
    for revision, file in itertools.product(revisions, _WEIGHT_FILES):
        path = f"{subfolder}/{file}" if subfolder else file
        found = try_to_load_from_cache(name, path, options.get("cache_dir"), revision)
        if isinstance(found, str):
            return Path(found).parent
    return None


class _Request(NamedTuple):
    """A request to the hub.

    Attributes:
        name: of the repository.
        prefix: the folder in it, "folder/", or "" for the repository itself.
        options: those of HUB_ARGUMENTS that were given, but for `proxies` and `subfolder`.
        weights: as `hub_folder` takes it.
    """

    name: str
    prefix: str
    options: Mapping[str, Any]
    weights: bool

    def select_options(self, *names: str) -> dict[str, Any]:
        """Those of the named options that were given."""
        return {name: self.options[name] for name in names if name in self.options}


def _list_hub_files(request: _Request) -> tuple[str | None, list[str]]:
    """Ask the hub for the commit and the files of a repository; errors of the client are passed on."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    if request.options.get("local_files_only"):
        raise OfflineModeIsEnabled
    found = HfApi().model_info(
        request.name, timeout=HUB_TIMEOUT_S, **request.select_options("revision", "token")
    )
    return found.sha, [file.rfilename for file in found.siblings or ()]


def _cached_folder(request: _Request) -> Path | None:
    """The cached copy of a repository out of reach; None if it lacks files."""
    from huggingface_hub import try_to_load_from_cache

    for config_file in _CONFIG_FILES if request.weights else (*_CONFIG_FILES, _PROCESSOR_FILE):
        path = try_to_load_from_cache(
            request.name, request.prefix + config_file, **request.select_options("revision", "cache_dir")
        )
        if isinstance(path, str) and (not request.weights or _has_weights(Path(path).parent)):
            return Path(path).parent
    return None


def _unavailable_error(request: _Request, error: Exception) -> WeightsError:
    """The error for a repository that is neither in reach nor in the cache."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    or_revision = " or revision" if "revision" in request.options else ""
    if isinstance(error, OfflineModeIsEnabled):
        reason = (
            "its cache has no complete copy, and access to it is switched off (local_files_only, "
            "HF_HUB_OFFLINE); switch it on once"
        )
    elif isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403, 404):
        reason = (
            f"no such repository{or_revision}, or no access to it, and no such folder here; check the name"
        )
    else:
        reason = f"cannot be reached ({first_line(error)}), and its cache has no complete copy; connect once"
    return WeightsError(f"{request.name} on the hub: {reason}, or use a local folder")


def _check_has_model(request: _Request, files: Collection[str]) -> None:
    """Refuse a repository, or a folder of it, that is empty or lacks a model whose weights are requested."""
    is_empty = not any(file.startswith(request.prefix) for file in files)
    has_model = any(request.prefix + config_file in files for config_file in _CONFIG_FILES)
    if has_model or not (is_empty or request.weights):
        return
    others = ", ".join(file for file in files if file.rpartition("/")[2] in _CONFIG_FILES)
    advice = f" (found {others}: download that folder, and use its path)" if others else "; check the name"
    raise WeightsError(
        f"{request.name} on the hub has no {request.prefix}{_CONFIG_FILES[0]}, so it is neither a model nor "
        f"a detector{advice}"
    )


def _download_folder(request: _Request, commit: str | None, files: Collection[str]) -> Path:
    """Fetch the needed files of a commit, unless all are cached."""
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    needed = _needed_files(files, request.prefix, weights=request.weights)
    for folder in _processor_folders(request, commit, files):
        needed += _needed_files(files, folder, weights=True)
    cache_options = request.select_options("cache_dir") | {"revision": commit}
    cached = [try_to_load_from_cache(request.name, file, **cache_options) for file in needed]
    if needed and not request.options.get("force_download") and all(isinstance(path, str) for path in cached):
        repository = Path(str(cached[0])).parents[needed[0].count("/")]
    else:
        repository = Path(
            snapshot_download(
                request.name, allow_patterns=needed, etag_timeout=HUB_TIMEOUT_S, **request.options
            )
        )
    return repository / request.prefix


def _needed_files(files: Iterable[str], prefix: str, *, weights: bool) -> list[str]:
    """The files to read in one folder of a repository, "" or "folder/"."""
    inside = (file.removeprefix(prefix) for file in files if file.startswith(prefix))
    names = [file for file in inside if "/" not in file]
    needed = [name for name in names if any(fnmatch(name, pattern) for pattern in _CONFIG_PATTERNS)]
    if weights:
        kinds = ([name for name in names if kind.fullmatch(name)] for kind in (_SAFETENSORS, _PYTORCH))
        needed += next(filter(None, kinds), [name for name in names if name == _TENSORFLOW_FILE])
    return [prefix + name for name in needed]


def _processor_folders(request: _Request, commit: str | None, files: Collection[str]) -> list[str]:
    """The folders of a repository, as "folder/", that its processor's description names; "" is its own.

    A saved processor names them from where its file is, with "./" in front.
    """
    from huggingface_hub import hf_hub_download

    file = request.prefix + _PROCESSOR_FILE
    if file not in files:
        return []
    at_commit = {**request.options, "revision": commit}
    path = hf_hub_download(request.name, file, etag_timeout=HUB_TIMEOUT_S, **at_commit)
    try:
        settings = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return []  # The reader of the settings reports what is wrong with them.
    return [
        request.prefix + "".join(f"{part}/" for part in PurePosixPath(subfolder).parts)
        for subfolder in _iterate_strings(settings)
        if subfolder.startswith("./")
    ]


def _iterate_strings(settings: Any) -> Iterator[str]:
    """All texts of a JSON value, however deep."""
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, dict | list):
        for value in settings.values() if isinstance(settings, dict) else settings:
            yield from _iterate_strings(value)


def _has_weights(folder: Path) -> bool:
    """Whether weights were fetched into a folder, all files of them, and not its settings alone."""
    names = [path.name for path in folder.iterdir()]
    files = set(_needed_files(names, "", weights=True)).difference(_needed_files(names, "", weights=False))
    shards = [int(found[1]) for file in files if (found := _SHARD.search(file))]
    return bool(files) and len(shards) == max(shards, default=0)
