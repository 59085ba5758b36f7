"""Stored predictions: ids and probabilities of one part of the data in one round, named by the hash of their content.

With them and the labels, every measure of a campaign can be computed again without training.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medal.errors import StudyError
from medal.storage import write_bytes


def predictions_hash(ids: Sequence[str], probabilities: NDArray[np.float32]) -> str:
    """Hex SHA-256 of ids and numbers.

    Args:
        ids: (n) rows.
        probabilities: (n, L) float32.
    """
    digest = hashlib.sha256(json.dumps([list(ids), list(probabilities.shape)]).encode())
    digest.update(np.ascontiguousarray(probabilities, dtype="<f4").tobytes())
    return digest.hexdigest()


def save_predictions(path: Path, ids: Sequence[str], probabilities: NDArray[np.float32]) -> str:
    """Writes predictions in one step and returns the hash of their content.

    Args:
        path: `.npz` to write.
        ids: (n) rows.
        probabilities: (n, L) float32.

    Raises:
        StudyError: when there is not one line for each id.
        StorageFull: when the disk is full.
    """
    table = np.ascontiguousarray(probabilities, dtype=np.float32)
    if table.ndim != 2 or len(table) != len(ids):
        raise StudyError(f"predictions of shape {table.shape} for {len(ids)} rows; expected one line for each row")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, ids=np.array(list(ids), dtype=np.str_), probabilities=table)
    path.parent.mkdir(exist_ok=True)
    write_bytes(path, buffer.getvalue())
    return predictions_hash(ids, table)


def load_predictions(path: Path, expected: str) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Reads predictions back.

    Args:
        path: what `save_predictions` wrote.
        expected: the hash in the journal.

    Returns:
        ids (n) and probabilities (n, L) float32.

    Raises:
        StudyError: when the file is missing, damaged or another one.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            ids, table = tuple(stored["ids"].tolist()), np.asarray(stored["probabilities"])
    except FileNotFoundError:
        raise StudyError(f"{path.name} is missing from {path.parent}; run `medal resume`") from None
    except Exception as error:
        raise StudyError(f"{path} is damaged ({type(error).__name__}); remove it and run `medal resume`") from None
    if predictions_hash(ids, table) != expected:
        raise StudyError(f"{path} holds other predictions than the journal names; restore it from a backup")
    return ids, table
