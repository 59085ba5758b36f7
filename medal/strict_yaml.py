"""YAML as recipes use it: plain data, each key once, no anchors, and 1e-3 is a number.

PyYAML's safe loader follows YAML 1.1, where `no` is false, `1:30` is ninety and `1e-3` is text. Here `true` and `false`
are the only truth values, numbers are decimal, dates stay text. Anchors are refused, since a few of them can stand
for a huge tree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from medal.errors import ConfigError

_MEND = "expected YAML such as 'key: value'"
_REPLACED = {f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float", "timestamp", "merge", "value")}
_PLAIN = [
    ("bool", re.compile(r"^(?:true|True|false|False)$"), "tTfF"),
    ("int", re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$"), "-+0123456789"),
    (
        "float",
        re.compile(
            r"^[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+)$"
            r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
        ),
        "-+.0123456789",
    ),
]


def _resolvers(kept: dict[str, list[tuple[str, re.Pattern[str]]]]) -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    table = {first: list(pairs) for first, pairs in kept.items()}
    for name, pattern, firsts in _PLAIN:
        for first in firsts:
            table.setdefault(first, []).append((f"tag:yaml.org,2002:{name}", pattern))
    return table


class _Refused(yaml.MarkedYAMLError):
    """YAML that is right, and that recipes do not use."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = _resolvers(
        {c: [p for p in pairs if p[0] not in _REPLACED] for c, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()}
    )

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:
            raise _Refused(problem="found an anchor or alias; write the value out", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _Refused(problem=f"found the key {key!r}, expected text", problem_mark=key_node.start_mark)
            if key in seen:
                raise _Refused(problem=f"found the key {key!r} twice; keep one", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    # keeps the rules of YAML 1.1 too, so that other readers see the same values
    yaml_implicit_resolvers = _resolvers(yaml.SafeDumper.yaml_implicit_resolvers)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def parse(text: str, what: str) -> Any:
    """The value of a YAML text.

    Args:
        text: YAML.
        what: how an error names the text.

    Raises:
        ConfigError: on a syntax error (with its line), a doubled key, an anchor, or a value that is not plain data.

    Example:
        >>> parse("{lr: 1e-3, warm: true, names: [a, no]}", "x")
        {'lr': 0.001, 'warm': True, 'names': ['a', 'no']}
    """
    try:
        value = yaml.load(text, Loader=_Loader)  # a SafeLoader: plain data alone
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{what}, line {mark.line + 1}" if mark is not None else what
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(
            f"{place}: {reason}" if isinstance(error, _Refused) else f"{place}: {reason}; {_MEND}"
        ) from None
    except RecursionError:
        raise ConfigError(f"{what}: is nested too deep; {_MEND}") from None
    except (
        yaml.YAMLError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
    ) as error:  # a tag that its text does not fit
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{what}: {reason}; {_MEND}") from None
    _refuse_unusual(value, what)
    return value


def _refuse_unusual(value: Any, what: str) -> None:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _refuse_unusual(item, what)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{what}: found the number {value}, expected a finite one")
    elif not isinstance(value, str | int | float | bool | None):
        raise ConfigError(f"{what}: found a {type(value).__name__}, expected text, numbers, lists and mappings alone")


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: if the file cannot be read, is not YAML, or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file; give the path of a YAML file or the name of a recipe"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    value = parse(text, str(path))
    if not isinstance(value, dict):
        found = "nothing" if value is None else f"a {type(value).__name__}"
        raise ConfigError(f"{path}: found {found}, expected a mapping of keys to values")
    return value


def dump(value: Any) -> str:
    """YAML text that `parse` reads back to the same value; keys keep their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110)
