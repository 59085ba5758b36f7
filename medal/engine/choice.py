"""From a recipe's resources to the engine that they name."""

from __future__ import annotations

import os

from medal.engine.job import Engine
from medal.engine.local import Local
from medal.schema import Resources


def engine_of(resources: Resources) -> Engine:
    """The engine of a recipe or a benchmark.

    Args:
        resources: threads of one job, jobs at a time, engine and address of a cluster.

    Raises:
        MissingDependency: when it needs a package that is not installed.
    """
    if resources.engine == "ray":
        from medal.engine.ray import Ray

        wanted = None if resources.processes == "auto" else resources.processes
        return Ray(resources.threads, wanted, resources.address)
    return Local(processes_of(resources), resources.threads)


def processes_of(resources: Resources) -> int:
    """How many jobs this machine runs at a time: cores over threads, unless the recipe says otherwise."""
    if resources.processes != "auto":
        return max(1, int(resources.processes))
    return max(1, cores() // resources.threads)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
