"""Pseudonyms: keyed hashes of identities; the key and the table back are kept apart from everything that is shared.

Public data sets have nothing to hide and use a fixed key, so that ids (and with them every pick) agree between
machines. Hospital data use a key made once on this machine, in a private folder (`MEDAL_PRIVATE`, else
`~/.local/share/medal/private`).
"""

from __future__ import annotations

import base64
import csv
import hmac
import io
import os
import secrets
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from medal.errors import StudyError
from medal.storage import draft_path, write_bytes

PUBLIC_KEY = b"medal: public data set"


def private_folder() -> Path:
    """The folder of keys and tables, readable by its owner alone; made on first use."""
    folder = Path(os.environ.get("MEDAL_PRIVATE") or Path.home() / ".local" / "share" / "medal" / "private")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def installation_key() -> bytes:
    """The secret key of this machine, made once.

    Raises:
        StudyError: if the key file is damaged; without the same key, ids would change.
    """
    path = private_folder() / "pseudonym.key"
    if not path.exists():
        draft = draft_path(path.parent)
        write_bytes(draft, secrets.token_bytes(32), mode=0o600)
        try:
            os.link(draft, path)  # fails when another process was first; then its key stands
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    key = path.read_bytes()
    if len(key) != 32:
        raise StudyError(f"the pseudonym key {path} has {len(key)} bytes, expected 32; restore it from a backup")
    return key


class Pseudonyms:
    """Maps identities to pseudonyms and remembers the way back for the private table.

    Args:
        key: secret; the same key and identity give the same pseudonym.

    Example:
        >>> names = Pseudonyms(PUBLIC_KEY)
        >>> names.of("P", "patient 7") == Pseudonyms(PUBLIC_KEY).of("P", "patient 7") != names.of("P", "patient 8")
        True
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._back: dict[str, str] = {}

    def of(self, prefix: str, identity: str) -> str:
        """The pseudonym of one identity: the prefix and 12 characters (60 bits)."""
        digest = hmac.new(self._key, f"{prefix}\x1f{identity}".encode("utf-8", "surrogateescape"), sha256).digest()
        name = prefix + base64.b32encode(digest)[:12].decode().lower()
        known = self._back.setdefault(name, identity)
        if known != identity:
            raise StudyError(f"two identities share the pseudonym {name}; make a new key")
        return name

    def write_table(self, name: str, extra: Mapping[str, str] | None = None) -> Path:
        """Writes the private table (pseudonym, identity, note) beside the key and returns its path.

        Lines of an earlier table stay, so that a file that has left the folder since can still be traced back.
        """
        path = private_folder() / f"{name}.csv"
        lines = {p: [p, i, (extra or {}).get(p, "")] for p, i in self._back.items()}
        if path.exists():
            with path.open(newline="", encoding="utf-8", errors="surrogateescape") as handle:
                for line in list(csv.reader(handle))[1:]:
                    if line:
                        lines.setdefault(line[0], line)
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(["pseudonym", "identity", "note"])
        writer.writerows(line for _, line in sorted(lines.items()))
        # an identity may be a file name that is no UTF-8; it must come back as it was
        write_bytes(path, text.getvalue().encode("utf-8", "surrogateescape"), mode=0o600)
        return path
