"""A benchmark on Ray: cells and pool scoring on two workers give the tables of this process, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_benchmark import small, small_plan, tables_of

from medal.benchmark.execution import execute
from medal.benchmark.folder import make_folder
from medal.benchmark.tables import write_tables
from medal.benchmark.verify import verify

pytest.importorskip("ray", reason="the extra ray is not installed")


@pytest.mark.slow
def test_the_tables_are_those_of_one_process(tmp_path: Path) -> None:
    found = {}
    for engine in ("local", "ray"):
        resources = f"resources={{threads: 1, processes: 2, engine: {engine}}}"
        folder = make_folder(tmp_path / engine, small_plan(overrides=[*small().overrides, resources]))
        assert execute(folder) == []
        write_tables(folder)
        assert verify(folder).problems == ()
        found[engine] = tables_of(folder.path)
    assert found["ray"] == found["local"]
