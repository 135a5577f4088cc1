"""The tree drawn in README and CONTRIBUTING is the tree on disk."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _drawn_names(document: str) -> set[str]:
    """The names at the start of the lines of the block that begins with `src/lxmert/`."""
    text = (ROOT / document).read_text(encoding="utf-8")
    block = re.search(r"^ {4}src/lxmert/\n((?: {4}.+\n)+)", text, re.MULTILINE)
    assert block, f"{document} draws no tree"
    inside = re.findall(r"^ {6}([\w.]+/?)", block.group(1), re.MULTILINE)
    beside = re.findall(r"^ {4}([\w.]+/?)", block.group(1), re.MULTILINE)
    return {f"src/lxmert/{name}" for name in inside} | set(beside)


def _names_on_disk() -> set[str]:
    package = [
        path for path in (ROOT / "src/lxmert").iterdir() if path.name not in {"__pycache__", "py.typed"}
    ]
    beside = [
        ROOT / name
        for name in ("configs", "tests", "docs", "examples", "benchmarks")
        if (ROOT / name).is_dir()
    ]
    return {str(path.relative_to(ROOT)) + ("/" if path.is_dir() else "") for path in package + beside}


def test_readme_and_contributing_draw_the_tree_on_disk() -> None:
    assert _drawn_names("README.md") == _names_on_disk()
    assert _drawn_names("CONTRIBUTING.md") == _names_on_disk()
