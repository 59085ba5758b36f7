"""Arguments of a recipe against the signature and the type hints of what they are meant for.

Text becomes int, float, Path or bool and lists become tuples where the hint asks for it; a value that does not fit is
named by its dotted path. Hints that pydantic cannot read (tensors with axis letters, for one) are not checked.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from medal.errors import ConfigError
from medal.import_paths import Target
from medal.messages import invalid, join, mismatch, unknown_key

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Signature:
    """What a class or function takes by name.

    Args:
        target: the class or function.
        names: parameters that can be given by name.
        required: those without a default.
        open: True when any further name is taken (`**options`).
        hints: resolved type of each parameter whose hint can be read.
    """

    target: Target
    names: tuple[str, ...]
    required: tuple[str, ...]
    open: bool
    hints: Mapping[str, Any]

    def check_names(self, given: Collection[str], where: str) -> None:
        """Refuses a name that is not a parameter.

        Raises:
            UnknownName: with the nearest parameter.
        """
        for name in given:
            if name not in self.names and not self.open:
                raise unknown_key(where, name, self.names)

    def check_complete(self, given: Collection[str], where: str) -> None:
        """Refuses a call in which a parameter without default is left out.

        Raises:
            ConfigError: naming the parameter.
        """
        for name in self.required:
            if name not in given:
                path = join(where, name)
                raise ConfigError(
                    f"{path}: missing, {self.target.__name__} needs it; add {path}=VALUE or write it in the recipe"
                )


def signature_of(target: Target, where: str) -> Signature:
    """The signature of a class or function, with its hints resolved one by one.

    Raises:
        ConfigError: if the target cannot be called with named arguments, or is abstract.
    """
    if inspect.isabstract(target) or getattr(target, "_is_protocol", False):
        raise ConfigError(f"{join(where, 'use')}: {target.__name__} is abstract; name a class that implements it")
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        raise ConfigError(
            f"{join(where, 'use')}: {target.__name__} has no signature that can be checked; wrap it"
        ) from None
    named = {n: p for n, p in parameters.items() if p.kind in _NAMED}
    scope = _scope(target)
    hints = {n: h for n, p in named.items() if (h := _hint(p.annotation, scope)) is not None}
    required = tuple(n for n, p in named.items() if p.default is inspect.Parameter.empty)
    taker = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return Signature(target, tuple(named), required, taker, hints)


def _scope(target: Target) -> dict[str, Any]:
    """Names that the target's hints can use: those of its module, and of its parents' modules."""
    owners = reversed(target.__mro__) if inspect.isclass(target) else [target]
    scope: dict[str, Any] = {}
    for owner in owners:
        scope |= vars(sys.modules.get(owner.__module__, types))
    return scope


def _hint(annotation: Any, scope: dict[str, Any]) -> Any:
    """The type that an annotation stands for, or None when it cannot be read."""
    if annotation is inspect.Parameter.empty:
        return None
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, globalns=scope, include_extras=True)["it"]  # type: ignore[arg-type]
    except Exception:  # an annotation is arbitrary code of its author; one that fails is not checked
        return None


def coerce(value: Any, hint: Any, where: str) -> Any:
    """A plain value as the type that a hint asks for.

    Args:
        value: plain data from a recipe.
        hint: resolved type, or None.
        where: dotted path of the value.

    Raises:
        ConfigError: if it does not fit.

    Example:
        >>> coerce("3", int, "learner.steps"), coerce([1, 2], tuple[int, ...], "x")
        (3, (1, 2))
    """
    if hint is None:
        return value
    try:
        adapter = TypeAdapter(hint)
    except (PydanticUserError, NameError, TypeError):
        return value
    try:
        result = adapter.validate_python(value)
    except ValidationError as error:
        raise invalid(error, value, where) from None
    if isinstance(value, bool) and not isinstance(result, bool):
        raise mismatch(where, value, "a number" if isinstance(result, int | float) else type(result).__name__)
    return result


def members(hint: Any) -> Iterator[Any]:
    """The members of a union, or the hint itself; None is left out."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for member in typing.get_args(hint):
            yield from members(member)
    elif typing.get_origin(hint) is typing.Annotated:
        yield from members(typing.get_args(hint)[0])
    elif hint not in (None, type(None)):
        yield hint


def record_of(hint: Any) -> type | None:
    """The dataclass that a mapping without `use` stands for, when the hint has exactly one."""
    found = [m for m in members(hint) if inspect.isclass(m) and dataclasses.is_dataclass(m)]
    return found[0] if len(found) == 1 else None


def check_kind(target: Target, hint: Any, where: str) -> None:
    """Refuses a class that cannot be what a parameter expects, such as a sampler in the place of a score.

    A function's result is not known before it is called, so functions pass.

    Raises:
        ConfigError: naming what the class lacks.
    """
    wanted = list(members(hint))
    if not inspect.isclass(target) or not wanted or not all(inspect.isclass(m) and m is not Any for m in wanted):
        return
    lacking = [_lacks(target, m) for m in wanted]
    if all(lacking):
        names = " or ".join(m.__name__ for m in wanted)
        raise ConfigError(f"{where}: found the class {target.__name__}, expected a {names} ({lacking[0]})")


def _lacks(target: type, wanted: type) -> str:
    """Why a class is not of a kind; empty when it is, or when that cannot be told."""
    if not getattr(wanted, "_is_protocol", False):
        return "" if issubclass(target, wanted) else "it is none"
    # not hasattr: every class has the `__call__` of its metaclass
    missing = [n for n in _protocol_names(wanted) if not any(n in vars(owner) for owner in target.__mro__)]
    return f"it has no {missing[0]!r}" if missing else ""


def _protocol_names(protocol: type) -> list[str]:
    """Methods and class attributes of a protocol; what instances alone have cannot be seen on a class."""
    names: list[str] = []
    for owner in protocol.__mro__:
        if getattr(owner, "_is_protocol", False):
            hints = vars(owner).get("__annotations__", {})
            names += [n for n, h in hints.items() if "ClassVar" in str(h)]
            names += [
                n
                for n, v in vars(owner).items()
                if inspect.isfunction(v) and (not n.startswith("_") or n == "__call__")
            ]
    return names
