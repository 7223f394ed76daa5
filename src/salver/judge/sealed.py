"""Stores of what was judged before, believed only where this user's own salver wrote them.

A run's folder may come from elsewhere, and whoever sends it could write into it that a witness is correct. So
a store carries a seal: a keyed hash (HMAC) of its content, under a secret that never leaves the user's cache
folder. A store without a right seal is not even parsed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from functools import cache
from pathlib import Path
from typing import Any

from salver.zoo.datasets.places import cache_dir

SECRET = "seal.key"
_BYTES = 32
_SEALED = re.compile(rb'\A\{"seal":"([0-9a-f]{64})","found":(.*)\}\n\Z', re.DOTALL)


def sealed(body: str) -> str | None:
    """The content of a store around a JSON value; None where no secret can be kept, so nothing is stored."""
    secret = _secret(cache_dir())
    if secret is None:
        return None
    return f'{{"seal":"{_seal(secret, body.encode())}","found":{body}}}\n'


def unsealed(content: bytes) -> Any:
    """The JSON value of a store.

    Raises:
        ValueError: it bears no seal of this user, or is no JSON.
    """
    found, secret = _SEALED.match(content), _secret(cache_dir())
    if found is None or secret is None:
        raise ValueError("without a seal")
    if not hmac.compare_digest(found[1].decode(), _seal(secret, found[2])):
        raise ValueError("sealed by somebody else")
    return json.loads(found[2])


def _seal(secret: bytes, body: bytes) -> str:
    return hmac.new(secret, body, hashlib.sha256).hexdigest()


@cache
def _secret(folder: Path) -> bytes | None:
    """The user's secret, drawn at first use; None where it can be neither read nor written."""
    path = folder / SECRET
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Two that start together must not keep different ones: the file appears whole, and only once.
        drawn = folder / f".{SECRET}.{secrets.token_hex(8)}"
        if not path.exists():
            descriptor = os.open(drawn, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(secrets.token_bytes(_BYTES))
            try:
                os.link(drawn, path)
            except FileExistsError:
                pass
            finally:
                drawn.unlink()
        found = path.read_bytes()
    except OSError:
        return None
    return found if len(found) == _BYTES else None
