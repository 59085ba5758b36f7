"""Splits by patient, fixed and hashed before round 0.

Each patient's part depends on that patient alone (a seeded hash), so that adding images later or losing a broken file
moves nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medal.errors import ConfigError, SplitOverlap

PARTS = ("pool", "validation", "test")


@dataclass(frozen=True)
class Split:
    """The part of each row.

    Args:
        rows: (R) row ids, sorted.
        groups: (R) patient of each row.
        parts: (R) "pool", "validation" or "test".

    Raises:
        SplitOverlap: if one patient stands in two parts.
        ConfigError: on an unknown part, or when the three columns differ in length.
    """

    rows: tuple[str, ...]
    groups: tuple[str, ...]
    parts: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.rows) == len(self.groups) == len(self.parts):
            raise ConfigError(
                f"split: {len(self.rows)} rows, {len(self.groups)} patients, {len(self.parts)} parts; give as many"
            )
        unknown = sorted(set(self.parts) - set(PARTS))
        if unknown:
            raise ConfigError(f"unknown split {unknown[0]!r}; expected one of {', '.join(PARTS)}")
        seen: dict[str, str] = {}
        torn = sorted({g for g, p in zip(self.groups, self.parts, strict=True) if seen.setdefault(g, p) != p})
        if torn:
            raise SplitOverlap(
                f"{len(torn)} patient(s) stand in two splits (first: {torn[0]}); give all images of a patient one split"
            )

    def positions(self, part: str) -> Tensor:
        """Rows of one part, (n,) int64 ascending."""
        return torch.tensor([i for i, p in enumerate(self.parts) if p == part], dtype=torch.long)

    def counts(self) -> dict[str, int]:
        """Rows in each part."""
        return {part: self.parts.count(part) for part in PARTS}

    def digest(self) -> str:
        """sha256 over (row, patient, part); stored before round 0."""
        digest = hashlib.sha256()
        for line in zip(self.rows, self.groups, self.parts, strict=True):
            digest.update("\x1f".join(line).encode() + b"\n")
        return digest.hexdigest()


def split_by_group(
    rows: Sequence[str], groups: Sequence[str], seed: int, test: float = 0.2, validation: float = 0.2
) -> Split:
    """Splits by a seeded hash of the patient.

    Args:
        rows: (R) row ids.
        groups: (R) patients.
        seed: another seed is another split.
        test: share of patients, in [0, 1).
        validation: share of patients, in [0, 1).

    Raises:
        ConfigError: if the shares leave nothing for the pool.

    Example:
        >>> split_by_group(["a", "b"], ["p", "p"], seed=0).parts[0] == split_by_group(["a"], ["p"], seed=0).parts[0]
        True
    """
    if min(test, validation) < 0 or test + validation >= 1:
        raise ConfigError(
            f"split.test {test} + split.validation {validation}: both must be >= 0 and leave a pool (sum < 1)"
        )

    def part(group: str) -> str:
        value = int.from_bytes(hashlib.sha256(f"{seed}\x1f{group}".encode()).digest()[:8], "big") / 2**64
        return "test" if value < test else "validation" if value < test + validation else "pool"

    return Split(tuple(rows), tuple(groups), tuple(part(g) for g in groups))
