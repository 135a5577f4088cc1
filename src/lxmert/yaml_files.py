"""YAML as plain values: no objects, no file that a few lines let grow beyond any memory."""

from typing import Any

import yaml

from lxmert.errors import ConfigurationError

_MOST_VALUES = 100_000
"""All values of a file, those behind an alias counted wherever it stands; recipes have some hundreds."""


def parse_yaml(text: str) -> Any:
    """The values of a YAML text.

    Raises:
        ConfigurationError: not YAML, nested too deeply, or aliases (`*name`) that stand for too much; the
            message is to follow the name of the file.
    """
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        if root is not None and _count(root, {}) > _MOST_VALUES:
            raise ConfigurationError(
                f"not YAML of ours: more than {_MOST_VALUES:,} values, or a value that holds itself"
            )
        return yaml.safe_load(text)
    except RecursionError:
        raise ConfigurationError("not YAML of ours: nested too deeply") from None
    except ConfigurationError:
        raise
    except Exception as error:  # Of values that are not what their tag says, yaml raises whatever it meets.
        raise ConfigurationError(f"not YAML: {' '.join(str(error).split())}") from None


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a part of a file comes to.

    Args:
        node: the part.
        known: the counts, by the identity of parts, of those met before. A part that stands in itself meets
            its own, which is too many.
    """
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        known[id(node)] = _MOST_VALUES + 1
        known[id(node)] = 1 + sum(_count(part, known) for part in _parts(node))
    return known[id(node)]


def _parts(node: yaml.CollectionNode) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value)
