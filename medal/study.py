"""A study: one folder = one campaign = one seed.

`ledger.db` is the journal and the only truth; `units.csv` lists who belongs to which patient and split; `weights/`
holds the network and `predictions/` the predictions of each round; `outputs/` is a cache and `previews/` the last batch
for the eyes of an annotator, both can be lost. One process writes at a time (`lock`); reading never waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medal.errors import LedgerBroken, StudyError, StudyVersion
from medal.ledger import Ledger
from medal.ledger_file import MEND
from medal.lock import FolderLock
from medal.standing import standing
from medal.storage import draft_path, remove_drafts, sync_folder, write_bytes, writing
from medal.unit_table import read_unit_table, write_unit_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

FORMAT = 1
"""Version of the folder and of the events' contents, kept in the `opened` event."""

LEDGER, LOCK, UNITS = "ledger.db", "lock", "units.csv"
_FOLDERS = ("weights", "outputs", "previews", "predictions")


class Study:
    """An open study folder; `create` or `open` it, and close it (or use it as a context manager).

    Attributes:
        folder: where it lies.
        ledger: its journal.
        opened: content of the `opened` event: task, strategy, seed, resolved recipe, split, versions.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> with Study.create(Path(folder.name, "random-seed0"), {"arm": "random", "seed": 0}) as study:
        ...     event = study.ledger.append("closed", {"reason": "an example"})
        >>> with Study.open(study.folder, write=False) as study:
        ...     study.opened["arm"], study.state()["finished"]
        ('random', True)
        >>> folder.cleanup()
    """

    def __init__(self, folder: Path, ledger: Ledger, lock: FolderLock | None) -> None:
        self.folder = folder
        self.ledger = ledger
        self._lock = lock
        self.opened: dict[str, Any] = _opened(folder, ledger)

    @classmethod
    def exists(cls, folder: Path | str) -> bool:
        """Whether a folder holds a study; one whose making was interrupted does not count, and `create` finishes it."""
        return (Path(folder) / LEDGER).is_file()

    @classmethod
    def create(
        cls, folder: Path | str, opened: Mapping[str, Any], units: Sequence[Mapping[str, str]] | None = None
    ) -> Study:
        """Makes a study and opens it for writing. Killed halfway, it leaves no study, and can be called again.

        Args:
            folder: new, empty, or left by an interrupted `create`.
            opened: content of the first event; `format` is added.
            units: rows of `units.csv`, see `write_units`; None to write them later.

        Raises:
            StudyError: if the folder holds a study or foreign files.
            StudyLocked: if another process is at it.
        """
        folder = Path(folder)
        _refuse_foreign(folder)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(folder / LOCK)
        try:
            if cls.exists(folder):
                raise StudyError(f"{folder} already holds a study; resume it, or give another folder")
            _make(folder, {**opened, "format": FORMAT}, units)
            return cls._open(folder, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open(cls, folder: Path | str, write: bool = True) -> Study:
        """Opens a study.

        Args:
            folder: the study folder.
            write: take the lock, check the journal and clear away what a killed process left; False to read only.

        Raises:
            StudyError: if there is no study.
            StudyVersion: if it was written in another format.
            StudyLocked: if another process writes to it.
            LedgerBroken: if its journal does not verify.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise StudyError(
                f"no study at {folder}; expected a folder with {LEDGER}: check the path, or make one with `medal run`"
            )
        if not cls.exists(folder):
            raise StudyError(
                f"{folder} is not a study: found no {LEDGER}; give the study folder, or make one with `medal run`"
            )
        if not write:
            return cls._open(folder, None)
        lock = FolderLock(folder / LOCK)
        try:
            with writing(folder):
                remove_drafts(folder)
                for name in _FOLDERS:
                    (folder / name).mkdir(exist_ok=True)
            study = cls._open(folder, lock)
            try:
                study.ledger.verify()
            except BaseException:
                study.ledger.close()
                raise
        except BaseException:
            lock.release()
            raise
        return study

    @classmethod
    def _open(cls, folder: Path, lock: FolderLock | None) -> Study:
        ledger = Ledger(folder / LEDGER, read_only=lock is None)
        try:
            return cls(folder, ledger, lock)
        except BaseException:
            ledger.close()
            raise

    def close(self) -> None:
        """Closes the journal and lets the lock go; a second call does nothing."""
        self.ledger.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def weights_path(self, round: int) -> Path:  # noqa: A002 - the field's word
        """The weights of a round."""
        return self.folder / "weights" / f"round_{round:03d}.safetensors"

    @property
    def outputs_path(self) -> Path:
        """Folder of cached outputs; may be emptied at any time."""
        return self.folder / "outputs"

    @property
    def previews_path(self) -> Path:
        """Folder of the last batch's previews."""
        return self.folder / "previews"

    @property
    def units_path(self) -> Path:
        """The table of units."""
        return self.folder / UNITS

    def save_weights(self, round: int, state: Mapping[str, Tensor]) -> str:  # noqa: A002
        """Writes the weights of a round; append the `trained` event with the returned hash afterwards.

        Returns:
            Hash of the tensors' content, the same for equal weights on any machine.

        Raises:
            StorageFull: when the disk is full; earlier weights of the round stay.
        """
        from medal.weights import save_weights

        self._check_writable()
        return save_weights(self.weights_path(round), state)

    def load_weights(self, round: int) -> dict[str, Tensor]:  # noqa: A002
        """The weights of a round, checked against its `trained` event.

        Raises:
            StudyError: if the round was not trained, or its file is missing, damaged or another one.
        """
        from medal.weights import load_weights

        hashes = [e.content["weights"] for e in self.ledger.events("trained") if e.content["round"] == round]
        if not hashes:
            raise StudyError(f"round {round} of {self.folder} was not trained yet; run `medal resume`")
        try:
            return load_weights(self.weights_path(round), hashes[-1])
        except StudyError as error:
            raise StudyError(f"{error}; run `medal resume`, which trains the round again") from error

    def predictions_path(self, round: int, part: str) -> Path:  # noqa: A002
        """The predictions of a round for one part of the data."""
        return self.folder / "predictions" / f"{part}_{round:03d}.npz"

    def save_predictions(self, round: int, part: str, ids: Sequence[str], probabilities: NDArray[np.float32]) -> str:  # noqa: A002
        """Writes the predictions of a round; append the `evaluated` event with the returned hash afterwards.

        Args:
            round: that they belong to.
            part: "test" or "validation".
            ids: (n) rows.
            probabilities: (n, L) float32.
        """
        from medal.predictions import save_predictions

        self._check_writable()
        return save_predictions(self.predictions_path(round, part), ids, probabilities)

    def load_predictions(self, round: int, part: str) -> tuple[tuple[str, ...], NDArray[np.float32]]:  # noqa: A002
        """Ids (n) and probabilities (n, L) of a round, checked against its `evaluated` event.

        Raises:
            StudyError: if there are none for that part, or the file is missing, damaged or another one.
        """
        from medal.predictions import load_predictions

        hashes = [
            e.content.get("predictions", {}).get(part)
            for e in self.ledger.events("evaluated")
            if e.content["round"] == round
        ]
        if not hashes or hashes[-1] is None:
            raise StudyError(f"round {round} of {self.folder} has no predictions for the part {part!r}")
        return load_predictions(self.predictions_path(round, part), hashes[-1])

    def save_previews(self, previews: Mapping[str, bytes]) -> None:
        """Replaces the previews of the last batch.

        Args:
            previews: unit id -> PNG.

        Raises:
            StudyError: if an id cannot be a file name.
        """
        self._check_writable()
        names = {f"{unit}.png": png for unit, png in previews.items()}
        for unit in previews:
            if not _is_file_name(unit):
                raise StudyError(
                    f"unit id {unit!r} cannot be a file name; expected no slash, control character or leading dot"
                )
        for name, png in names.items():
            write_bytes(self.previews_path / name, png)
        for old in self.previews_path.glob("*.png"):
            if old.name not in names:
                old.unlink(missing_ok=True)

    def write_units(self, rows: Sequence[Mapping[str, str]]) -> None:
        """Writes the table of units.

        Args:
            rows: one mapping for each row of the data, the same columns in each: id, group, split and harmless others.

        Raises:
            StudyError: if a column is missing or an id is doubled.
        """
        self._check_writable()
        write_unit_table(self.units_path, rows)

    def read_units(self) -> list[dict[str, str]]:
        """The table of units, in the order written.

        Raises:
            StudyError: if it is missing or damaged.
        """
        return read_unit_table(self.units_path)

    def state(self) -> dict[str, Any]:
        """Where the campaign stands, from its events alone; see `medal.standing.Standing`.

        Returns:
            round, next ("ask", "answer", "train", "evaluate", "nothing"), spent {items, minutes}, labelled, validation,
            waiting (counts), trained, evaluated (rounds), macro, quarantined (count), finished, reason.
        """
        return standing(self.ledger.events()).as_dict()

    def _check_writable(self) -> None:
        if self._lock is None:
            raise StudyError(f"{self.folder} is open for reading; open it for writing to change it")


def _opened(folder: Path, ledger: Ledger) -> dict[str, Any]:
    first = next(ledger.events(), None)
    if first is None or first.kind != "opened" or not isinstance(first.content.get("format"), int):
        found = "nothing" if first is None else f"event {first.kind!r}"
        raise LedgerBroken(f"the journal of {folder} begins with {found}, expected 'opened' with its format; {MEND}")
    written = first.content["format"]
    if written != FORMAT:
        version = first.content.get("medal", "that wrote it")
        mend = "upgrade medal" if written > FORMAT else f"open it with medal {version}"
        raise StudyVersion(f"{folder} was written in format {written}, this medal reads {FORMAT}; {mend}")
    return first.content


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise StudyError(f"{folder} is a file; expected a folder for the study: give another name")
    if not folder.exists() or Study.exists(folder):
        return
    own = {LOCK, UNITS, *_FOLDERS}
    foreign = sorted(p.name for p in folder.iterdir() if p.name not in own and not p.name.startswith("."))
    if foreign:
        raise StudyError(
            f"{folder} holds other files (first: {foreign[0]}); expected a new or empty folder for a study"
        )


def _make(folder: Path, opened: Mapping[str, Any], units: Sequence[Mapping[str, str]] | None) -> None:
    """Writes all of a new study, the journal last and in one step, so that a ledger always has its first event."""
    with writing(folder):
        remove_drafts(folder)
        for name in _FOLDERS:
            (folder / name).mkdir(exist_ok=True)
        if units is not None:
            write_unit_table(folder / UNITS, units)
        try:
            draft = draft_path(folder)
            with Ledger(draft) as ledger:
                ledger.append("opened", opened)
            draft.replace(folder / LEDGER)
        except BaseException:
            remove_drafts(folder)
            raise
        sync_folder(folder)


def _is_file_name(unit: str) -> bool:
    clean = unit.isprintable() and "/" not in unit and "\\" not in unit and not unit.startswith(".")
    return clean and 0 < len(unit.encode()) <= 200
