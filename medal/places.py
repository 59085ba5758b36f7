"""Where a run's data lie: paths of this machine, kept out of the run folder, which may be shared.

The index of a run holds its recipes without paths, since the name of a folder or a file can tell whose images they are,
and without the machine that leads a cluster. What was taken out lies in the private folder
(`medal.identity.private_folder`), in a file named by a token that the index holds: a run that is moved keeps its
places, a run that is copied to another machine has to be told them again.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from medal.identity import private_folder
from medal.schema import Recipe
from medal.storage import read_json, write_bytes

Places = Mapping[str, Any]
"""Dotted key of a recipe, such as "data.root" -> the path that stands there."""
ROOT, LABELS, INIT, ADDRESS = "data.root", "data.labels", "learner.init", "resources.address"
KEYS = (ROOT, LABELS, INIT, ADDRESS)
"""Keys that name a place even where the path is relative."""
DEFAULT_NAMES = {LABELS: "labels.csv"}
"""What stands there unless somebody says otherwise names nobody."""
FOLDER = "places"
TOKEN = re.compile(r"[0-9a-f]{16}")


def is_place(key: str, value: object) -> bool:
    """Whether the value of a recipe's dotted key tells where something lies.

    Example:
        >>> is_place("data.labels", "smith.csv"), is_place("data.labels", "labels.csv"), is_place("data.use", "~/x")
        (True, False, True)
    """
    if not isinstance(value, str):
        return False
    named = key in KEYS and value != DEFAULT_NAMES.get(key)
    return named or value.startswith("~") or Path(value).is_absolute()


def without_places(content: Any, key: str = "") -> Any:
    """Plain data without the values that are places, see `is_place`.

    Args:
        content: a recipe, or what stands under a key of one.
        key: dotted key of the content.

    Example:
        >>> without_places({"data": {"root": "images", "tables": ["/a.csv", "b"]}, "seed": 1})
        {'data': {'tables': ['b']}, 'seed': 1}
    """
    if isinstance(content, Mapping):
        inner = {name: (f"{key}.{name}" if key else str(name), value) for name, value in content.items()}
        return {name: without_places(value, at) for name, (at, value) in inner.items() if not is_place(at, value)}
    if isinstance(content, list):
        return [without_places(value, f"{key}.{n}") for n, value in enumerate(content) if not is_place("", value)]
    return content


def whole_of(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain data, with the absolute place of its data: it may be resumed from another folder."""
    content = recipe.model_dump(mode="json")
    if isinstance(root := content["data"].get("root"), str):
        content["data"]["root"] = str(Path(root).expanduser().absolute())
    return content


def unknown(wanted: Iterable[str], known: Iterable[str]) -> set[str]:
    """Keys of places that somebody has to tell; which cluster was used elsewhere is none of them."""
    return set(wanted) - set(known) - {ADDRESS}


def other_files(before: Recipe, after: Recipe) -> bool:
    """Whether a file of a recipe has been given another name, rather than the same file another folder."""
    old, new = (taken_out(content, without_places(content)) for content in (whole_of(before), whole_of(after)))
    files = (old.keys() & new.keys()) - {ROOT, ADDRESS}
    return any(Path(str(old[key])).name != Path(str(new[key])).name for key in files)


def taken_out(whole: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe holds that its shareable version does not.

    Args:
        whole: the recipe as plain data.
        shared: the same without places, see `medal.assemble.shareable`.

    Example:
        >>> taken_out({"data": {"root": "/images", "size": 32}}, {"data": {"size": 32}})
        {'data.root': '/images'}
    """
    return dict(_differing(whole, shared, ""))


def laid_back(shared: Mapping[str, Any], places: Places) -> dict[str, Any]:
    """The recipe with its places.

    Example:
        >>> laid_back({"data": {"size": 32}}, {"data.root": "/images"})
        {'data': {'size': 32, 'root': '/images'}}
    """
    whole = json.loads(json.dumps(shared))
    for key, value in places.items():
        *parents, last = key.split(".")
        node = whole
        for name in parents:
            node = node[int(name)] if isinstance(node, list) else node.get(name)
        if isinstance(node, list):
            node[int(last)] = value
        else:
            node[last] = value
    return whole


def _differing(whole: Any, shared: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(whole, Mapping) and isinstance(shared, Mapping):
        children = [(name, value, shared.get(name)) for name, value in whole.items()]
    elif isinstance(whole, list) and isinstance(shared, list) and len(whole) == len(shared):
        children = [(str(n), *pair) for n, pair in enumerate(zip(whole, shared, strict=True))]
    else:
        if whole != shared:
            yield key, whole
        return
    for name, mine, other in children:
        yield from _differing(mine, other, f"{key}.{name}" if key else name)


def keep(places: Mapping[str, Places], token: str | None = None) -> str:
    """Writes the places of every arm into the private folder.

    Args:
        places: arm -> places.
        token: under which the run's places lay before; a token that stands for others is left to the other copies of
            the run that may hold it.

    Returns:
        The token under which they lie now.
    """
    if token is None or not TOKEN.fullmatch(token) or (_path(token).exists() and find(token) != places):
        token = secrets.token_hex(8)
    if not _path(token).exists():
        write_bytes(_path(token), (json.dumps(places, indent=2, sort_keys=True) + "\n").encode(), mode=0o600)
    return token


def find(token: str | None) -> Mapping[str, Places]:
    """The places of every arm; nothing where this machine does not know the token.

    Raises:
        StudyError: if the file is damaged.
    """
    if token is None or not TOKEN.fullmatch(token) or not _path(token).is_file():
        return {}
    return read_json(_path(token))


def _path(token: str) -> Path:
    return private_folder() / FOLDER / f"{token}.json"
