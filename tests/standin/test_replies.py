"""The stand-in for Gemini: replies that a test has ready for it."""

from typing import Any

import httpx
import pytest
import trio

from sidecar.demo import standin as api
from sidecar.demo.standin import Reply, StandIn
from tests.standin.scenes import PATHS, URL, items, tagging


@pytest.mark.parametrize(
    ("reply", "status", "expected"),
    [
        (api.ok([{"id": 1}]), 200, '"[{\\"id\\":1}]"'),
        (api.text_reply("oops", finish="MAX_TOKENS"), 200, '"finishReason":"MAX_TOKENS"'),
        (api.finish("RECITATION"), 200, '"finishReason":"RECITATION"'),
        (api.blocked_prompt(), 200, '"blockReason":"PROHIBITED_CONTENT"'),
        (api.html_page(), 200, "<!DOCTYPE html>"),
        (api.error(500, "An internal error.", "INTERNAL"), 500, '"status":"INTERNAL"'),
        (api.rate_limited("4.2s"), 429, '"retryDelay":"4.2s"'),
        (api.per_day(), 429, '"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"'),
        (api.key_invalid(), 400, '"reason":"API_KEY_INVALID"'),
        (api.unavailable(), 503, '"status":"UNAVAILABLE"'),
        (api.model_not_found(), 404, "is not found for API version"),
        (api.unknown_name("systemInstruction"), 400, "Unknown name"),
    ],
)
async def test_ready_replies_have_the_real_shapes(
    standin: StandIn, client: httpx.AsyncClient, reply: Reply, status: int, expected: str
) -> None:
    standin.script = lambda _: reply
    response = await client.post(URL, json=tagging(*PATHS))
    assert response.status_code == status
    assert expected in response.text


async def test_headers_of_a_reply_are_sent(standin: StandIn, client: httpx.AsyncClient) -> None:
    replies = iter([api.unavailable(retry_after="7"), api.html_page()])
    standin.script = lambda _: next(replies)
    assert (await client.post(URL)).headers["retry-after"] == "7"
    assert (await client.post(URL)).headers["content-type"].startswith("text/html")


async def test_a_reply_without_a_body_is_the_normal_answer_each_time_anew(
    standin: StandIn, client: httpx.AsyncClient
) -> None:
    reply = Reply(headers={"x-seen": "1"})
    standin.script = lambda _: reply
    assert len(items(await client.post(URL, json=tagging(*PATHS)))) == 3
    assert len(items(await client.post(URL, json=tagging(PATHS[0])))) == 1


@pytest.mark.parametrize("drop", ["before", "mid"])
@pytest.mark.parametrize("reset", [True, False])
async def test_a_dropped_connection_is_a_transport_error_and_the_next_request_succeeds(
    standin: StandIn, client: httpx.AsyncClient, drop: Any, reset: bool
) -> None:
    standin.script = lambda received: Reply(drop=drop, reset=reset) if received.number == 1 else None
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        await client.post(URL, json=tagging(*PATHS))
    assert standin.open_requests == 0, "the client may ask again at once"
    assert standin.journal[0].status is None
    assert len(items(await client.post(URL, json=tagging(*PATHS)))) == 3
    assert (standin.arrived, standin.answered) == (2, 1)


async def test_a_reset_is_a_real_reset(standin: StandIn) -> None:
    standin.script = lambda _: Reply(drop="before")
    stream = await trio.open_tcp_stream("127.0.0.1", httpx.URL(standin.base_url).port or 0)
    async with stream:
        await stream.send_all(f"POST {URL} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode())
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError) as caught:
            await stream.receive_some()
    assert isinstance(caught.value.__cause__, ConnectionResetError)


async def test_a_drip_is_slow_and_whole(standin: StandIn, client: httpx.AsyncClient) -> None:
    standin.script = lambda _: Reply(body=b"0123456789", drip_bytes_per_second=200)
    begin = trio.current_time()
    assert (await client.post(URL)).content == b"0123456789"
    # Ten bytes, the last without a wait behind it.
    assert trio.current_time() - begin >= 0.04
