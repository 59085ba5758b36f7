"""Fills the cache of decoded radiographs: every file is read once, whatever happens in between.

Under the cache folder lie, for each digest: `<digest>.npy` (rows, size, size) float16, `<digest>.json` with one record
for each file (pseudonyms and harmless columns only, see `records.py`), and `<digest>.lock`. A preparation that was
killed goes on where its records end; a second process waits for the first; files that an earlier cache has are not read
again. Float16 is what the cache holds, so a first and a later opening give the same numbers.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from medal.errors import ConfigError, EmptySource, StorageFull
from medal.identity import Pseudonyms
from medal.lock import exclusive
from medal.source import Progress, silent
from medal.storage import write_bytes, writing
from modalities.chest_xray.frame import Frame
from modalities.chest_xray.reading import Job, Reading, read_all
from modalities.chest_xray.records import UNREADABLE, Place, Record, Records, load_records, new_records
from modalities.chest_xray.register import Register

FORMAT = 3
"""Raise it when the reader's numbers or the records change, so that older caches are not taken for new ones."""
SAVE_EVERY = 10.0
"""Seconds between two saves; at most this much work is lost when the process is killed."""
SPARE = 64 * 2**20
"""Bytes left free on the disk."""
TWICE = "another file has the same SOPInstanceUID; keep one of them"


@dataclass(frozen=True)
class Item:
    """One file of a data set.

    Args:
        path: where it lies.
        name: what identifies a raster image, such as its path under the root; distinct within a data set.
    """

    path: Path
    name: str


@dataclass(frozen=True)
class Header:
    """What is kept of one file besides its pixels: pseudonyms and harmless columns.

    Args:
        id: pseudonym of the image.
        patient: pseudonym of the patient's number, "" where the file does not say.
        exam: pseudonym of the examination, "" likewise.
        born: pseudonym of the birth date, "" likewise; tells two people under one number apart.
        called: pseudonym of the name, "" likewise.
        sex: "F", "M", "O" or "".
        age: years, or "".
        view: "PA", "AP", "LATERAL" or "".
        burned_in: whether writing may be burned into the pixels.
        frame: which part of the original the pixels show, None where it cannot be read.
        reason: why the file cannot be read; "" when it can.
    """

    id: str
    patient: str = ""
    exam: str = ""
    born: str = ""
    called: str = ""
    sex: str = ""
    age: str = ""
    view: str = ""
    burned_in: bool = False
    frame: Frame | None = None
    reason: str = ""


@dataclass(frozen=True)
class Store:
    """A filled cache.

    Args:
        digest: hash of the content of all files and of the reading settings.
        arrays: files of decoded images.
        places: (n) array and row of each image.
        size: side of an image.
        items: (n) files in the order of their keyed hashes.
        headers: (n) what is known about each.
        register: the private table, for pseudonyms that are still to come.
        private: whether the identities must be hidden.
    """

    digest: str
    arrays: tuple[Path, ...]
    places: tuple[Place, ...]
    size: int
    items: tuple[Item, ...]
    headers: tuple[Header, ...]
    register: Register
    private: bool


def open_images(
    items: Sequence[Item],
    cache: Path,
    size: int,
    *,
    name: str,
    key: bytes,
    private: bool = True,
    table: bool = True,
    body_parts: tuple[str, ...] | None = None,
    progress: Progress = silent,
    workers: int | None = None,
) -> Store:
    """Reads what is not yet in the cache.

    Args:
        items: the files, in any order; the result does not depend on it.
        cache: folder of caches; made when missing.
        size: side of the decoded images in pixels.
        name: short name of the data set, part of the private table's name.
        key: secret of the pseudonyms.
        private: whether identities must be hidden.
        table: keep the private table from pseudonym to file, beside the key.
        body_parts: accepted body parts, as for `reader.read_xray`.
        progress: called while files are read.
        workers: processes, as for `reading.read_all`.

    Returns:
        The filled cache.

    Raises:
        ConfigError: if the size is not sensible.
        EmptySource: if there is no file.
        StorageFull: if the disk cannot hold the decoded images.
    """
    if isinstance(size, bool) or not isinstance(size, int) or not 8 <= size <= 4096:
        raise ConfigError(f"size {size!r}: expected a number of pixels from 8 to 4096, such as 224")
    if not items:
        raise EmptySource("there is no image to read; check the root of the data set")
    cache = Path(cache)
    with writing(cache):
        cache.mkdir(parents=True, exist_ok=True)
    tags = Pseudonyms(key)
    ordered = sorted(items, key=lambda item: tags.of("F", item.name))
    settings = json.dumps([FORMAT, size, sorted(body_parts) if body_parts is not None else None])
    total = hashlib.blake2b(settings.encode(), digest_size=16)
    with writing(cache):
        contents = _contents(ordered, cache, key, progress)
    for item, content in zip(ordered, contents, strict=True):
        total.update(f"\n{tags.of('F', item.name)} {content}".encode())
    digest = total.hexdigest()
    with exclusive(cache / f"{digest}.lock", lambda: progress("waiting for another process", 0, len(items))):
        register = Register(key, _table(name, digest) if table else None)
        records = _begin(cache / digest, tags.of("K", f"{settings} {name}"), contents, size, name, register, key)
        _fill(ordered, records, size, body_parts, register, progress, workers)
        headers = _headers(ordered, records.records, register)
        register.save()
    return Store(
        digest, tuple(records.paths()), tuple(records.places), size, tuple(ordered), headers, register, private
    )


def _table(name: str, digest: str) -> str:
    return f"{name}-{digest[:16]}"


def _contents(items: Sequence[Item], cache: Path, key: bytes, progress: Progress) -> list[str]:
    """A hash of each file; files whose size and times have not changed are not read again."""
    tags = Pseudonyms(key)
    known: dict[str, list[int | str]] = {}
    store = cache / "contents.json"
    try:
        known = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}

    unreadable: list[int | str] = [0, 0, 0, UNREADABLE]

    def content(item: Item) -> tuple[str, list[int | str]]:
        tag = tags.of("F", str(item.path.absolute()))
        try:
            state = item.path.stat()
            times: list[int | str] = [state.st_size, state.st_mtime_ns, state.st_ctime_ns]
            old = known.get(tag)
            if isinstance(old, list) and old[:3] == times:
                return tag, old
            if not stat.S_ISREG(state.st_mode):  # opening a pipe would wait for ever
                return tag, unreadable
            with item.path.open("rb") as handle:
                return tag, [*times, hashlib.file_digest(handle, "blake2b").hexdigest()[:32]]
        except OSError:
            return tag, unreadable

    out, changed = [], False
    with ThreadPoolExecutor(4) as threads:
        for done, (tag, entry) in enumerate(threads.map(content, items), 1):
            out.append(str(entry[3]))
            if known.get(tag) != entry and entry[3] != UNREADABLE:
                known[tag], changed = entry, True
            if done % 64 == 0 or done == len(items):
                progress("checking files", done, len(items))
    if changed:
        write_bytes(store, json.dumps(known).encode())
    return out


def _begin(
    stem: Path, kind: str, contents: Sequence[str], size: int, name: str, register: Register, key: bytes
) -> Records:
    """The state of the cache: what an earlier run of its own has done, else what other caches lend."""
    found = load_records(stem, kind, contents, size)
    if found is not None and (register.table is None or _traceable(found, register)):
        return found
    lenders: dict[str, Register] = {}

    def lendable(record: Record, digest: str) -> bool:
        if register.table is None:
            return True
        if digest not in lenders:
            lenders[digest] = Register(key, _table(name, digest))
        return register.adopt(record.pseudonyms(), lenders[digest])

    with writing(stem.parent):
        stem.with_suffix(".npy").unlink(missing_ok=True)
        records = new_records(stem, kind, contents, size, lendable)
        if records.own():
            _room(stem, records.own(), size)
        register.save()
        records.save()
    return records


def _traceable(records: Records, register: Register) -> bool:
    """Whether the private table still leads back from every pseudonym; one that was lost is made again."""
    known = (record.pseudonyms() for record in records.records if record is not None)
    return all(register.knows(name) for names in known for name in names)


def _fill(
    items: Sequence[Item],
    records: Records,
    size: int,
    body_parts: tuple[str, ...] | None,
    register: Register,
    progress: Progress,
    workers: int | None,
) -> None:
    todo = records.todo()
    if not todo:
        return
    done = len(items) - len(todo)
    progress("reading images", done, len(items))
    pixels = np.lib.format.open_memmap(records.paths()[0], mode="r+")
    saved = time.monotonic()
    jobs = [Job(items[i].path, size, body_parts) for i in todo]
    try:
        for position, reading in read_all(jobs, workers):
            i, done = todo[position], done + 1
            if reading.pixels is not None:
                pixels[records.places[i][1]] = reading.pixels
            records.records[i] = _record(items[i], reading, register)
            progress("reading images", done, len(items))
            if time.monotonic() - saved > SAVE_EVERY:
                _save(pixels, records, register)
                saved = time.monotonic()
    finally:
        _save(pixels, records, register)


def _record(item: Item, reading: Reading, register: Register) -> Record:
    if reading.reason:
        if reading.detail:
            register.of("I", item.name, f"{item.path} | {reading.detail}")
        return Record(reason=reading.reason, doubtful=bool(reading.detail))
    return Record(
        id=register.of("I", reading.uid, str(item.path)) if reading.uid else "",
        patient=register.of("P", reading.patient) if reading.patient else "",
        exam=register.of("E", reading.exam) if reading.exam else "",
        born=register.of("B", reading.born) if reading.born else "",
        called=register.of("N", reading.called) if reading.called else "",
        sex=reading.sex,
        age=reading.age,
        view=reading.view,
        burned_in=reading.burned_in,
        frame=reading.frame,
    )


def _headers(items: Sequence[Item], records: Sequence[Record | None], register: Register) -> tuple[Header, ...]:
    """Of several files with one unique identifier the first stands; the others are quarantined."""
    seen: set[str] = set()
    out = []
    for item, record in zip(items, records, strict=True):
        if record is None:  # only where reading was stopped by an error, which is on its way up
            continue
        name, reason = record.id, record.reason
        if name in seen:
            name, reason = "", TWICE
        if not name:
            name = register.of("I", item.name, "" if record.doubtful else str(item.path))
        else:
            register.note(name, str(item.path))
        seen.add(name)
        if reason:
            out.append(Header(name, reason=reason))
        else:
            columns = (record.patient, record.exam, record.born, record.called, record.sex, record.age, record.view)
            out.append(Header(name, *columns, record.burned_in, record.frame))
    return tuple(out)


def _room(stem: Path, count: int, size: int) -> None:
    """Takes the whole array from the disk beforehand: a full disk would kill a writer of mapped memory.

    Raises:
        StorageFull: with what is needed and what is free.
    """
    need, free = count * size * size * 2, shutil.disk_usage(stem.parent).free
    if need + SPARE > free:
        raise StorageFull(
            f"{count:,} images need {need / 2**20:,.0f} MiB and {SPARE / 2**20:,.0f} MiB to spare, "
            f"the disk of the cache has {free / 2**20:,.0f} MiB free; "
            "free space, choose another cache folder, or a smaller size"
        )
    path, draft = stem.with_suffix(".npy"), stem.with_suffix(".part")
    try:
        with writing(stem.parent), draft.open("wb") as handle:
            header = {"descr": "<f2", "fortran_order": False, "shape": (count, size, size)}
            np.lib.format.write_array_header_1_0(handle, header)
            handle.flush()
            _reserve(handle, need)
    except StorageFull:
        draft.unlink(missing_ok=True)
        raise
    draft.replace(path)


def _reserve(handle: BinaryIO, need: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle.fileno(), handle.tell(), need)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
    block = bytes(2**20)
    for start in range(0, need, len(block)):
        handle.write(block[: need - start])


def _save(pixels: np.memmap, records: Records, register: Register) -> None:
    """Pixels first, then the links, then the records that declare both done."""
    with writing(records.stem.parent):
        pixels.flush()
        register.save()
        records.save()
