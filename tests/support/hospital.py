"""A package of somebody else's, as if registered under the entry-point group `medal.packages`."""

from __future__ import annotations

import os as os
import subprocess as subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pathlib import Path as PublicPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from hospital_folder import Hospital as Hospital
from hospital_folder import make_hospital as make_hospital

if TYPE_CHECKING:
    from nowhere import Elsewhere  # type: ignore[import-not-found]

PublicPath = PublicPath
CONSTANT = 3


@runtime_checkable
class Coat(Protocol):
    colour: ClassVar[str]

    def wear(self) -> str: ...


@dataclass(frozen=True)
class WhiteCoat:
    colour: ClassVar[str] = "white"
    size: int = 40

    def wear(self) -> str:
        return f"white {self.size}"


@dataclass(frozen=True)
class Ward:
    """Every kind of argument once."""

    beds: int = 10
    rate: float = 0.5
    root: Path = Path()
    open: bool = False
    shape: tuple[int, int] = (1, 1)
    mode: Literal["day", "night"] = "day"
    names: Sequence[str] = ()
    coat: Coat | None = None
    coats: list[Coat] = field(default_factory=list)
    strange: Elsewhere | None = None


@dataclass(frozen=True)
class Slots:
    first: WhiteCoat | None = None
    second: WhiteCoat | None = None


class Clinic:
    """Needs something from the context, has a record of slots and takes anything else."""

    def __init__(self, source: Any, ward: Ward, slots: Slots | None = None, **options: Any) -> None:
        self.source = source
        self.ward = ward
        self.slots = slots
        self.options = options


class Refusing:
    def __init__(self, age: int = 0) -> None:
        if age < 0:
            raise ValueError(f"found {age}, expected at least 0\nsecond line")
        self.age = age


class Abstract(ABC):
    @abstractmethod
    def go(self) -> None: ...


class Dataset:
    def __init__(self, root: Path, size: int = 32) -> None:
        self.root = root
        self.size = size


class Expert:
    def __init__(self, truth: Any, miss: float = 0.0) -> None:
        self.miss = miss


@dataclass(frozen=True)
class Slotted:
    """Slots of a learner, as loose as they can be."""

    head: Any = None
    members: Any = None


class Model:
    def __init__(self, source: Any, parts: Slotted | None = None, steps: int = 10, epochs: float | None = None) -> None:
        self.parts = parts


class PlainModel:
    def __init__(self, source: Any, steps: int = 10) -> None:
        self.steps = steps


def coat(size: int = 1) -> WhiteCoat:
    return WhiteCoat(size=size)


def _private() -> None: ...
