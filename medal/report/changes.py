"""What changed on the way: units that could not be labelled, images that came later, labels that were there before."""

from __future__ import annotations

from collections import Counter

from medal.consensus import CLINIC
from medal.report.history import IMPORTED, RunHistory
from medal.report.tables import Table, cells
from medal.report.words import NOTHING, counted

LISTED = 50
"""Retired units that are listed one by one; more are counted by reason."""


def retired_table(run: RunHistory) -> Table | None:
    """Units that were taken out, with the reasons; None when there are none."""
    out = [unit for study in run.studies for unit in study.retired]
    if not out:
        return None
    caption = (
        "Units that could not be labelled and were taken out for good; a later answer would have brought them back."
    )
    if len(out) <= LISTED:
        rows = [cells(r.unit, r.reason or NOTHING, r.annotator or NOTHING) for r in out]
        return Table(caption, ("Id", "Reason", "Reader"), tuple(rows), text=frozenset({1, 2}))
    counts = Counter(r.reason or NOTHING for r in out)
    rows = [cells(reason, str(count)) for reason, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]
    return Table(caption, ("Reason", "Units"), tuple(rows))


def change_sentences(run: RunHistory) -> tuple[str, ...]:
    """Imported labels and later images, in words; empty when there are none."""
    said = []
    for study in run.studies:
        who = f" ({study.name})" if len(run.studies) > 1 else ""
        unasked = [a for a in study.answers if a.purpose == IMPORTED]
        imported = len({a.unit for a in unasked if a.annotator == CLINIC})
        volunteered = len({a.unit for a in unasked if a.annotator != CLINIC})
        if imported:
            said.append(
                f"{counted(imported, 'unit')} came with labels that the clinic already had{who}; they train, cost "
                "nothing, and were not drawn at random."
            )
        if volunteered:
            readers = ", ".join(sorted({a.annotator for a in unasked if a.annotator != CLINIC} - {""}))
            said.append(
                f"{counted(volunteered, 'unit')} {'was' if volunteered == 1 else 'were'} labelled by readers without "
                f"being asked for{f' ({readers})' if readers else ''}{who}; their labels train, and they "
                "were not drawn at random."
            )
        again = len({a.unit for a in study.answers if a.purpose == "relabel"})
        if again:
            said.append(
                f"{counted(again, 'unit')} with doubtful labels {'was' if again == 1 else 'were'} read again{who}."
            )
        for number, images in study.added:
            came = f"{counted(images, 'image')} came in later, after round {number}{who}"
            said.append(f"{came}; new patients got their part of the split by the same hash, and nobody else moved.")
    return tuple(said)
