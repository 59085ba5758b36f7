"""People cannot be waited for by a run that plays itself."""

from __future__ import annotations

import pytest

from medal.errors import AwaitingAnnotation
from medal.oracle import FileExchange, Oracle
from medal.seeding import Seed
from medal.strategy import Query


def test_it_says_what_to_do() -> None:
    oracle = FileExchange()
    assert isinstance(oracle, Oracle)
    query = Query(("a", "b"), (0.0, 0.0), ({}, {}), {"items": 2.0, "minutes": 2.0})
    with pytest.raises(AwaitingAnnotation, match=r"^2 units wait for people.*`medal init FOLDER --out study`"):
        oracle.annotate(query, "image", Seed(0))
