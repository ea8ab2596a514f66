"""The house: a room imports only from rooms above it, the package is light to import, no file is a grab-bag."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "t2i_jax"
ROOMS = ("errors", "keys", "paths", "config", "distributed", "data", "models", "pretrained", "objectives", "optimizer",
         "systems", "training", "planning", "evaluation", "inference", "measuring", "commands", "cli", "__main__")
FILES = sorted(PACKAGE.rglob("*.py"))


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(source: str) -> set[str]:
    """Rooms that a file's imports lead to, those inside functions included."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                modules = [name.name for name in names]
            case ast.ImportFrom(module=module, names=names, level=0):
                modules = [module] if module != "t2i_jax" else [f"t2i_jax.{name.name}" for name in names]
            case ast.ImportFrom():
                modules = ["t2i_jax.relative"]  # absolute imports only
            case _:
                continue
        found |= {module.split(".")[1] for module in modules if module.startswith("t2i_jax.")}
    return found - {"__version__"}


def imported_packages(source: str) -> set[str]:
    """Top-level packages that a file imports, those inside functions included."""
    nodes = list(ast.walk(ast.parse(source)))
    plain = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    return {name.split(".")[0] for name in plain | {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}}


def upward(source: str, here: str) -> set[str]:
    """Rooms imported that do not stand above `here` in the list."""
    allowed = set(ROOMS[: ROOMS.index(here) + 1])
    return imported_rooms(source) - allowed


@pytest.mark.parametrize("file", [f for f in FILES if f.parent != PACKAGE or f.name != "__init__.py"], ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_point_upwards_only(file):
    assert room(file) in ROOMS, "a new room needs its place in the list"
    assert not upward(file.read_text(encoding="utf-8"), room(file))


def test_an_upward_arrow_would_be_seen():
    assert upward("def f():\n    from t2i_jax.training import loop", "systems") == {"training"}
    assert upward("from t2i_jax import cli, errors", "models") == {"cli"}
    assert upward("from ..training import loop", "systems") == {"relative"}


@pytest.mark.parametrize("package", ["torch", "transformers", "tensorflow"])
def test_references_are_for_tests_alone(package):
    for line in (f"def f():\n    import {package}.nn", f"from {package}.x import y"):
        assert imported_packages(line) == {package}
    assert not [file.name for file in FILES if package in imported_packages(file.read_text(encoding="utf-8"))]


def test_no_file_is_a_grab_bag():
    assert not [f.name for f in FILES if f.stem in ("utils", "helpers", "common", "misc")]
    assert not {f.name: n for f in FILES if (n := len(f.read_text(encoding="utf-8").splitlines())) > 300}


def test_importing_the_package_is_light_and_starts_no_device():
    script = "import sys, t2i_jax; sys.exit(any(m in sys.modules for m in ('jax', 'flax', 'numpy', 'tensorflow_datasets')))"
    assert subprocess.run([sys.executable, "-c", script], cwd=PACKAGE.parent).returncode == 0
