"""A connection to Ray: a cluster of this machine that ends with the work, or one that runs already at an address."""

from __future__ import annotations

import importlib
import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from medal.errors import ConfigError, MissingDependency

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is told to anybody
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # jobs see the GPUs of their machine, as local ones do
}

ANSWER = 10.0
"""Seconds in which a machine has to answer."""


def load_ray() -> Any:
    """The package ray.

    Raises:
        MissingDependency: when it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("ray")
    except ImportError:
        raise MissingDependency(
            'resources.engine=ray needs the package ray; install it with `pip install "medal-imaging[ray]"`'
        ) from None


@contextmanager
def connected(cpus: int, address: str | None = None) -> Iterator[Any]:
    """Connects to Ray for the length of a block; inside a job of Ray, or where one is connected, it takes that.

    Args:
        cpus: of a cluster started here; one that runs already has its own.
        address: of a running cluster, such as "10.0.0.5:6379", or "auto" for the one on this machine; it is left
            running. None starts one on this machine, which ends with the block or with this process.

    Yields:
        The package ray, connected.

    Raises:
        MissingDependency: when ray is not installed.
        ConfigError: when no cluster answers at the address.
    """
    ray = load_ray()
    if ray.is_initialized():
        yield ray
        return
    silent: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _settings(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray about itself
        if address is None:
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, **silent)
        else:
            _join(ray, address, silent)
    try:
        yield ray
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.shutdown()


def _join(ray: Any, address: str, silent: dict[str, Any]) -> None:
    try:
        host, colon, port = address.removeprefix("ray://").rpartition(":")
        if colon:  # Ray itself would try for many minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()
        ray.init(address=address, **silent)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"resources.address: no Ray cluster answers at {address!r} ({reason}); start one with `ray start --head`, "
            "or leave the address out"
        ) from None


@contextmanager
def _settings() -> Iterator[None]:
    """Ray reads its settings from the environment when it starts, and hands them to its processes."""
    before = {name: os.environ.get(name) for name in SETTINGS}
    os.environ.update(SETTINGS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
