"""Images that come into a folder while its study goes on: they are added, nobody who is known moves or disappears."""

from __future__ import annotations

from collections.abc import Mapping

from medal.errors import StudyError
from medal.source import Source
from medal.split import Split
from medal.study import Study


def take_in(study: Study, source: Source, split: Split) -> int:
    """Compares a folder with its study and writes down what is new.

    Args:
        study: open for writing.
        source: the folder as it is now.
        split: of its patients.

    Returns:
        How many images are new.

    Raises:
        StudyError: when the folder asks about other labels or has images of another size, images are gone, or a patient
            has changed the part.
    """
    _same_questions(study.opened["data"], source)
    parts = dict(zip(source.ids, split.parts, strict=True))
    table = study.read_units()
    known = {row["id"]: row["split"] for row in table}
    for event in study.ledger.events("added"):
        known.update(zip(event.content["ids"], event.content["parts"], strict=True))
    gone = sorted(known.keys() - parts.keys())
    if gone:
        raise StudyError(
            f"{len(gone)} of {len(known)} images of the study are not in the folder any more (first: {gone[0]}); "
            "bring them back, or say where they are: --data FOLDER"
            + ("; none is left, so that the private key may be another one" if len(gone) == len(known) else "")
        )
    moved = sorted(i for i, part in known.items() if parts[i] != part)
    if moved:
        raise StudyError(
            f"{len(moved)} images of the study belong to other patients than before, in another part of the split "
            f"(first: {moved[0]}); bring the PatientIDs back as they were, or begin a new study"
        )
    new = [i for i in source.ids if i not in known]
    broken = _new_quarantine(study, source.quarantined)
    if new or broken:
        with study.ledger.step():
            if new:
                content = {"ids": new, "parts": [parts[i] for i in new], "rows": len(source.ids)}
                split_now = {"hash": split.digest(), "counts": split.counts()}
                study.ledger.append("added", {**content, "data": {"digest": source.digest}, "split": split_now})
            if broken:
                study.ledger.append("quarantined", {"items": broken})
    rows = unit_rows(source, split)
    if rows != table:
        study.write_units(rows)
    return len(new)


def unit_rows(source: Source, split: Split) -> list[dict[str, str]]:
    """The table of units: id, patient, part, and the source's harmless columns."""
    columns = zip(source.ids, source.groups, split.parts, strict=True)
    return [
        {"id": i, "group": g, "split": p, **{name: values[n] for name, values in source.meta.items()}}
        for n, (i, g, p) in enumerate(columns)
    ]


def _same_questions(data: Mapping[str, object], source: Source) -> None:
    labels, shape = list(source.labels), list(source.shape)
    if data["labels"] != labels:
        before, now = ", ".join(map(str, _listed(data["labels"]))), ", ".join(labels)
        raise StudyError(
            f"the study asks about {before}; the folder now asks about {now}; bring the table of labels back"
        )
    if data.get("shape", shape) != shape:
        raise StudyError(f"the study has images of {data['shape']}, the folder gives {shape}; set data.size as it was")


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _new_quarantine(study: Study, quarantined: Mapping[str, str]) -> dict[str, str]:
    known = {name for event in study.ledger.events("quarantined") for name in event.content["items"]}
    return {name: reason for name, reason in sorted(quarantined.items()) if name not in known}
