"""Architecture rules: imports point down; no assert, pickle or torchvision in the library."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "lxmert"

# Lower numbers lie deeper; a module imports only from its own package or from a smaller number.
LEVELS = {
    "_version": 0,
    "cpu": 0,
    "errors": 0,
    "faults": 0,
    "worker_processes": 0,
    "atomic_files": 0,
    "answers": 1,
    "configuration": 1,
    "devices": 1,
    "downloads": 1,
    "locks": 1,
    "model_settings": 1,
    "yaml_files": 1,
    "tokenization": 1,
    "texts": 2,
    "weights": 2,
    "model": 3,
    "model_keras": 3,
    "vision": 3,
    "processing": 4,
    "scenes": 4,
    "data": 5,
    "inference": 6,
    "explain": 7,
    "training": 7,
    "web": 8,
    "cli": 9,
    "__main__": 10,
}

FILES = sorted(SOURCE.rglob("*.py"))


def _package(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imported_packages(tree: ast.Module) -> set[str]:
    packages = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lxmert":
            parts = node.module.split(".")
            packages.update([parts[1]] if len(parts) > 1 else [alias.name for alias in node.names])
        elif isinstance(node, ast.Import):
            packages.update(
                alias.name.split(".")[1] for alias in node.names if alias.name.startswith("lxmert.")
            )
    return packages


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_module_imports_only_lower_levels(path: Path) -> None:
    package = _package(path)
    if package == "__init__":
        return
    for other in _imported_packages(ast.parse(path.read_text(encoding="utf-8"))) - {package}:
        assert LEVELS[other] < LEVELS[package], f"{package} imports {other}, which does not lie below it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_assert_no_pickle_no_torchvision(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: raise a typed error instead of assert"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.split(".")[0] for alias in node.names} | {getattr(node, "module", None) or ""}
            assert not names & {"pickle", "torchvision", "timm"}, f"line {node.lineno}"
        if isinstance(node, ast.ImportFrom):
            banned = ("transformers.models.lxmert", "transformers.models.bert")
            assert not (node.module or "").startswith(banned), f"line {node.lineno}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert keywords.get("weights_only") == "True", f"line {node.lineno}: torch.load runs pickled code"


@pytest.mark.parametrize("path", sorted((SOURCE / "model_keras").glob("*.py")), ids=lambda path: path.name)
def test_model_keras_modules_import_no_backend_at_module_level(path: Path) -> None:
    """Only Keras knows the backend; what one of them needs of its own is imported where it is used."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
            assert not {name.split(".")[0] for name in names} & {"torch", "tensorflow", "jax"}
