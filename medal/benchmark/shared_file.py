"""The file of a benchmark as it may be shared: without the places that its overrides name.

Nothing is lost: the index holds every resolved recipe, whose places lie in the private folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from medal.benchmark.schema import Benchmark
from medal.overlay import GROUPS, split_overrides
from medal.places import is_place, without_places
from medal.resources import is_file_name

OWN = "a file of its own"
"""Stands for a recipe that the user wrote, whose path is nobody's business."""


def shared_file(file: Benchmark) -> Benchmark:
    """The file without paths and addresses.

    Args:
        file: as it was read.
    """
    learners = {
        name: variant.model_copy(
            update={
                "overrides": tuple(_shared(variant.overrides)),
                "works": tuple(work for work in variant.works if not is_file_name(work)),
            }
        )
        for name, variant in file.learners.items()
    }
    return file.model_copy(
        update={
            "recipe": OWN if is_file_name(file.recipe) else file.recipe,
            "overrides": tuple(_shared(file.overrides)),
            "sets": {name: tuple(_shared(overrides)) for name, overrides in file.sets.items()},
            "learners": learners,
        }
    )


def _shared(overrides: Sequence[str]) -> Iterator[str]:
    for text in overrides:
        groups, values = split_overrides([text])
        ((key, value),) = [*groups.items(), *values]
        if key == "with":
            shared: object = [name for name in (value if isinstance(value, list) else [value]) if not _is_own(name)]
        elif is_place(key, value) or (key in (*GROUPS, "strategy") and _is_own(value)):
            continue
        else:
            shared = without_places(value, key)
        yield text if shared in (value, [value]) else f"{key}={json.dumps(shared)}"


def _is_own(name: object) -> bool:
    return isinstance(name, str) and is_file_name(name)
