"""Oracle: who answers a query."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from medal.pool import Annotations
from medal.seeding import Seed
from medal.strategy import Query


@runtime_checkable
class Oracle(Protocol):
    """Answers queries; the only holder of truth during a campaign."""

    def annotate(self, query: Query, kind: str, seed: Seed) -> Annotations:
        """Answers every unit of the query, in its order.

        Raises:
            AwaitingAnnotation: when a human has to answer first.
        """
        ...
