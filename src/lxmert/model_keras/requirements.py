"""Keras and its backend, which are optional: checked here before anything else imports them."""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from lxmert.errors import MissingExtraError

_BACKEND_PACKAGES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}
"""Keras backend -> the package that it needs. The numpy backend of Keras cannot train and is left out."""

_INSTALL = {
    "tensorflow": 'pip install "lxmert[tf-cpu]" (CPU) or "lxmert[tf]" (GPU)',
    "jax": "pip install jax",
    "torch": "pip install torch",
}


def require_keras() -> None:
    """Check that Keras and its backend are installed; the default backend is TensorFlow.

    Keras reads KERAS_BACKEND, or its own settings file, once, when it is first imported.

    Raises:
        MissingExtraError: Keras or the package of its backend is not installed.
    """
    if find_spec("keras") is None:
        raise MissingExtraError(
            "the TFLxmert classes need Keras 3, which is not installed: "
            'pip install "lxmert[tf-cpu]" (TensorFlow on a CPU), "lxmert[tf]" (on a GPU), '
            'or "lxmert[keras]" for another backend'
        )
    backend = _chosen_backend()
    package = _BACKEND_PACKAGES.get(backend)
    if package is None:
        raise MissingExtraError(
            f"KERAS_BACKEND is {backend!r}; the TFLxmert classes run on {', '.join(_BACKEND_PACKAGES)}"
        )
    if find_spec(package) is None:
        raise MissingExtraError(
            f"the Keras backend {backend!r} is not installed: {_INSTALL[backend]}, or set KERAS_BACKEND "
            "to one that is"
        )


def _chosen_backend() -> str:
    """Return the backend that Keras uses, or will use when it is imported."""
    if "keras" in sys.modules:
        return str(sys.modules["keras"].backend.backend())
    return os.environ.get("KERAS_BACKEND") or _backend_in_settings() or "tensorflow"


def _backend_in_settings() -> str:
    """Return the backend in the settings file of Keras; empty without one."""
    folder = os.environ.get("KERAS_HOME") or Path("~/.keras").expanduser()
    try:
        return str(json.loads((Path(folder) / "keras.json").read_text(encoding="utf-8")).get("backend") or "")
    except (OSError, ValueError, AttributeError):
        return ""
