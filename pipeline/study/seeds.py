"""Seeds: every random stream has a name, and its seed is a hash of that name."""

from hashlib import sha256


def derive_seed(*parts: int | str) -> int:
    """Returns a seed below 2**63 from SHA-256 of the parts.

    Named streams do not shift each other: a draw more in one changes no other.

    Args:
        parts: What the stream belongs to, such as (study seed, trial number, "initial").
    """
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1
