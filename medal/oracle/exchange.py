"""People as oracle: they answer by files, days later, so that a campaign which plays itself cannot wait for them."""

from __future__ import annotations

from medal.errors import AwaitingAnnotation
from medal.pool import Annotations
from medal.seeding import Seed
from medal.strategy import Query


class FileExchange:
    """Marks a recipe that is labelled by people through work lists; `medal.human` does the exchange."""

    def annotate(self, query: Query, kind: str, seed: Seed) -> Annotations:
        """Says what to do instead.

        Raises:
            AwaitingAnnotation: always.
        """
        raise AwaitingAnnotation(
            f"{len(query.ids)} units wait for people, found a run that plays itself, expected a study: begin one with "
            "`medal init FOLDER --out study`, then `medal ask`, `medal tell`, `medal train`"
        )
