"""Errors: one line each, saying what was found, what was expected, and the mend.

* MedalError
    * ConfigError               a recipe or an override cannot be used
        * UnknownName           a key, work, data set or import path that does not exist; the nearest is named
    * BadInput                  one file of a pool cannot be read; it is quarantined and the run goes on
    * BadTable                  a table of labels cannot be used as it is
    * EmptySource               a data source holds nothing that can be labelled
    * SplitOverlap              one patient would stand in two splits
    * UnitError                 an id is unknown, doubled, or not allowed here
        * LabelNotPaid          a label was asked for that nobody has paid for
    * OutputError
        * MissingOutput         a score needs an output that the learner does not give
        * OutputTooLarge        a dense output was asked for whole
    * StrategyFault             a strategy broke its contract (doubles, labelled units, wrong budget, non-finite scores)
    * BudgetError               a budget cannot be met or makes no sense
    * StudyError                a study folder cannot be opened or written
        * StudyVersion          it was written by another version of medal
        * StudyLocked           another process works on it
        * LedgerBroken          its journal does not verify
        * StorageFull           the disk refused a write; nothing that was stored is lost
    * AwaitingAnnotation        a human has to answer first; the study is saved
    * MissingDependency         an optional package is not installed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class MedalError(Exception):
    """Anything that medal says in one line instead of a traceback."""


class ConfigError(MedalError):
    """A recipe or an override cannot be used."""


class UnknownName(ConfigError):
    """A name that does not exist."""

    @classmethod
    def near(cls, what: str, name: str, known: Iterable[str]) -> UnknownName:
        """Builds the error with the nearest right name, or the list of all when none is near.

        Args:
            what: kind of thing, such as "key" or "work".
            name: what was given.
            known: every right name.

        Example:
            >>> str(UnknownName.near("key", "epoch", ["epochs", "steps"]))
            "unknown key 'epoch'; did you mean 'epochs'?"
        """
        names = sorted(set(known))
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        if close:
            return cls(f"unknown {what} {name!r}; did you mean {close[0]!r}?")
        return cls(f"unknown {what} {name!r}; known: {', '.join(names) if names else 'none'}")


class BadInput(MedalError):
    """One file cannot be read.

    The text never holds the path or a value from the file, so that it may stand in a report; both are attributes
    for the private table.

    Args:
        reason: what is wrong and what was expected, free of identity.
        path: the file, kept apart from the text.
        detail: the reader's own words, kept apart from the text.
    """

    def __init__(self, reason: str, *, path: Path | str | None = None, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.detail = detail


class BadTable(MedalError):
    """A table of labels cannot be used as it is."""


class EmptySource(MedalError):
    """A data source holds nothing that can be labelled."""


class SplitOverlap(MedalError):
    """One patient would stand in two splits."""


class UnitError(MedalError):
    """A unit id is unknown, doubled or not allowed here."""


class LabelNotPaid(UnitError):
    """A label was asked for that nobody has paid for."""


class OutputError(MedalError):
    """A learner's output cannot be given."""


class MissingOutput(OutputError):
    """A score needs an output that the learner does not give."""


class OutputTooLarge(OutputError):
    """A dense output was asked for whole."""


class StrategyFault(MedalError):
    """A strategy broke its contract; the text names it."""


class BudgetError(MedalError):
    """A budget cannot be met or makes no sense."""


class StudyError(MedalError):
    """A study folder cannot be opened or written."""


class StudyVersion(StudyError):
    """The study was written by another version of medal."""


class StudyLocked(StudyError):
    """Another process works on the study."""


class LedgerBroken(StudyError):
    """The study's journal does not verify."""


class StorageFull(StudyError):
    """The disk refused a write; what was stored before is whole."""


class AwaitingAnnotation(MedalError):
    """A human has to answer first; the study is saved."""


class MissingDependency(MedalError):
    """An optional package is not installed."""
