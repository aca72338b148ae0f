"""Job tokens: made with the claim, known to its workload alone, stored as a hash (I8)."""

import hashlib
import hmac
import secrets

_TOKEN_BYTES = 32


def new_token() -> str:
    """A secret that nobody can guess."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def hash_of(token: str) -> str:
    """What is stored of a token: its SHA-256 in hexadecimal digits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def same_hash(stored: str | None, shown: str) -> bool:
    """Whether a token was shown whose hash is the stored one; takes as long either way."""
    return stored is not None and hmac.compare_digest(stored.encode(), shown.encode())
