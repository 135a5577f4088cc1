"""Loading, naming and running other models of `transformers`; each failure is an error of one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.utils import is_timm_available

from lxmert.errors import ConfigurationError, WeightsError
from lxmert.faults import hub_attention_fault
from lxmert.weights.hub import hub_folder, is_hub_name

_TIMM_KINDS = {"timm_backbone", "timm_wrapper"}
_MAX_REASON_CHARACTERS = 200


def resolve_model_source(name: str, revision: str | None = None) -> str:
    """Return what `transformers` loads a model from: a folder, or the hub's name where a revision is given.

    A model of the hub is downloaded if need be.

    Args:
        name: a folder or hub name.
        revision: branch, tag or commit of the hub; with one, `transformers` itself asks the hub.

    Raises:
        WeightsError: no such folder, and not found on the hub.
    """
    is_used_as_given = revision is not None or Path(name).is_dir() or not is_hub_name(name)
    return name if is_used_as_given else str(hub_folder(name))


def load_config(name: str, model_path: str, model_kind: str, revision: str | None = None) -> Any:
    """Load the configuration of a model.

    Args:
        name: the folder or hub name, for the error.
        model_path: the result of `resolve_model_source` for it.
        model_kind: the kind of model, for the error: "vision model" or "object detector".
        revision: branch, tag or commit of the hub.

    Raises:
        WeightsError: no model there, one unknown to `transformers`, one whose backbone needs timm, or
            one whose attention may be code of the hub.
    """
    from transformers import AutoConfig

    with translate_loading_errors(name, model_kind):
        config = AutoConfig.from_pretrained(model_path, revision=revision, trust_remote_code=False)
    if fault := hub_attention_fault(config):
        raise WeightsError(f"{name}: {fault}")
    backbone = getattr(config, "backbone_config", None)
    kinds = {getattr(part, "model_type", None) for part in (config, backbone)}
    if kinds & _TIMM_KINDS and not is_timm_available():
        raise WeightsError(
            f"{name}: its backbone needs timm, which needs torchvision, and lxmert uses neither; use a "
            "model whose backbone is part of transformers (for facebook/detr-resnet-50, revision "
            "'no_timm')"
        )
    return config


@contextmanager
def translate_loading_errors(name: str, model_kind: str) -> Iterator[None]:
    """Turn any error of `transformers` while loading into a `WeightsError` of one line."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RecursionError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(
            f"{name}: no {model_kind} can be loaded from here ({_summarise_error(error)})"
        ) from error


@contextmanager
def translate_forward_errors(model: nn.Module, size_hw: tuple[int, int]) -> Iterator[None]:
    """Turn a model's error about the size of its input into a `ConfigurationError` of one line.

    Args:
        model: the model that runs.
        size_hw: height and width of its input in pixels.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError) as error:
        raise ConfigurationError(
            f"{type(model).__name__} cannot take an image of {size_hw[1]}×{size_hw[0]} pixels "
            f"(width×height); choose another size ({_summarise_error(error)})"
        ) from error


def require_model(model: Any) -> nn.Module:
    """Return a model made in memory, after checking that it is one.

    Raises:
        ConfigurationError: it is not a module.
    """
    if not isinstance(model, nn.Module):
        raise ConfigurationError(
            f"model is {model!r}; expected a model of transformers, or the folder or hub name of one"
        )
    return model


def require_name(name: str | None, model: nn.Module) -> str:
    """Return the folder or hub name of a model, for its description.

    Raises:
        ConfigurationError: the model was made in memory and has no name.
    """
    if name is None:
        raise ConfigurationError(
            f"the model {type(model).__name__} was created in memory and cannot be saved by name; save it "
            "with save_pretrained and pass its folder instead"
        )
    return name


def _summarise_error(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:_MAX_REASON_CHARACTERS]
