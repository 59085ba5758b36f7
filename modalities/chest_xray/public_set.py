"""What the public data sets share: a table that names files under a root, open to everybody, labels for every row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from medal.errors import ConfigError, EmptySource, UnknownName
from medal.identity import PUBLIC_KEY
from medal.source import Opened, Progress
from modalities.chest_xray.assemble import Entry, assemble
from modalities.chest_xray.store import Item, open_images


def folder_of(root: str | Path, download: str) -> Path:
    """The folder of a download.

    Args:
        root: as given.
        download: name of the data set, for the message.

    Raises:
        ConfigError: if it does not exist.
    """
    if not Path(root).is_dir():
        raise ConfigError(f"the folder {str(root)!r} does not exist; set data.root to the {download} download")
    return Path(root)


def known_findings(wanted: Sequence[str], known: Iterable[str]) -> tuple[str, ...]:
    """The labels that are asked about.

    Raises:
        UnknownName: naming the nearest right name.
    """
    known = tuple(known)
    for name in wanted:
        if name not in known:
            raise UnknownName.near("finding", name, known)
    return tuple(wanted)


def open_public(
    name: str,
    items: Sequence[Item],
    entries: Mapping[str, Entry],
    findings: Sequence[str],
    *,
    cache: Path,
    size: int,
    own_split: bool,
    wanted: str = "",
    progress: Progress,
    workers: int | None,
) -> Opened:
    """Reads the files that are there; rows without a file are counted and left out.

    Args:
        name: of the data set.
        items: files of the rows that have one.
        entries: every row of the table, by item name.
        findings: (L) names of the labels.
        cache: folder of caches.
        size: side of the decoded images in pixels.
        own_split: whether the rows bring a split.
        wanted: what was kept of the rows, for the message.
        progress: told during long work.
        workers: reading processes.

    Raises:
        EmptySource: if no row has a file.
    """
    if not items:
        raise EmptySource(f"none of {len(entries)} rows has a file{wanted}; set data.root to the folder of the table")
    lost = len(entries.keys() - {item.name for item in items})
    notes = (f"{lost} of {len(entries)} rows match no file and are left out",) if lost else ()
    store = open_images(
        items, cache, size, name=name, key=PUBLIC_KEY, private=False, progress=progress, workers=workers
    )
    return assemble(
        name, store, entries, findings, own_split=own_split, labelled=True, extra=("followup",), notes=notes
    )
