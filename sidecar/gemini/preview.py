"""How many bytes requests would have: made by the SDK as for a run, and kept from the network."""

import httpx
import msgspec

from sidecar.gemini.client import open_client
from sidecar.gemini.requests import ApiVersion, FreePlace, Request
from sidecar.settings import Settings

_NO_KEY = "none"
"""The key travels in a header; without one the SDK makes no request at all."""
_ANSWER = {"candidates": [{"content": {"parts": [{"text": "[]"}]}, "finishReason": "STOP"}]}


class _Measure(httpx.AsyncBaseTransport):
    """Stands in the place of the network: measures the body, and answers as if Gemini had nothing to say."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sizes.append(len(await request.aread()))
        return httpx.Response(200, json=_ANSWER)


async def body_sizes(requests: list[Request], settings: Settings, version: ApiVersion) -> list[int]:
    """The bytes of each request's body. Raises GeminiError where none can be made at all."""
    measure = _Measure()
    with_key = msgspec.structs.replace(settings, api_key=settings.api_key or _NO_KEY)
    async with open_client(with_key, measure) as client:
        for request in requests:
            await client.generate(request, version.current, FreePlace())
    return measure.sizes
