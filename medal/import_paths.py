"""Import paths that a recipe may name: a recipe is data, not a way to run code.

A path is `package.module.Name`. The package is one of ours or registered under the entry-point group `medal.packages`;
the name is a public class or function that such a package defines itself (a module that imports `os` does not lend it
out). Of the core, only the folders that hold parts of a recipe may be named, not the plumbing that reads recipes or
writes files.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Collection, Iterator
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from medal.errors import ConfigError, MissingDependency, UnknownName
from medal.messages import join, shown

PACKAGES = ("medal", "modalities", "pretrained", "tasks")
ENTRY_POINTS = "medal.packages"
CORE_PARTS = (
    "calibration",
    "domain_adaptation",
    "generative",
    "learners",
    "metrics",
    "oracle",
    "reducers",
    "regions",
    "representativeness",
    "sampling",
    "self_supervised",
    "semi_supervised",
    "uncertainty",
)
"""Modules of the core that hold parts of a recipe."""

Target = Callable[..., Any]


def registered_packages() -> frozenset[str]:
    """Packages that other distributions offer under the entry-point group `medal.packages`."""
    return frozenset(point.module.partition(".")[0] for point in entry_points(group=ENTRY_POINTS))


def resolve(use: object, where: str = "", registered: Collection[str] | None = None) -> Target:
    """The class or function that an import path names.

    Args:
        use: such as "medal.uncertainty.Entropy".
        where: dotted path of the node in the recipe.
        registered: further packages that may be named; None asks the installed distributions.

    Raises:
        UnknownName: when the module or the name does not exist, with the nearest right one.
        ConfigError: when it exists and a recipe may not name it.
        MissingDependency: when its module needs a package that is not installed.

    Example:
        >>> resolve("medal.reducers.LabelMean").__name__
        'LabelMean'
    """
    label = f"{join(where, 'use')}: {use if isinstance(use, str) else shown(use)}"
    segments = _segments(use, label)
    allowed = _allowed(segments[0], label, registered)
    if not _is_part(segments[:-1]):
        homes = ", ".join(f"medal.{part}" for part in CORE_PARTS)
        raise ConfigError(f"{label}: {'.'.join(segments[:-1])} holds no parts of a recipe; name one from {homes}")
    module = _import(segments[:-1], label)
    name = segments[-1]
    target = getattr(module, name, None)
    if target is None:
        raise UnknownName(f"{label}: {_has_no(module.__name__, name, _public(module, allowed))}")
    if not _is_ours(target, allowed):
        origin = inspect.getmodule(target)
        found = f"{name!r} is {_kind(target)}{f' of {origin.__name__}' if origin else ''}"
        raise ConfigError(f"{label}: {found}, expected a class or function that {segments[0]} defines")
    return target


def module(path: str, where: str, registered: Collection[str] | None = None) -> ModuleType:
    """The module that a recipe names, such as its task.

    Raises:
        UnknownName: when it does not exist.
        ConfigError: when a recipe may not name it.
    """
    label = f"{where}: {path}"
    segments = _segments(path, label)
    _allowed(segments[0], label, registered)
    return _import(segments, label)


def _segments(use: object, label: str) -> list[str]:
    segments = use.split(".") if isinstance(use, str) else []
    if len(segments) < 2 or not all(s.isidentifier() for s in segments):
        raise ConfigError(f"{label}: expected an import path such as medal.sampling.TopK")
    hidden = [s for s in segments if s.startswith("_")]
    if hidden:
        raise ConfigError(f"{label}: {hidden[0]!r} is private, expected public names; name a public class or function")
    return segments


def _allowed(package: str, label: str, registered: Collection[str] | None) -> frozenset[str]:
    ours = frozenset((*PACKAGES, *(registered_packages() if registered is None else registered)))
    if package not in ours:
        names = ", ".join(sorted(ours))
        raise ConfigError(
            f"{label}: a recipe may not name {package!r}, expected one of {names}; "
            f"register other packages under the entry-point group {ENTRY_POINTS}"
        )
    return ours


def _is_part(segments: list[str]) -> bool:
    return segments[0] != "medal" or (len(segments) > 1 and segments[1] in CORE_PARTS)


def _import(segments: list[str], label: str) -> ModuleType:
    """Imports package after package, so that an error names the first that does not exist."""
    found: ModuleType | None = None
    for depth in range(1, len(segments) + 1):
        path = ".".join(segments[:depth])
        if found is not None and not hasattr(found, "__path__"):
            raise UnknownName(
                f"{label}: {found.__name__} has no submodule {segments[depth - 1]!r}; name a class or function in it"
            )
        try:
            found = importlib.import_module(path)
        except ModuleNotFoundError as error:
            if error.name != path:
                raise MissingDependency(
                    f"{label}: needs the package {error.name!r}, which is not installed; install it"
                ) from None
            if found is None:
                raise UnknownName(f"{label}: the package {path!r} is not installed; install it") from None
            raise UnknownName(f"{label}: {_has_no(found.__name__, segments[depth - 1], _submodules(found))}") from None
    if found is None:
        raise ConfigError(f"{label}: expected an import path such as medal.sampling.TopK")
    return found


def _submodules(package: ModuleType) -> list[str]:
    import pkgutil

    return [m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")]


def _public(module: ModuleType, allowed: frozenset[str]) -> list[str]:
    return [n for n, value in _members(module) if _is_ours(value, allowed)]


def _members(module: ModuleType) -> Iterator[tuple[str, object]]:
    return ((n, v) for n, v in vars(module).items() if not n.startswith("_"))


def _is_ours(target: object, allowed: frozenset[str]) -> bool:
    home = getattr(target, "__module__", None)
    if not (inspect.isclass(target) or inspect.isfunction(target)) or not isinstance(home, str):
        return False
    segments = home.split(".")
    return segments[0] in allowed and _is_part(segments)


def _kind(target: object) -> str:
    kinds = (("a module", inspect.ismodule), ("a class", inspect.isclass), ("a function", inspect.isroutine))
    return next((name for name, test in kinds if test(target)), f"a {type(target).__name__}")


def _has_no(module: str, name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    mend = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(sorted(known)) or 'nothing public'}"
    return f"{module} has no {name!r}; {mend}"
