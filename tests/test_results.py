"""Pages of results: no number was typed by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"


@pytest.mark.parametrize("page", sorted(RESULTS.glob("*.md")), ids=lambda path: path.stem)
def test_every_table_row_stands_in_the_tables_of_a_benchmark(page: Path):
    known = {
        line for tables in RESULTS.glob(f"{page.stem}*/tables.md") for line in tables.read_text("utf-8").splitlines()
    }
    rows = [line for line in page.read_text("utf-8").splitlines() if line.startswith("|")]
    assert len(rows) > 20
    assert [row for row in rows if row not in known] == []


@pytest.mark.parametrize("page", sorted(RESULTS.glob("*.md")), ids=lambda path: path.stem)
def test_every_picture_and_link_is_there(page: Path):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert (page.parent / target).is_file(), target
