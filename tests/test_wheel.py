"""The built wheel holds everything: packages, recipes, template and command line, tried from an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_plays_from_an_empty_folder(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns(".git", ".venv", "runs", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignore)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "-o", str(tmp_path / "dist"), str(source)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    wheel = next((tmp_path / "dist").glob("medal_imaging-*.whl"))
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--disable-pip-version-check",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(pip, check=True)
    assert not (site / "tests").exists()
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}

    def call(*words: str) -> str:
        command = [sys.executable, "-P", *words]
        return subprocess.run(command, cwd=empty, env=environment, check=True, capture_output=True, text=True).stdout

    where = call("-c", "import medal, modalities, pretrained, tasks; print(medal.__file__, tasks.__file__)")
    assert where.count(str(site)) == 2
    assert "beta_epistemic" in call("-m", "medal", "list", "works")
    call("-m", "medal", "run", "chest_xray", "--smoke")
    page = empty / "runs" / "chest_xray" / "report" / "report.html"
    assert page.stat().st_size > 50_000
    scripts = (site / "bin" / "medal").read_text()
    assert "medal.cli" in scripts
