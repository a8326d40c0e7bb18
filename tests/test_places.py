"""gemini.places: answers are unpacked and bounded, whatever they were packed into."""

import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator

import httpx
import pytest

from sidecar.demo import standin
from sidecar.gemini.client import open_client
from sidecar.gemini.failures import Failure, GeminiError
from sidecar.gemini.places import LARGEST_ANSWER_BYTES
from sidecar.gemini.replies import Answer
from sidecar.gemini.requests import FreePlace, Request
from sidecar.settings import Settings

# Where a body is not read to its end, httpx leaves its generators to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

PACKED = {"content-encoding": "gzip"}
ENVELOPE = json.dumps(standin.text_reply("fine").body).encode()


class Pieces(httpx.AsyncByteStream):
    """A body that comes in pieces of 64 kB, as from a socket."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), 65_536):
            yield self._body[start : start + 65_536]


async def answered(body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> Answer:
    """What the client makes of that answer. Raises GeminiError."""
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["accept-encoding"])
        return httpx.Response(status, headers=headers, stream=Pieces(body))

    settings = Settings(api_key="key", base_url="http://gemini.invalid")
    async with open_client(settings, httpx.MockTransport(handler)) as client:
        try:
            return await client.generate(Request("rules", "files", None), "v1beta", FreePlace())
        finally:
            assert seen == ["gzip"], "no packing is offered that cannot be bounded"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (ENVELOPE, {}),
        (ENVELOPE, {"content-encoding": "identity"}),
        (gzip.compress(ENVELOPE), PACKED),
        (gzip.compress(ENVELOPE), {"content-encoding": " GZIP "}),
        (gzip.compress(ENVELOPE + b" " * 3_000_000), PACKED),
    ],
)
async def test_an_answer_is_read_as_it_is_and_packed(body: bytes, headers: dict[str, str]) -> None:
    assert (await answered(body, headers)).reply.text == "fine"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b" " * (LARGEST_ANSWER_BYTES + 1), {}),
        (gzip.compress(b" " * (LARGEST_ANSWER_BYTES + 1)), PACKED),
        (b"\x1f\x8b\x08garbage", PACKED),
        (ENVELOPE, PACKED),
        (ENVELOPE, {"content-encoding": "br"}),
        (ENVELOPE, {"content-encoding": "gzip, gzip"}),
    ],
)
async def test_an_answer_too_large_or_packed_otherwise_is_a_page_of_somebody_else(
    body: bytes, headers: dict[str, str]
) -> None:
    with pytest.raises(GeminiError) as raised:
        await answered(body, headers)
    assert raised.value.kind is Failure.FOREIGN_PAGE


@pytest.mark.parametrize("lacks_bytes", [1, 8, 20, len(gzip.compress(ENVELOPE)) // 2])
async def test_a_packed_answer_that_is_cut_off_may_come_whole_another_time(lacks_bytes: int) -> None:
    with pytest.raises(GeminiError) as raised:
        await answered(gzip.compress(ENVELOPE)[:-lacks_bytes], PACKED)
    assert raised.value.kind is Failure.UNAVAILABLE


@pytest.mark.parametrize("status", [200, 503])
async def test_an_answer_that_unfolds_to_300_mb_costs_no_memory(status: int) -> None:
    bomb = gzip.compress(b" " * 300_000_000)
    await answered(ENVELOPE)  # the SDK is loaded
    tracemalloc.start()
    try:
        with pytest.raises(GeminiError):
            await answered(bomb, PACKED, status)
        assert tracemalloc.get_traced_memory()[1] < 4 * LARGEST_ANSWER_BYTES
    finally:
        tracemalloc.stop()
