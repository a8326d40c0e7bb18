"""The stand-in for Gemini, asked by a real httpx client over real sockets."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trio

from sidecar.demo import standin as api
from sidecar.demo.standin import Received, Reply, ServerRate, StandIn, running
from sidecar.demo.vocabulary import INVENTED, VOCABULARY

URL = "/v1/models/gemini-3.5-flash-lite:generateContent"
PATHS = ["Dungeon/Water Drips 03.mp3", "Tavern/Bar Brawl 01.wav", "Music/Ambient/夜の森 02.flac"]


@pytest.fixture
async def standin() -> AsyncIterator[StandIn]:
    async with running() as standin:
        yield standin


@pytest.fixture
async def client(standin: StandIn) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=standin.base_url, timeout=10, trust_env=False) as client:
        yield client


def request_body(user: dict[str, Any], system: str = "Tag these sounds.") -> dict[str, Any]:
    return {
        "systemInstruction": {"parts": [{"text": system}]},
        "contents": [{"role": "user", "parts": [{"text": json.dumps(user)}]}],
        "generationConfig": {"responseMimeType": "application/json"},
    }


def tagging(*paths: str) -> dict[str, Any]:
    return request_body({"files": [{"id": n, "path": path} for n, path in enumerate(paths, 1)]})


def items(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    value = json.loads(response.json()["candidates"][0]["content"]["parts"][0]["text"])
    assert isinstance(value, list)
    return value


def vocabulary(tag_type: str) -> set[str]:
    return {value for kind, value, _, _ in VOCABULARY if kind == tag_type}


async def test_the_normal_answer_tags_every_file_from_the_vocabulary(client: httpx.AsyncClient) -> None:
    answer = items(await client.post(URL, json=tagging(*PATHS)))
    assert [item["id"] for item in answer] == [1, 2, 3]
    for item in answer:
        assert item["genre"] in vocabulary("genre")
        assert 1 <= len(item["moods"]) <= 3 and set(item["moods"]) <= vocabulary("mood")
        assert 1 <= len(item["occasions"]) <= 2 and set(item["occasions"]) <= vocabulary("occasion")
        assert 3 <= len(item["keywords"]) <= 6 and set(item["keywords"]) <= vocabulary("keywords")
    assert {"element:water", "place:dungeon"} <= set(answer[0]["keywords"])
    assert answer == items(await client.post(URL, json=tagging(*PATHS)))


async def test_the_answer_has_the_fields_of_a_real_one(client: httpx.AsyncClient) -> None:
    first = (await client.post(URL, json=tagging(*PATHS))).json()
    again = (await client.post(URL, json=tagging(*PATHS))).json()
    assert set(first) == {"candidates", "usageMetadata", "modelVersion", "responseId"}
    assert first["modelVersion"] == "gemini-3.5-flash-lite"
    usage = first["usageMetadata"]
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"]
    assert "cachedContentTokenCount" not in usage
    assert 0 < again["usageMetadata"]["cachedContentTokenCount"] < usage["promptTokenCount"]


async def test_a_share_of_the_files_carries_invented_tags_and_the_mapping_knows_them(
    standin: StandIn, client: httpx.AsyncClient
) -> None:
    standin.hallucinate = 1.0
    answer = items(await client.post(URL, json=tagging(*(f"a/{n}.mp3" for n in range(60)))))
    invented = {tag for _, tag in INVENTED}
    for item in answer:
        assert invented & {item["genre"], *item["moods"], *item["occasions"], *item["keywords"]}
    asked = [{"type": kind, "tag": tag} for kind, tag in INVENTED] + [{"type": "mood", "tag": "never heard"}]
    mapped = items(await client.post(URL, json=request_body({"invalid_tags": asked})))
    assert [(each["type"], each["invalid"]) for each in mapped] == [(a["type"], a["tag"]) for a in asked]
    assert [each["valid"] for each in mapped] == [*INVENTED.values(), None]


async def test_the_journal_tells_what_arrived(standin: StandIn, client: httpx.AsyncClient) -> None:
    await client.post(URL, json=tagging(*PATHS), headers={"X-Goog-Api-Key": "k"})
    await client.post(URL, json=request_body({"invalid_tags": [{"type": "mood", "tag": "x"}]}))
    await client.post(URL, content=b"{not json")
    first, second, third = standin.journal
    assert (first.number, first.method, first.path, first.kind) == (1, "POST", URL, "tagging")
    assert [file["path"] for file in first.files] == PATHS
    assert first.system == "Tag these sounds."
    assert first.json["generationConfig"] == {"responseMimeType": "application/json"}
    assert first.headers["x-goog-api-key"] == "k"
    assert (second.kind, second.invalid_tags) == ("mapping", [{"type": "mood", "tag": "x"}])
    assert (third.kind, third.files) == ("other", [])
    assert [received.status for received in standin.journal] == [200, 200, 200]
    assert first.at <= second.at <= third.at


async def test_models_are_listed_and_other_paths_are_not_found(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1beta/models?pageSize=5")).json()["models"]
    assert "models/gemini-3.5-flash-lite" in [model["name"] for model in listed]
    one = (await client.get("/v1/models/gemini-3.8-flash")).json()
    assert one["name"] == "models/gemini-3.8-flash"
    for method, path in (("GET", "/v2/models"), ("POST", "/v1/models"), ("GET", URL), ("POST", "/")):
        response = await client.request(method, path)
        assert response.status_code == 404, path
        assert response.json()["error"]["status"] == "NOT_FOUND"


async def test_another_key_is_refused_as_google_does(standin: StandIn, client: httpx.AsyncClient) -> None:
    standin.api_key = "right"
    for headers in ({}, {"x-goog-api-key": "wrong"}):
        response = await client.post(URL, json=tagging(*PATHS), headers=headers)
        assert response.status_code == 400
        assert response.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    response = await client.post(URL, json=tagging(*PATHS), headers={"x-goog-api-key": "right"})
    assert response.status_code == 200


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


async def test_latency_holds_answers_back_but_not_one_for_the_other(
    standin: StandIn, client: httpx.AsyncClient
) -> None:
    standin.latency_seconds = 0.05
    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(lambda: client.post(URL, json=tagging(*PATHS)))
    assert 0.05 <= trio.current_time() - begin < 0.4
    assert (standin.answered, standin.peak_open_requests, standin.open_requests) == (10, 10, 0)


async def test_connections_are_kept_alive(client: httpx.AsyncClient, standin: StandIn) -> None:
    streams = set()
    for _ in range(3):
        response = await client.post(URL, json=tagging(*PATHS))
        streams.add(response.extensions["network_stream"].get_extra_info("client_addr"))
    assert len(streams) == 1


async def test_a_client_that_leaves_is_noticed_while_its_answer_waits(
    standin: StandIn, client: httpx.AsyncClient
) -> None:
    gate = trio.Event()
    standin.script = lambda received: Reply(gate=gate) if received.number <= 2 else None
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(lambda: client.post(URL, json=tagging(*PATHS)))
        with trio.fail_after(5):
            await standin.wait_for(2)
        assert standin.open_requests == 2
        nursery.cancel_scope.cancel()
    with trio.fail_after(1):
        await standin.wait_until_idle()
    assert standin.answered == 0
    assert len(items(await client.post(URL, json=tagging(*PATHS)))) == 3


async def test_a_client_that_leaves_in_the_middle_of_its_request_or_of_a_drip_is_noticed(
    standin: StandIn,
) -> None:
    standin.script = lambda _: Reply(drip_bytes_per_second=20)
    for sent, promised in ((0, 10), (10, 10)):
        stream = await trio.open_tcp_stream("127.0.0.1", httpx.URL(standin.base_url).port or 0)
        head = f"POST {URL} HTTP/1.1\r\nhost: x\r\ncontent-length: {promised}\r\n\r\n"
        await stream.send_all(head.encode() + b"x" * sent)
        with trio.fail_after(5):
            while not standin.open_requests:
                await trio.lowlevel.checkpoint()
            if sent == promised:
                await stream.receive_some()
            await stream.aclose()
            await standin.wait_until_idle()
    assert (standin.arrived, standin.answered) == (1, 0)


async def test_nonsense_on_one_connection_harms_no_other(standin: StandIn, client: httpx.AsyncClient) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", httpx.URL(standin.base_url).port or 0)
    async with stream:
        await stream.send_all(b"\x16\x03\x01 hello\r\n\r\n")
        with trio.fail_after(5):
            assert await stream.receive_some() == b""
    assert len(items(await client.post(URL, json=tagging(*PATHS)))) == 3


async def test_a_server_rate_refuses_what_is_beyond_it(standin: StandIn, client: httpx.AsyncClient) -> None:
    standin.script = rate = ServerRate(limit=2, per_seconds=60)
    standin.latency_seconds = 0.01
    statuses = [(await client.post(URL, json=tagging(*PATHS))).status_code for _ in range(3)]
    assert (statuses, rate.refused, rate.early) == ([200, 200, 429], 1, [])


def received_at(at: float, method: str = "POST") -> Received:
    return Received(1, at, method, URL, {}, b"")


def announced_seconds(reply: Reply) -> float:
    assert isinstance(reply.body, dict)
    return float(reply.body["error"]["details"][-1]["retryDelay"].removesuffix("s"))


def test_a_client_that_waits_as_long_as_announced_is_served() -> None:
    rate = ServerRate(limit=1, per_seconds=0.3)
    for begin in (0.1, 7.7, 1234.56789):
        assert rate(received_at(begin)) is None
        refusal = rate(received_at(begin + 0.1))
        assert refusal is not None
        assert rate(received_at(begin + 0.1 + announced_seconds(refusal))) is None
    assert rate.early == []


def test_a_server_rate_records_who_comes_before_the_announced_delay_has_passed() -> None:
    rate = ServerRate(limit=1, per_seconds=10)
    assert rate(received_at(0)) is None
    refusal = rate(received_at(1))
    assert refusal is not None and refusal.status == 429 and refusal.delay_seconds == 0
    assert announced_seconds(refusal) == pytest.approx(9.001)
    on_its_way, early = received_at(1.01), received_at(5)
    assert rate(on_its_way) is not None and rate(early) is not None
    assert rate(received_at(6, "GET")) is None
    assert rate(received_at(10)) is None
    assert rate.early == [early] and rate.refused == 3


async def test_an_exception_of_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with running():
            raise ZeroDivisionError


async def test_leaving_cuts_what_is_open_and_frees_the_port() -> None:
    failures: list[httpx.HTTPError] = []

    async def ask(base_url: str) -> None:
        async with httpx.AsyncClient(base_url=base_url, timeout=10, trust_env=False) as client:
            try:
                await client.post(URL)
            except httpx.HTTPError as error:
                failures.append(error)

    never = Reply(gate=trio.Event())
    async with trio.open_nursery() as nursery, running(script=lambda _: never) as standin:
        nursery.start_soon(ask, standin.base_url)
        await standin.wait_for(1)
    assert len(failures) == 1
    async with running(port=httpx.URL(standin.base_url).port or 0) as again:
        assert again.base_url == standin.base_url


async def test_the_command_serves_until_its_stdin_ends() -> None:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "sidecar.demo.standin", "--latency", "0.01", "--hallucinate", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    with trio.fail_after(10):
        line = b""
        while not line.endswith(b"\n"):
            line += await process.stdout.receive_some()
        async with httpx.AsyncClient(base_url=line.decode().strip(), trust_env=False) as client:
            assert len(items(await client.post(URL, json=tagging(*PATHS)))) == 3
        await process.stdin.aclose()
        assert await process.wait() == 0
    await process.stdout.aclose()
