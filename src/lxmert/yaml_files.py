"""YAML as plain values: no objects, no key twice, and no small file whose aliases expand beyond memory."""

from typing import Any

import yaml

from lxmert.errors import ConfigurationError

_MAX_CHARACTERS = 200_000
"""Of a text, since PyYAML takes seconds and a hundred megabytes for it; recipes have some thousands."""
_MAX_VALUES = 100_000
"""Values of a file with its aliases expanded; recipes have some hundreds."""
_MERGE_TAG = "tag:yaml.org,2002:merge"
"""Of the key `<<`, which may occur several times."""
_INT_TAG = "tag:yaml.org,2002:int"
_MAX_INT_BITS = 64


def parse_yaml(text: str) -> Any:
    """Parse a YAML text.

    Raises:
        ConfigurationError: not YAML, too long, a key that occurs twice in a mapping, nested too deeply,
            aliases (`*name`) that expand to too much, or an integer of more than 64 bits; the caller puts the
            name of the file before the message.
    """
    if len(text) > _MAX_CHARACTERS:
        raise ConfigurationError(f"unsupported YAML: more than {_MAX_CHARACTERS:,} characters")
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        if root is not None and _count(root, {}) > _MAX_VALUES:
            raise ConfigurationError(
                f"unsupported YAML: more than {_MAX_VALUES:,} values, or a value that contains itself"
            )
        return yaml.load(text, _Loader)
    except RecursionError:
        raise ConfigurationError("unsupported YAML: nested too deeply") from None
    except ConfigurationError:
        raise
    except Exception as error:  # yaml raises many kinds of errors for a value that does not fit its tag.
        raise ConfigurationError(f"not YAML: {' '.join(str(error).split())}") from None


class _Loader(yaml.SafeLoader):
    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        number: int = super().construct_yaml_int(node)
        if number.bit_length() > _MAX_INT_BITS:  # Python could not even print those of thousands of digits.
            line = node.start_mark.line + 1
            raise ConfigurationError(
                f"unsupported YAML: the integer in line {line} has more than {_MAX_INT_BITS} bits"
            )
        return number


_Loader.add_constructor(_INT_TAG, _Loader.construct_yaml_int)


def _count(node: yaml.Node, counts: dict[int, int]) -> int:
    """Count the values of a node with its aliases expanded; a mapping with a key twice is an error.

    Args:
        node: a part of the file.
        counts: counts of the nodes visited before, by identity. A node that contains itself finds its own
            entry, which is set above the limit first.
    """
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in counts:
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
        counts[id(node)] = _MAX_VALUES + 1
        counts[id(node)] = 1 + sum(_count(child, counts) for child in _children(node))
    return counts[id(node)]


def _children(node: yaml.CollectionNode) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value)


def _check_keys(node: yaml.MappingNode) -> None:
    """Raise for a key that occurs twice, of which PyYAML would take the last value and drop the first."""
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE_TAG:
            continue
        name, line = (key.tag, key.value), key.start_mark.line + 1
        if name in lines:
            raise ConfigurationError(
                f"the key {key.value!r} occurs twice, in lines {lines[name]} and {line}; keep one of them"
            )
        lines[name] = line
