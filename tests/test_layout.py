"""The shape of the project: siblings, light imports, short files, no prints."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("medal", "modalities", "pretrained", "tasks")
SOURCES = sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))
EVERY = sorted([*SOURCES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])
HEAVY = (
    "monai",
    "torchio",
    "diffusers",
    "timm",
    "segment_anything",
    "openslide",
    "pydicom",
    "lightning",
    "torchvision",
)


def loaded_after(statement: str, names: tuple[str, ...]) -> list[str]:
    code = f"import sys; {statement}; print(*[n for n in {names!r} if n in sys.modules])"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()


def test_the_packages_are_siblings() -> None:
    for name in PACKAGES:
        assert (ROOT / name / "__init__.py").is_file()
    assert not (ROOT / "configs" / "__init__.py").exists()
    assert not (ROOT / "tests" / "__init__.py").exists()


@pytest.mark.parametrize(
    "statement",
    ["import medal", "import medal.loop, medal.run", "import modalities.chest_xray", "import tasks.chest_xray"],
)
def test_imports_load_no_heavy_library(statement: str) -> None:
    assert loaded_after(statement, HEAVY) == []


def test_the_command_line_loads_no_torch() -> None:
    assert loaded_after("import medal.cli", ("torch", "numpy", "pydantic")) == []


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in EVERY}
    assert {name: n for name, n in lengths.items() if n > 400} == {}


def test_most_files_are_short() -> None:
    lengths = sorted(len(p.read_text().splitlines()) for p in SOURCES)
    assert lengths[len(lengths) // 2] < 200


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path.name} has no docstring"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_source_names_a_helper_or_leaves_work_undone(path: Path) -> None:
    text = path.read_text()
    assert path.stem not in {"utils", "helpers", "common", "base"}
    for mark in ("TODO", "FIXME", "NotImplementedError", "XXX"):
        assert mark not in text


@pytest.mark.parametrize(
    "package", sorted({p.parent for p in SOURCES if p.name == "__init__.py"}), ids=lambda p: str(p.relative_to(ROOT))
)
def test_init_files_only_hand_on_names(package: Path) -> None:
    body = ast.parse((package / "__init__.py").read_text()).body
    kinds = {type(node) for node in body[1:]}
    assert kinds <= {ast.Import, ast.ImportFrom} or package.name == "medal"
