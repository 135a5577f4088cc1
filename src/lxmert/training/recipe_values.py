"""Helpers of the recipe that know values but no section: overrides, comparison, the report of faults."""

import textwrap
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from lxmert.errors import ConfigurationError
from lxmert.yaml_files import parse_yaml


def all_faults(error: ValidationError) -> str:
    """One line of all that is wrong, each with its place, but for what no single key is to blame for."""
    faults = []
    for fault in error.errors():
        place = ".".join(map(str, fault["loc"]))
        message = fault["msg"].removeprefix("Value error, ")
        got = "" if fault["type"] in {"missing", "value_error"} else f" (got {_shown(fault['input'])})"
        faults.append(f"{place}: {message}{got}" if place else message + got)
    count = f"{len(faults)} faults: " if len(faults) > 1 else ""
    return count + "; ".join(faults)


def _shown(value: Any) -> str:
    """A value of a recipe; of a whole section the names of its keys."""
    if isinstance(value, dict):
        return f"a section of {', '.join(map(str, value)) or 'nothing'}"
    return textwrap.shorten(repr(value), 80, placeholder=" …")


def apply_override(values: dict[str, Any], override: str) -> None:
    """Change `values` as an override `section.key=value` says; the value is YAML.

    Raises:
        ConfigurationError: The override has another form.
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
            raise ConfigurationError(f"override {override!r}: {name} is no section of the recipe")
    try:
        section[names[-1]] = parse_yaml(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"override {override!r}: {error}") from None


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by points."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(flattened(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
