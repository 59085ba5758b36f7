"""What every test shares: one thread, repeatable examples, and the folder of real data where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

torch.set_num_threads(1)
# the same examples everywhere, and no clock that a busy machine could miss
settings.register_profile("medal", deadline=None, derandomize=True, database=None)
settings.load_profile("medal")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data: MEDAL_DATA, else `../shared/data` beside the repository; skips where there is none."""
    folder = Path(os.environ.get("MEDAL_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not a folder; set MEDAL_DATA")
    return folder
