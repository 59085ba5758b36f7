"""A benchmark that is killed at random moments and begun again gives the same tables, byte for byte."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_benchmark import tables_of, write_file

ROOT = Path(__file__).parents[3]


def command(file: Path, folder: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "medal", "benchmark", "run", str(file), "--out", str(folder)]
    # two processes, so that a kill also meets workers
    return subprocess.Popen(
        [*words, "resources.processes=2"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def begun(folder: Path) -> int:
    """Cells that have a journal."""
    return len(list(folder.glob("cells/*/*/*/*/ledger.db")))


@pytest.mark.slow
def test_sigkill_and_again_gives_the_same_tables(tmp_path: Path) -> None:
    file = write_file(tmp_path / "small.yaml")
    whole = command(file, tmp_path / "whole")
    said, _ = whole.communicate(timeout=600)
    assert whole.returncode == 0, said.decode()

    clock, landed = random.Random(3), []
    for cells in (1, 3, 5):
        process = command(file, tmp_path / "killed")
        while begun(tmp_path / "killed") < cells and process.poll() is None:
            time.sleep(0.05)
        time.sleep(clock.uniform(0, 0.5))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        landed.append(begun(tmp_path / "killed"))
    assert 0 < landed[0] < 8, f"no kill fell into the cells: {landed}"
    last = command(file, tmp_path / "killed")
    said, _ = last.communicate(timeout=600)
    assert last.returncode == 0, said.decode()
    assert tables_of(tmp_path / "killed") == tables_of(tmp_path / "whole")
