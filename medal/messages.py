"""One-line messages for recipe values that do not fit: dotted path, value found, value expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from medal.errors import ConfigError, UnknownName

UNKNOWN_KEY = "unknown_key"
"""Type of the pydantic error that models of the recipe raise for a key that they do not have."""

_EXPECTED = {
    "int": "an integer",
    "float": "a number",
    "finite_number": "a finite number",
    "bool": "true or false",
    "string_type": "text",
    "path": "a path",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen": "a list",
    "sequence": "a list",
    "iterable": "a list",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "a mapping",
    "dataclass": "a mapping",
    "none": "null",
    "greater_than_equal": "at least {ge:g}",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "at most {le:g}",
    "less_than": "less than {lt:g}",
    "literal_error": "{expected}",
    "too_short": "at least {min_length} entries",
    "string_pattern_mismatch": "text that matches {pattern}",
}
"""Beginning of pydantic's error type -> what was expected; longer beginnings come first where two fit."""


def join(where: str, *keys: object) -> str:
    """A dotted path.

    Example:
        >>> join("strategy", 0, "score"), join("", "seed")
        ('strategy.0.score', 'seed')
    """
    return ".".join(str(k) for k in (where, *keys) if k != "")


def shown(value: object, limit: int = 60) -> str:
    """A value as it stands in a message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def mismatch(where: str, found: object, expected: str) -> ConfigError:
    """The error for a value that does not fit.

    Example:
        >>> str(mismatch("budget.rounds", "many", "an integer"))
        "budget.rounds: found 'many', expected an integer"
    """
    return ConfigError(f"{where}: found {shown(found)}, expected {expected}")


def unknown_key(where: str, key: str, known: Iterable[str]) -> UnknownName:
    """The error for a key that does not exist: its whole path, and the nearest right key.

    Example:
        >>> str(unknown_key("learner", "epoch", ["epochs", "steps"]))
        "unknown key 'learner.epoch'; did you mean 'epochs'?"
    """
    text = str(UnknownName.near("key", key, known))
    return UnknownName(text.replace(repr(key), repr(join(where, key)), 1))


def invalid(error: ValidationError, value: object, where: str = "") -> ConfigError:
    """The first thing that pydantic found wrong, in one line; a mistyped key comes before what it left missing.

    Args:
        error: as pydantic raised it.
        value: what was validated.
        where: dotted path of `value` in the recipe.
    """
    details = error.errors(include_url=False)
    for detail in details:
        if detail["type"] == UNKNOWN_KEY:
            context = detail.get("ctx", {})
            return unknown_key(join(where, *_walk(detail["loc"], value)[0]), str(context["key"]), context["known"])
    keys, found = _walk(details[0]["loc"], value)
    path = join(where, *keys)
    if details[0]["type"] == "missing":
        wanted = "an import path such as medal.sampling.TopK" if details[0]["loc"][-1] == "use" else "a value"
        return ConfigError(f"{join(where, *details[0]['loc'])}: missing, expected {wanted}; add it")
    if details[0]["type"] in ("value_error", "assertion_error"):
        reason = details[0]["msg"].partition(", ")[2]
        return ConfigError(f"{path}: {reason}" if path else reason)
    same = [_expected(d) for d in details if _walk(d["loc"], value)[0] == keys]
    return mismatch(path or "value", found, " or ".join(dict.fromkeys(same)))


def _walk(location: tuple[int | str, ...], value: object) -> tuple[list[int | str], object]:
    """The part of an error's location that exists in the value, and what stands there; union tags drop out."""
    keys: list[int | str] = []
    for part in location:
        entry = isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)
        if not entry and not (isinstance(value, Mapping) and part in value):
            break
        value = cast("Any", value)[part]
        keys.append(part)
    return keys, value


def _expected(detail: ErrorDetails) -> str:
    context: Mapping[str, Any] = detail.get("ctx", {})
    for start in sorted(_EXPECTED, key=len, reverse=True):
        if detail["type"].startswith(start):
            return _EXPECTED[start].format_map(context)
    return detail["msg"].removeprefix("Input should be ").rstrip(".")
