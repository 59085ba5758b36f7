"""One text for one value: canonical JSON, so that equal contents have equal hashes on every machine.

Keys are sorted, nothing is padded, floats are written by their shortest exact form (`repr`), everything outside ASCII
is escaped, and what JSON cannot say (NaN, infinities) becomes null.
"""

from __future__ import annotations

import json
import math
from typing import Any

from medal.errors import StudyError


def plain(value: Any, place: str = "value") -> Any:
    """The same value made of dict, list, str, int, float, bool and None alone.

    Args:
        value: nested mappings and sequences; tuples become lists, numpy and torch scalars become Python numbers,
            NaN and infinities become None.
        place: how an error names the value.

    Raises:
        StudyError: on anything else, naming the place, the type found and the mend.

    Example:
        >>> plain({"auroc": float("nan"), "ids": ("a", "b")})
        {'auroc': None, 'ids': ['a', 'b']}
    """
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise StudyError(
                    f"{place} has the key {key!r} of type {type(key).__name__}; expected text keys: use str()"
                )
        return {key: plain(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{place}[{i}]") for i, item in enumerate(value)]
    return _number(value, place)


def _number(value: Any, place: str) -> Any:
    """A numpy or torch scalar as a Python number; neither package is imported for it."""
    shape = getattr(value, "shape", None)
    if shape is not None and len(shape) == 0 and hasattr(value, "item"):
        item = value.item()
        if isinstance(item, bool | int | float | str):
            return plain(item, place)
    if shape is not None and len(shape) > 0:
        found = f"{place} is a {type(value).__name__} of shape {tuple(shape)}"
        raise StudyError(f"{found}; expected plain lists and numbers: use .tolist()")
    raise StudyError(
        f"{place} is a {type(value).__name__}, which JSON cannot hold; expected text, numbers, lists, dicts"
    )


def canonical(value: Any) -> str:
    """Canonical JSON of a value.

    Args:
        value: what `plain` takes.

    Returns:
        ASCII text without line breaks; equal for equal values.

    Raises:
        StudyError: if the value holds something that JSON cannot, or holds itself.

    Example:
        >>> canonical({"b": 1, "a": [0.1, float("inf")]})
        '{"a":[0.1,null],"b":1}'
    """
    try:
        return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except RecursionError:
        raise StudyError("a value for the ledger is nested too deep or holds itself; give plain data") from None
