"""Objects from nodes: `use:` is resolved, arguments are checked, nested nodes are built first.

`check` does all but the construction, so that a recipe fails when it is loaded and not in round three. A parameter that
the recipe leaves out is taken from the context where the context has it (`source`, `truth`, ...).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from medal.arguments import Signature, check_kind, coerce, record_of, signature_of
from medal.errors import ConfigError
from medal.import_paths import Target, resolve
from medal.messages import join, mismatch
from medal.schema import Node, StepNodes

if TYPE_CHECKING:
    from medal.strategy import Strategy

Finish = Callable[[Signature, dict[str, Any], str], Any]


def check(
    node: Node | Mapping[str, Any],
    where: str = "",
    *,
    registered: Collection[str] | None = None,
    context: Collection[str] | None = None,
    expected: Any = None,
) -> None:
    """Resolves a node and checks its arguments without building anything.

    Args:
        node: mapping with `use` and arguments.
        where: dotted path of the node in the recipe.
        registered: further packages that may be named; None asks the installed distributions.
        context: names that will be there when the node is built; None leaves missing arguments unchecked.
        expected: type that the built object must have.

    Raises:
        UnknownName: on an import path or argument that does not exist.
        ConfigError: on anything else that does not fit, with its dotted path.

    Example:
        >>> check({"use": "medal.reducers.LabelTopMean", "m": 2}, "strategy.0.reducer")
    """
    _checker(registered, context).node(_plain(node), where, expected)


def build(
    node: Node | Mapping[str, Any],
    where: str = "",
    /,
    *,
    registered: Collection[str] | None = None,
    **context: Any,
) -> Any:
    """The object that a node describes.

    Args:
        node: mapping with `use` and arguments.
        where: dotted path of the node in the recipe.
        registered: further packages that may be named; None asks the installed distributions.
        **context: given to each parameter of that name that the recipe leaves out, in nested nodes too.

    Raises:
        UnknownName: on an import path or argument that does not exist.
        ConfigError: on anything else that does not fit, with its dotted path.

    Example:
        >>> build({"use": "medal.reducers.LabelTopMean", "m": "2"})
        LabelTopMean(m=2)
    """
    return _builder(registered, context).node(_plain(node), where, None)


def build_strategy(
    steps: Sequence[StepNodes | Mapping[str, Any]],
    name: str,
    *,
    registered: Collection[str] | None = None,
    **context: Any,
) -> Strategy:
    """The strategy of a recipe, under the name of its arm."""
    from medal.strategy import Step, Strategy

    builder = _builder(registered, context)
    made = [builder.call(Step, _plain(step), join("strategy", i)) for i, step in enumerate(steps)]
    return Strategy(*made, name=name)


def check_strategy(
    steps: Sequence[StepNodes | Mapping[str, Any]], *, registered: Collection[str] | None = None
) -> None:
    """Checks every node of the steps, and that scores, samplers and reducers stand in their own places."""
    from medal.strategy import Step

    checker = _checker(registered, ())
    for i, step in enumerate(steps):
        checker.call(Step, _plain(step), join("strategy", i))


def _plain(node: BaseModel | Mapping[str, Any]) -> Mapping[str, Any]:
    return node.model_dump() if isinstance(node, BaseModel) else node


def _is_node(value: Any) -> bool:
    return isinstance(value, Mapping) and "use" in value


def _holds_node(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "use" in value or any(_holds_node(v) for v in value.values())
    return isinstance(value, list | tuple) and any(_holds_node(v) for v in value)


@dataclass(frozen=True)
class _Walker:
    """Goes through a node and what is nested in it.

    Args:
        registered: further packages that may be named.
        available: names that the context has; None leaves missing arguments unchecked.
        finish: what becomes of a call whose arguments are fine.
    """

    registered: Collection[str] | None
    available: Collection[str] | None
    finish: Finish

    def node(self, node: Mapping[str, Any], where: str, expected: Any) -> Any:
        """A mapping with `use`."""
        if not _is_node(node):
            raise mismatch(where or "node", node, "a mapping with 'use' and arguments")
        target = resolve(node["use"], where, self.registered)
        check_kind(target, expected, where)
        return self.call(target, {k: v for k, v in node.items() if k != "use"}, where)

    def call(self, target: Target, given: Mapping[str, Any], where: str) -> Any:
        """A target with its arguments."""
        signature = signature_of(target, where)
        signature.check_names(given, where)
        values = {n: self.value(v, signature.hints.get(n), join(where, n)) for n, v in given.items()}
        if self.available is not None:
            signature.check_complete({*given, *self.available}, where)
        return self.finish(signature, values, where)

    def value(self, value: Any, hint: Any, where: str) -> Any:
        """One argument: a node, a mapping for a dataclass, a collection with nodes in it, or plain data."""
        if _is_node(value):
            return self.node(value, where, hint)
        record = record_of(hint)
        if isinstance(value, Mapping) and record is not None:
            return self.call(record, value, where)
        if not _holds_node(value):
            return coerce(value, hint, where)
        if isinstance(value, Mapping):
            return {k: self.value(v, None, join(where, k)) for k, v in value.items()}
        return [self.value(v, None, join(where, i)) for i, v in enumerate(value)]


def _checker(registered: Collection[str] | None, available: Collection[str] | None) -> _Walker:
    return _Walker(registered, available, lambda *_: None)


def _builder(registered: Collection[str] | None, context: Mapping[str, Any]) -> _Walker:
    def make(signature: Signature, values: dict[str, Any], where: str) -> Any:
        injected = {n: v for n, v in context.items() if n in signature.names and n not in values}
        try:
            return signature.target(**values, **injected)
        except ValueError as error:  # a class of a third party that refuses a value in its own way
            reason = (str(error).splitlines() or ["refused its arguments"])[0]
            raise ConfigError(f"{where or signature.target.__name__}: {reason}") from error

    return _Walker(registered, context, make)
