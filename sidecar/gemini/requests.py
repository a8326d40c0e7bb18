"""What is asked of Gemini and under which conditions; nothing in here needs httpx or the SDK.

Importing those costs a start time and memory that only calls to Gemini have to pay: see `opening`.
"""

from typing import Any, Protocol

from msgspec import Struct

API_VERSIONS = ("v1beta", "v1")
"""Tried in this order: the SDK's default `v1` has refused `systemInstruction` before (req_llm#162)."""


class Request(Struct, frozen=True):
    """What is asked. `schema` is an OpenAPI subset; None sends none (but still asks for JSON).

    `flex`: on the tier that costs half, and that Gemini may turn away with a 503 when it is busy.
    """

    system: str
    text: str
    schema: dict[str, Any] | None
    flex: bool = False


class ApiVersion:
    """Which API version requests to one server begin with: the other one, once it has refused a field."""

    def __init__(self) -> None:
        self.current = API_VERSIONS[0]

    def without(self, refused: frozenset[str]) -> str:
        """The version for a request that these have refused; `refused` must not be all of them."""
        return self.current if self.current not in refused else _other(self.current)

    def refuse(self, version: str) -> None:
        """Remembers that a field is unknown to `version`."""
        if version == self.current:
            self.current = _other(version)


class ApiVersions:
    """What the process knows of each server, by base URL; remembered across runs."""

    def __init__(self) -> None:
        self._known: dict[str, ApiVersion] = {}

    def at(self, base_url: str) -> ApiVersion:
        """That server's; one that is not known yet starts afresh."""
        return self._known.setdefault(base_url.rstrip("/"), ApiVersion())


def _other(version: str) -> str:
    return next(other for other in API_VERSIONS if other != version)


class NotSent(Exception):  # noqa: N818 - nothing went wrong
    """The way was closed in the last instant: not a byte of the request left."""


class Place(Protocol):
    """From just before a request's first byte to the last of its answer."""

    async def enter(self) -> None:
        """Waits for the turn. Raises NotSent."""

    def check(self) -> None:
        """In the last instant before the first byte (a TLS handshake may lie before it). Raises NotSent."""

    def refused(self) -> None:
        """Its answer may ask for a delay, but has not been read yet: nobody sends before it has been judged."""

    def answered(self) -> None:
        """Its answer, which is no refusal, is complete, but has not been read yet."""

    def leave(self) -> None:
        """The turn is over. Idempotent."""


class FreePlace:
    """For single requests outside of runs: always theirs."""

    async def enter(self) -> None:
        """At once."""

    def check(self) -> None:
        """Never closed."""

    def refused(self) -> None:
        """Nobody else to hold."""

    def answered(self) -> None:
        """As `leave`."""

    def leave(self) -> None:
        """Nothing to give back."""
