"""Random damage to bytes and texts, reproducible from a `random.Random`."""

from __future__ import annotations

import struct
from random import Random

INTERESTING = (
    b"\x00", b"\xff\xff\xff\xff", b"\x7f\xff", b"\x80", b"NaN", b"Infinity", b"-1", b"1e999", b"9" * 40,
    b"9" * 5000, b"0.0", b"-0.0", b"../", b"/etc/passwd", b"((((", b"))", b"[", b"]", b"{", b"}", b'"', b"\n",
    b"\xef\xbb\xbf", b"\xd9\xa3", b"1_0", b"0x1p3", b"null", b"true", b"1e39", b"5e-324",
    b"9223372036854775808", b"X_0", b"Y_0", b"or",
)  # fmt: skip
EDGES = (
    0.0, 1.0, -1.0, 0.5, 1e-45, 1.1754944e-38, 3.4028234663852886e38, -3.4028234663852886e38, 16777217.0,
)  # fmt: skip


def damaged(raw: bytes, rng: Random, most: int = 4) -> bytes:
    """A few bytes flipped, cut, repeated, swapped or replaced by something that readers tend to trip over."""
    data = bytearray(raw)
    for _ in range(rng.randint(1, most)):
        at = rng.randint(0, len(data))
        length = min(rng.choice((1, 1, 2, 4, 8, 32)), len(data) - at)
        match rng.choice(("flip", "set", "cut", "repeat", "insert", "replace", "end", "move")):
            case "flip" if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case "set" if at < len(data):
                data[at] = rng.randrange(256)
            case "cut":
                del data[at : at + length]
            case "repeat":
                data[at:at] = data[at : at + length] * rng.choice((1, 2, 50))
            case "insert":
                data[at:at] = rng.choice(INTERESTING)
            case "replace":
                data[at : at + length] = rng.choice(INTERESTING)
            case "end" if rng.random() < 0.2:
                del data[at:]
            case "move":
                piece = bytes(data[at : at + length])
                data[(to := rng.randint(0, len(data))) : to] = piece
            case _:
                pass
    return bytes(data)


def single(rng: Random) -> float:
    """A finite binary32 number: any bit pattern, or one at an edge."""
    if rng.random() < 0.3:
        value = rng.choice(EDGES)
    else:
        value = struct.unpack("f", struct.pack("I", rng.getrandbits(32)))[0]
    value = float(struct.unpack("f", struct.pack("f", value))[0])
    return value + 0.0 if abs(value) < float("inf") else 1.0
