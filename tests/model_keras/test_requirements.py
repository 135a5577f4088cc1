"""Errors without Keras or a backend, each in a process of its own; no test here needs either."""

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
KERAS_CLASS_IMPORT = """
try:
    from lxmert import TFLxmertModel
except ImportError as error:
    print(type(error).__name__, error)
"""
INSPECTION = """
import inspect, pydoc
import lxmert
print("LxmertModel" in dict(inspect.getmembers(lxmert)), "LxmertModel" in pydoc.render_doc(lxmert))
print("TFLxmertModel" in dir(lxmert), "keras" in sys.modules)
"""
STAR_IMPORT = """
from lxmert import *
print(LxmertModel.__name__, "TFLxmertModel" in globals(), "keras" in sys.modules)
"""


def output_lines(
    hidden: set[str], tmp_path: Path, backend: str = "", settings: str = "", code: str = KERAS_CLASS_IMPORT
) -> list[str]:
    if settings:
        (tmp_path / "keras.json").write_text(settings)
    environment = {"KERAS_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    if backend:
        environment["KERAS_BACKEND"] = backend
    command = [sys.executable, "-c", HIDING.format(hidden=sorted(hidden)) + code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()


def test_missing_keras_raises_one_line_missing_extra_error(tmp_path: Path) -> None:
    [line] = output_lines({"keras"}, tmp_path)
    assert line.startswith("MissingExtraError")
    for extra in ("tf-cpu", "tf", "keras"):
        assert f'"lxmert[{extra}]"' in line


def test_star_import_and_inspection_work_without_keras(tmp_path: Path) -> None:
    assert output_lines({"keras"}, tmp_path, code=STAR_IMPORT) == ["LxmertModel False False"]
    assert output_lines({"keras"}, tmp_path, code=INSPECTION) == ["True True", "False False"]


@pytest.mark.parametrize("chosen", ["", "tensorflow"])
def test_missing_tensorflow_raises_one_line_error_naming_extra(tmp_path: Path, chosen: str) -> None:
    pytest.importorskip("keras")
    [line] = output_lines({"tensorflow"}, tmp_path, backend=chosen)
    assert "'tensorflow' is not installed" in line
    assert "lxmert[tf-cpu]" in line
    assert "KERAS_BACKEND" in line


def test_missing_jax_backend_is_named_with_pip_command(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    assert "pip install jax" in output_lines({"jax", "tensorflow"}, tmp_path, backend="jax")[0]


def test_backend_from_keras_settings_file_is_checked(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    assert "pip install jax" in output_lines({"jax"}, tmp_path, settings='{"backend": "jax"}')[0]
    assert "'tensorflow' is not installed" in output_lines({"tensorflow"}, tmp_path, settings="no JSON")[0]


def test_numpy_backend_is_rejected(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    assert "KERAS_BACKEND is 'numpy'" in output_lines(set(), tmp_path, backend="numpy")[0]
