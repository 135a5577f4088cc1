"""Recipe helpers that do not depend on sections: overrides, flattening, reports of faults."""

import difflib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from lxmert.errors import ConfigurationError
from lxmert.yaml_files import parse_yaml


def format_validation_errors(error: ValidationError, recipe: type[BaseModel]) -> str:
    """All faults of a recipe or a section in one line, each with its key unless it concerns no single one."""
    faults = []
    entries = error.errors()
    # A list without its faulty elements is found too short as well: only the elements' faults count.
    parents = {fault["loc"][:depth] for fault in entries for depth in range(len(fault["loc"]))}
    for fault in entries:
        if fault["loc"] in parents:
            continue
        key = ".".join(map(str, fault["loc"]))
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = f"unknown key{_nearest_known(recipe, fault['loc'])}"
        value = (
            "" if fault["type"] in {"missing", "value_error"} else f" (got {_format_value(fault['input'])})"
        )
        faults.append(f"{key}: {message}{value}" if key else message + value)
    count = f"{len(faults)} faults: " if len(faults) > 1 else ""
    return count + "; ".join(faults)


def _nearest_known(recipe: type[BaseModel], location: Sequence[str | int]) -> str:
    """A hint at the key that may be meant; empty where the section at the location can be one of several."""
    section = recipe
    for name in location[:-1]:
        if isinstance(name, int):  # An element of a list of sections.
            continue
        field = section.model_fields.get(name)
        sections = [] if field is None else _sections_in(field.annotation)
        if len(sections) != 1:
            return ""
        (section,) = sections
    nearest = difflib.get_close_matches(str(location[-1]), section.model_fields, n=1)
    return f", nearest known: {nearest[0]!r}" if nearest else ""


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    """The sections that an annotation such as `Section | None` names."""
    if parts := get_args(annotation):
        return [section for part in parts for section in _sections_in(part)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


def _format_value(value: Any) -> str:
    """A value of a recipe, for a message; of a section, the names of its keys."""
    if isinstance(value, dict):
        return f"a section with {', '.join(map(str, value)) or 'nothing'}"
    return textwrap.shorten(repr(value), 80, placeholder=" …")


def apply_override(values: dict[str, Any], override: str) -> None:
    """Apply an override `section.key=value` to `values`; the value is YAML.

    Raises:
        ConfigurationError: The override is malformed.
    """
    key, equals, text = override.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise ConfigurationError(f"override {override!r} is not of the form section.key=value")
    section = values
    for name in names[:-1]:
        if section.get(name) is None:
            section[name] = {}
        section = section[name]
        if not isinstance(section, dict):
            raise ConfigurationError(f"override {override!r}: {name} is not a section of the recipe")
    try:
        section[names[-1]] = parse_yaml(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"override {override!r}: {error}") from None


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings, joining keys by dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
