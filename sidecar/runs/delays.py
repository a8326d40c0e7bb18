"""Until when nothing may be sent to Gemini, of each quota: what the process remembers from one run to the next."""

import math

from sidecar.settings import Settings


class Delays:
    """The delays that Gemini has asked for. Times are trio's clock's."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str | None, str], float] = {}

    def until(self, settings: Settings) -> float:
        """When a run with these settings may send its first request; -infinity where nothing is known."""
        return self._until.get(_quota(settings), -math.inf)

    def keep(self, settings: Settings, until: float) -> None:
        """A run with these settings has ended, and nothing may be sent before that time."""
        self._until[_quota(settings)] = until


def _quota(settings: Settings) -> tuple[str, str | None, str]:
    """What a delay that Gemini asks for is about: runs that differ in one of these do not wait for it."""
    return settings.base_url, settings.api_key, settings.model
