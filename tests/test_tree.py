"""The tree drawn in the README equals the tree on disk."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _drawn_names() -> set[str]:
    """The names at the start of the lines of the block that begins with `src/lxmert/`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^ {4}src/lxmert/\n((?: {4}.+\n)+)", text, re.MULTILINE)
    assert block, "the README draws no tree"
    in_package = re.findall(r"^ {6}([\w.]+/?)", block.group(1), re.MULTILINE)
    top_level = re.findall(r"^ {4}([\w.]+/?)", block.group(1), re.MULTILINE)
    return {f"src/lxmert/{name}" for name in in_package} | set(top_level)


def _names_on_disk() -> set[str]:
    package = [
        path for path in (ROOT / "src/lxmert").iterdir() if path.name not in {"__pycache__", "py.typed"}
    ]
    top_level = [
        ROOT / name
        for name in ("configs", "tests", "docs", "examples", "benchmarks")
        if (ROOT / name).is_dir()
    ]
    return {str(path.relative_to(ROOT)) + ("/" if path.is_dir() else "") for path in package + top_level}


def test_readme_tree_equals_files_on_disk() -> None:
    assert _drawn_names() == _names_on_disk()
