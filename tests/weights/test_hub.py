"""Downloads from the hub, here a local server: files fetched, cache, offline use, quick errors."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest

from lxmert.errors import WeightsError
from lxmert.weights import hub
from lxmert.weights.hub import hub_folder, is_hub_name
from tests.error_assertions import error_message
from tests.local_server import COMMIT, LocalServer, serving

NAME = "someone/model"
FILES = {
    "config.json": b"{}",
    "vocab.txt": b"[PAD]\n",
    "pytorch_model.bin": b"weights",
    "tf_model.h5": b"other weights",
    "README.md": b"# card",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def server(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    with serving(LocalServer({NAME: repository})) as running:
        running.redirect_downloads(monkeypatch, tmp_path / "home")
        yield running


def file_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def assert_download_fails(call: Callable[[], object], *words: str) -> None:
    start = time.perf_counter()
    message = error_message(WeightsError, call)
    assert time.perf_counter() - start < 8
    for word in words:
        assert word in message


def test_hub_folder_fetches_only_model_files(server: LocalServer) -> None:
    folder = hub_folder(NAME)
    assert file_names(folder) == {"config.json", "vocab.txt", "pytorch_model.bin"}
    assert (folder / "pytorch_model.bin").read_bytes() == b"weights"
    assert not any("h5" in path or "README" in path for path in server.requests)


def test_safetensors_are_preferred_over_pytorch_file(server: LocalServer, repository: Path) -> None:
    (repository / "model.safetensors").write_bytes(b"safe")
    assert file_names(hub_folder(NAME)) == {"config.json", "vocab.txt", "model.safetensors"}


VARIANTS = ["model.fp16.safetensors", "model.fp16-00001-of-00002.safetensors", "pytorch_model.fp16.bin"]
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


@pytest.mark.parametrize("own", [[], SHARDS])
def test_variants_of_weights_are_not_fetched(server: LocalServer, repository: Path, own: list[str]) -> None:
    for name in (*VARIANTS, *own, "model.safetensors.index.json"):
        (repository / name).write_bytes(b"{}")
    settings = {"config.json", "vocab.txt", "model.safetensors.index.json"}
    assert file_names(hub_folder(NAME)) == settings | set(own or ["pytorch_model.bin"])


def test_false_token_reaches_the_hub_client(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = []
    ask = huggingface_hub.HfApi.model_info
    monkeypatch.setattr(
        huggingface_hub.HfApi,
        "model_info",
        lambda self, *args, **kwargs: tokens.append(kwargs.get("token")) or ask(self, *args, **kwargs),
    )
    hub_folder(NAME, {"token": False, "local_files_only": False, "force_download": False})
    assert tokens[0] is False
    tokens.clear()
    hub_folder(NAME, {"token": None})
    assert tokens == [None]


def test_file_is_not_asked_for_on_the_hub(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qa").mkdir()
    (tmp_path / "qa/model.safetensors").write_bytes(b"")
    message = error_message(WeightsError, lambda: hub_folder("qa/model.safetensors"))
    assert message.startswith("qa/model.safetensors is a file, expected a model folder or a hub name; pass")
    assert server.requests == []


def test_weights_false_skips_weights_and_later_call_fetches_them(server: LocalServer) -> None:
    assert file_names(hub_folder(NAME, weights=False)) == {"config.json", "vocab.txt"}
    assert file_names(hub_folder(NAME)) == {"config.json", "vocab.txt", "pytorch_model.bin"}


def test_cached_repository_needs_one_request(server: LocalServer) -> None:
    folder = hub_folder(NAME)
    server.requests.clear()
    assert hub_folder(NAME) == folder
    assert [path for path in server.requests if NAME in path] == [f"GET /api/models/{NAME}"]


def test_files_of_subfolders_are_not_fetched(server: LocalServer, repository: Path) -> None:
    (repository / "onnx").mkdir()
    (repository / "onnx" / "config.json").write_bytes(b"{}")
    assert file_names(hub_folder(NAME)) == {"config.json", "vocab.txt", "pytorch_model.bin"}


def test_detector_folder_named_by_processor_config_is_fetched(server: LocalServer, repository: Path) -> None:
    for folder in ("onnx", "eyes/left", "eyes/left/old", "inner", "inner/eyes"):
        (repository / folder).mkdir(parents=True)
        for name in FILES:
            (repository / folder / name).write_bytes(b"{}")
    named = b'{"extractor": {"kind": "any", "encoder": {"model": "./eyes/left"}}}'
    (repository / "processor_config.json").write_bytes(named)
    (repository / "inner" / "processor_config.json").write_bytes(b'{"extractor": {"detector": "./eyes/"}}')
    folder = hub_folder(NAME, weights=False)
    assert file_names(folder) == {"config.json", "vocab.txt", "processor_config.json", "eyes"}
    assert file_names(folder / "eyes" / "left") == {"config.json", "vocab.txt", "pytorch_model.bin"}
    server.requests.clear()
    assert hub_folder(NAME, weights=False) == folder
    assert [path for path in server.requests if NAME in path] == [f"GET /api/models/{NAME}"]
    inner = hub_folder(NAME, {"subfolder": "inner/"})
    assert file_names(inner / "eyes") == {"config.json", "vocab.txt", "pytorch_model.bin"}
    (repository / "processor_config.json").write_bytes(b"no JSON")  # The reader of it says so.
    assert file_names(hub_folder(NAME, {"force_download": True})) >= {"processor_config.json"}


@pytest.mark.parametrize("inner", ["", "inner/"])
def test_detector_in_processor_folder_is_fetched(server: LocalServer, repository: Path, inner: str) -> None:
    (repository / inner).mkdir(exist_ok=True)
    named = b'{"extractor": {"detector": "./."}}'  # As it is written there.
    for name, content in (FILES | {"processor_config.json": named}).items():
        (repository / inner / name).write_bytes(content)
    folder = hub_folder(NAME, {"subfolder": inner}, weights=False)
    assert file_names(folder) >= {"config.json", "vocab.txt", "processor_config.json", "pytorch_model.bin"}


def test_offline_cache_without_weights_is_incomplete_model(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = hub_folder(NAME, weights=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert hub_folder(NAME, weights=False) == folder
    assert_download_fails(lambda: hub_folder(NAME), NAME, "no complete copy", "HF_HUB_OFFLINE")


def test_offline_cache_with_missing_shard_is_incomplete_model(
    server: LocalServer, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        (repository / f"model-0000{number}-of-00002.safetensors").write_bytes(b"part")
    folder = hub_folder(NAME)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert hub_folder(NAME) == folder
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert_download_fails(lambda: hub_folder(NAME), NAME, "no complete copy", "HF_HUB_OFFLINE")


def test_offline_cache_serves_processor_only_repository(
    server: LocalServer, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "config.json").rename(repository / "processor_config.json")
    folder = hub_folder(NAME, weights=False)
    assert file_names(folder) == {"processor_config.json", "vocab.txt"}
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert hub_folder(NAME, weights=False) == folder
    assert_download_fails(lambda: hub_folder(NAME), NAME, "no complete copy")


def test_missing_config_error_names_subfolder_containing_it(server: LocalServer, repository: Path) -> None:
    (repository / "inner").mkdir()
    (repository / "config.json").rename(repository / "inner" / "config.json")
    assert_download_fails(
        lambda: hub_folder(NAME), f"{NAME} on the hub has no config.json", "found inner/config.json"
    )
    assert_download_fails(lambda: hub_folder(NAME, {"subfolder": "other"}), "has no other/config.json")
    assert_download_fails(
        lambda: hub_folder(NAME, {"subfolder": "other"}, weights=False), "no other/config.json"
    )
    assert file_names(hub_folder(NAME, weights=False)) == {"vocab.txt"}


@pytest.mark.parametrize("options", [{"revision": COMMIT}, {"subfolder": "inner"}])
def test_unreachable_hub_serves_cached_copy_with_hub_arguments(
    options: dict[str, str], repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "inner").mkdir()
    for file in ("config.json", "model.safetensors"):
        (repository / "inner" / file).write_bytes(b"{}")
    with serving(LocalServer({NAME: repository})) as running:
        running.redirect_downloads(monkeypatch, tmp_path / "home")
        folder = hub_folder(NAME, options)
    assert hub_folder(NAME, options) == folder
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert hub_folder(NAME, options) == folder


def test_unreachable_hub_serves_cached_copy(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(LocalServer({NAME: repository})) as running:
        running.redirect_downloads(monkeypatch, tmp_path / "home")
        folder = hub_folder(NAME)
    assert hub_folder(NAME) == hub_folder(NAME, weights=False) == folder
    assert hub_folder(NAME, {"local_files_only": True}) == folder
    assert_download_fails(
        lambda: hub_folder("someone/other"), "someone/other", "cannot be reached", "no complete copy"
    )
    assert_download_fails(lambda: hub_folder("someone/other", {"local_files_only": True}), "switched off")


def test_hf_hub_offline_sends_no_request(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = hub_folder(NAME)
    server.requests.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert hub_folder(NAME) == folder
    assert_download_fails(lambda: hub_folder("someone/other"), "someone/other", "HF_HUB_OFFLINE")
    assert server.requests == []


def test_unknown_repository_raises_weights_error(server: LocalServer) -> None:
    assert_download_fails(
        lambda: hub_folder("someone/absent"), "someone/absent", "no such repository", "no such folder"
    )


def test_unresponsive_hub_times_out_and_serves_cached_copy(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "HUB_TIMEOUT_S", 0.3)
    with serving(LocalServer({NAME: repository})) as running:
        running.redirect_downloads(monkeypatch, tmp_path / "home")
        folder = hub_folder(NAME)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # Takes connections and never says a word.
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        start = time.perf_counter()
        assert hub_folder(NAME) == folder
        assert time.perf_counter() - start < 4
        assert_download_fails(lambda: hub_folder("someone/other"), "someone/other", "cannot be reached")


def test_failed_download_raises_one_line_error_and_succeeds_on_retry(
    server: LocalServer, repository: Path
) -> None:
    whole = server.reply

    def broken(path: str) -> tuple[int, bytes]:
        return (500, b"") if path.endswith("pytorch_model.bin") else whole(path)

    server.reply = broken  # type: ignore[method-assign]
    assert_download_fails(lambda: hub_folder(NAME), NAME, "cannot be downloaded")
    server.reply = whole  # type: ignore[method-assign]
    assert (hub_folder(NAME) / "pytorch_model.bin").read_bytes() == b"weights"


@pytest.mark.parametrize("name", ["bert-base-uncased", "unc-nlp/lxmert-vqa-uncased", "_a/b.c-1", "a/b"])
def test_hub_names_are_recognised(name: str) -> None:
    assert is_hub_name(name)


@pytest.mark.parametrize(
    "name", ["", "a/b/c", "./a", "../a", "a/..", "/a/b", "a/", "a b", "a/b\n", "C:\\a", "é/b", "-a/b"]
)
def test_paths_are_not_hub_names(name: str) -> None:
    assert not is_hub_name(name)


def test_hub_folder_is_snapshot_of_commit_in_cache(server: LocalServer) -> None:
    assert hub_folder(NAME).name == COMMIT
    assert os.path.realpath(hub_folder(NAME) / "vocab.txt").startswith(huggingface_hub.constants.HF_HUB_CACHE)


def test_tensorflow_only_repository_fetches_tf_model_h5(server: LocalServer, repository: Path) -> None:
    (repository / "pytorch_model.bin").unlink()
    assert file_names(hub_folder(NAME)) == {"config.json", "vocab.txt", "tf_model.h5"}


def test_hub_folder_honours_from_pretrained_hub_arguments(
    server: LocalServer, repository: Path, tmp_path: Path
) -> None:
    (repository / "inner").mkdir()
    for name in ("config.json", "model.safetensors", "README.md"):
        (repository / "inner" / name).write_bytes(b"{}")
    assert hub_folder(NAME, {"revision": None, "token": None}) == hub_folder(NAME)
    folder = hub_folder(NAME, {"subfolder": "inner", "revision": COMMIT, "cache_dir": str(tmp_path / "c")})
    assert file_names(folder) == {"config.json", "model.safetensors"}
    assert tmp_path / "c" in folder.parents
    assert not any("inner/README" in path for path in server.requests)
    offline = hub_folder(
        NAME,
        {
            "subfolder": "inner",
            "cache_dir": str(tmp_path / "c"),
            "local_files_only": True,
            "revision": COMMIT,
        },
    )
    assert offline == folder.parent / "inner"
    assert_download_fails(lambda: hub_folder(NAME, {"revision": "elsewhere"}), NAME, "revision")
    assert_download_fails(
        lambda: hub_folder(NAME, {"cache_dir": str(tmp_path / "d"), "local_files_only": True}), NAME
    )
