"""Real HTTP, stamped on the client's side: when a request left, and when its refusal could be known.

A server knows neither: what it has announced may not have reached the client, and what reaches it may have been
under way. So its own count needs a grace, and this one none.
"""

import itertools
import ssl
from typing import Any, Final

import httpx
import trio

from sidecar.demo.standin import Received, Reply, Script
from tests.trust.virtual import Exchange, announced_seconds, refusals

NUMBER: Final = "x-exchange"


class Stamped(httpx.AsyncBaseTransport):
    """httpx's own transport; `journal` has each request from its first byte on, in order.

    An exchange is over, and its delay begins, with the head of its answer: who has read that knows of a refusal.
    """

    def __init__(self) -> None:
        self.journal: list[Exchange] = []
        self._announced: dict[str, float] = {}
        self._numbers = itertools.count()
        self._http = httpx.AsyncHTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def script(self, script: Script) -> Script:
        """That script of a stand-in's, its delays made known to the journal."""

        def known(received: Received) -> Reply | None:
            reply = script(received)
            if reply is not None:
                self._announced[received.headers[NUMBER]] = announced_seconds(reply)
            return reply

        return known

    def refused(self) -> int:
        """How many answers have asked for a delay so far."""
        return len(refusals(self.journal))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises as the transport does, and NotSent where the request may not be sent any more."""
        trace, number = request.extensions["trace"], str(next(self._numbers))
        sent = list[Exchange]()

        async def stamped(event: str, info: dict[str, Any]) -> None:
            await trace(event, info)
            if event.endswith("send_request_headers.started"):
                sent.append(Exchange(trio.current_time()))
                self.journal += sent

        request.extensions["trace"] = stamped
        request.headers[NUMBER] = number
        response = await self._http.handle_async_request(request)
        [exchange] = sent
        exchange.over_at = trio.current_time()
        exchange.closed_until = exchange.over_at + self._announced.pop(number, 0)
        return response

    async def aclose(self) -> None:
        await self._http.aclose()
