"""What a user reads who lacks Keras or a backend, each in a process of its own; no test here needs either."""

import subprocess
import sys
from pathlib import Path

import pytest

# Hides packages from the import system, as if they were not installed.
HIDING = """
import importlib.abc, importlib.util, os, sys
hidden = set({hidden!r})
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hide())
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in hidden else find(name, package)
"""
ASKING = """
try:
    from lxmert import TFLxmertModel
except ImportError as error:
    print(type(error).__name__, error)
"""
LOOKING = """
import inspect, pydoc
import lxmert
print("LxmertModel" in dict(inspect.getmembers(lxmert)), "LxmertModel" in pydoc.render_doc(lxmert))
print("TFLxmertModel" in dir(lxmert), "keras" in sys.modules)
"""
TAKING_ALL = """
from lxmert import *
print(LxmertModel.__name__, "TFLxmertModel" in globals(), "keras" in sys.modules)
"""


def told(
    hidden: set[str], tmp_path: Path, backend: str = "", settings: str = "", code: str = ASKING
) -> list[str]:
    if settings:
        (tmp_path / "keras.json").write_text(settings)
    environment = {"KERAS_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    if backend:
        environment["KERAS_BACKEND"] = backend
    command = [sys.executable, "-c", HIDING.format(hidden=sorted(hidden)) + code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()


def test_without_keras_one_line_says_what_to_install(tmp_path: Path) -> None:
    [line] = told({"keras"}, tmp_path)
    assert line.startswith("MissingExtraError")
    for extra in ("tf-cpu", "tf", "keras"):
        assert f'"lxmert[{extra}]"' in line


def test_without_keras_the_package_can_be_looked_at(tmp_path: Path) -> None:
    assert told({"keras"}, tmp_path, code=TAKING_ALL) == ["LxmertModel False False"]
    assert told({"keras"}, tmp_path, code=LOOKING) == ["True True", "False False"]


@pytest.mark.parametrize("chosen", ["", "tensorflow"])
def test_without_tensorflow_one_line_says_what_to_install(tmp_path: Path, chosen: str) -> None:
    pytest.importorskip("keras")
    [line] = told({"tensorflow"}, tmp_path, backend=chosen)
    assert "'tensorflow' is not installed" in line
    assert "lxmert[tf-cpu]" in line
    assert "KERAS_BACKEND" in line


def test_another_backend_is_asked_for_by_name(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    assert "pip install jax" in told({"jax", "tensorflow"}, tmp_path, backend="jax")[0]


def test_the_settings_file_of_keras_counts_too(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    assert "pip install jax" in told({"jax"}, tmp_path, settings='{"backend": "jax"}')[0]
    assert "'tensorflow' is not installed" in told({"tensorflow"}, tmp_path, settings="no JSON")[0]


def test_a_backend_that_cannot_train_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    assert "KERAS_BACKEND is 'numpy'" in told(set(), tmp_path, backend="numpy")[0]
