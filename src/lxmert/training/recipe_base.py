"""The base of all recipes: reading from YAML with overrides, validation, writing, comparison.

A recipe is a YAML file of sections. Unknown keys are errors, all faults are reported together, and the
resolved recipe (every default filled in) is saved with each run.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lxmert.errors import ConfigurationError
from lxmert.training.recipe_values import apply_override, flatten, format_validation_errors
from lxmert.yaml_files import parse_yaml


class Section(BaseModel):
    """A part of a recipe: no unknown keys, no infinite numbers, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Recipe(Section):
    """A whole recipe."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], origin: str = "recipe") -> Self:
        """Validate values from any source.

        Raises:
            ConfigurationError: With all faults, one after the other.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigurationError(f"{origin}: {format_validation_errors(error, cls)}") from None

    @classmethod
    def from_yaml(cls, path: str | Path, overrides: Sequence[str] = ()) -> Self:
        """Read a recipe file and apply `section.key=value` overrides, whose values are YAML.

        Raises:
            ConfigurationError: The file cannot be read, is no YAML mapping, or breaks the rules.
        """
        try:
            values = parse_yaml(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigurationError(f"{path}: no such file; expected a recipe in YAML") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path}: the recipe cannot be read ({error})") from error
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from None
        if not isinstance(values, dict):
            raise ConfigurationError(f"{path}: expected sections with keys, got {type(values).__name__}")
        for override in overrides:
            apply_override(values, override)
        return cls.from_dict(values, f"{path} with overrides" if overrides else str(path))

    def to_yaml(self) -> str:
        """The resolved recipe, every default filled in, as YAML that `from_yaml` reads back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def differences(self, other: "Recipe") -> list[str]:
        """The keys in which two recipes differ, as `optimisation.epochs: 4 here, 8 there`."""
        own, others = flatten(self.model_dump(mode="json")), flatten(other.model_dump(mode="json"))
        return [
            f"{key}: {own.get(key)} here, {others.get(key)} there"
            for key in sorted(own.keys() | others.keys())
            if own.get(key) != others.get(key)
        ]
