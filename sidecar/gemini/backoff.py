"""How long to wait before a request is sent again: the settings that bound it, and full jitter. Pure."""

from msgspec import Struct


class Limits(Struct, frozen=True):
    """The settings that bound retries; seconds unless the name says otherwise."""

    max_attempts: int
    backoff_base_seconds: float
    backoff_max_seconds: float
    outage_max_seconds: float


def backoff(failures: int, limits: Limits, jitter: float) -> float:
    """Full-jitter exponential backoff in seconds; `jitter` is uniform in [0, 1), `failures` from 1.

    Source: the "full jitter" of the AWS architecture blog, 2015.
    """
    exponent = min(failures - 1, 32)
    return jitter * min(limits.backoff_max_seconds, limits.backoff_base_seconds * 2.0**exponent)
