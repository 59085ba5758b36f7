"""Where the images of a hospital study lie: kept on this machine in the private folder, never in the study.

A study folder is made to be shared, and a path can tell whose images they are. Another machine that is handed the
study has to be told the folder once (`--data FOLDER`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medal.errors import ConfigError, StudyError
from medal.identity import private_folder
from medal.places import TOKEN, laid_back, taken_out
from medal.recipe import Recipe, validate
from medal.storage import read_json, write_bytes

FOLDER, CACHE = "studies", "cache"


def study_token(opened: Mapping[str, Any]) -> str:
    """A name for a study's private files, the same wherever the study lies, and no other study's.

    Args:
        opened: content of its first event. Studies that were begun without a token of their own are named after what
            they are made of.
    """
    if TOKEN.fullmatch(own := str(opened.get("token", ""))):
        return own
    parts = (opened["task"], opened["seed"], opened["data"]["digest"], opened["split"]["hash"])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def cache_folder() -> Path:
    """Decoded images of hospital folders: pixels of patients, so they lie in the private folder too."""
    return private_folder() / CACHE


def remember(opened: Mapping[str, Any], recipe: Recipe) -> None:
    """Keeps every path of a recipe, made absolute; a table of labels below the images is named from there.

    Args:
        opened: content of the study's first event.
        recipe: as it is played here.
    """
    content = recipe.model_dump(mode="json")
    data, learner = content["data"], content["learner"]
    if isinstance(root := data.get("root"), str):
        data["root"] = str(Path(root).expanduser().absolute())
    if (labels := data.get("labels")) and not Path(data.get("root") or "", labels).is_file():
        data["labels"] = _absolute(labels)
    if init := learner.get("init"):
        learner["init"] = _absolute(init)
    places = taken_out(content, opened["recipe"])
    if not _path(opened).exists() or read_json(_path(opened)) != places:
        write_bytes(_path(opened), (json.dumps(places, indent=2, sort_keys=True) + "\n").encode(), mode=0o600)


def _absolute(value: Any) -> Any:
    """The path of a file that is there; anything else stays, such as the name of a model."""
    return str(Path(value).absolute()) if isinstance(value, str) and Path(value).is_file() else value


def recall(opened: Mapping[str, Any], data: Path | None = None) -> Recipe:
    """The recipe of a study with the places that this machine knows.

    Args:
        opened: content of the study's first event.
        data: folder of the images, where it has moved.

    Raises:
        StudyError: when nobody has said where the images lie, or they are not there any more.
    """
    places = read_json(_path(opened)) if _path(opened).exists() else {}
    if data is not None:
        if not data.is_dir():
            raise ConfigError(f"the folder {str(data)!r} does not exist; give --data the folder of the images")
        places = {**places, "data.root": str(data.expanduser().absolute())}
    root = places.get("data.root")
    if root is None:
        raise StudyError("this machine does not know where the images of the study lie; say it once: --data FOLDER")
    if not Path(root).is_dir():
        raise StudyError(
            f"the images of the study lay in {root}, which is not there; say where they are: --data FOLDER"
        )
    return validate(laid_back(opened["recipe"], places))


def is_known(opened: Mapping[str, Any]) -> bool:
    """Whether this machine knows the places of a study."""
    return _path(opened).exists()


def _path(opened: Mapping[str, Any]) -> Path:
    return private_folder() / FOLDER / f"{study_token(opened)}.json"
