"""The recipes that ship inside the package, and how `--config` finds them by name."""

from importlib.resources import files
from pathlib import Path

from lxmert.errors import ConfigurationError


def included_recipes() -> dict[str, Path]:
    """Return the file of each included recipe by its name, such as `scenes_vqa`, sorted."""
    folder = Path(str(files("lxmert") / "assets" / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def recipe_path(name: str) -> Path:
    """Return the file of a recipe: an included one by its bare name, any other by its path.

    A file called like an included recipe is named `./NAME`.

    Raises:
        ConfigurationError: there is neither.
    """
    included = included_recipes()
    if name in included:
        return included[name]
    if not Path(name).exists():
        raise ConfigurationError(
            f"{name}: no such file; expected a recipe in YAML or an included one ({', '.join(included)})"
        )
    return Path(name)


def recipe_description(text: str) -> str:
    """Return the first paragraph of the comment that a recipe begins with, in one line; "" without one."""
    lines = []
    for line in text.splitlines():
        comment = line.removeprefix("#").strip()
        if not line.startswith("#") or not comment:
            break
        lines.append(comment)
    return " ".join(lines)
