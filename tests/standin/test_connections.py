"""The stand-in for Gemini: its connections, who leaves, and its own end."""

import json
import socket
import subprocess
import sys

import httpx
import pytest
import trio
import trio.testing

from sidecar.demo.standin import Reply, StandIn, running
from tests.standin.scenes import PATHS, URL, items, tagging


async def test_latency_holds_answers_back_but_not_one_for_the_other(
    standin: StandIn, client: httpx.AsyncClient
) -> None:
    standin.latency_seconds = 0.5  # all ten arrive within it, on a busy machine too
    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(lambda: client.post(URL, json=tagging(*PATHS)))
    assert 0.5 <= trio.current_time() - begin < 8 * 0.5
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


async def test_who_has_left_is_no_longer_open_when_the_next_request_comes(standin: StandIn) -> None:
    """A client that gives up and asks again on another connection has one request open at a time."""
    standin.script = lambda _: Reply(delay_seconds=60)
    body = json.dumps(tagging(*PATHS)).encode()
    request = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (URL.encode(), len(body), body)
    address = standin.base_url.removeprefix("http://").split(":")
    for number in range(1, 21):
        first, second = (socket.create_connection((address[0], int(address[1]))) for _ in range(2))
        first.sendall(request)
        with trio.fail_after(5):
            await standin.wait_for(2 * number - 1)
        await trio.testing.wait_all_tasks_blocked(0.01)
        first.close()
        second.sendall(request)
        with trio.fail_after(5):
            await standin.wait_for(2 * number)
            second.close()
            await standin.wait_until_idle()
    assert standin.peak_open_requests == 1


async def test_nonsense_on_one_connection_harms_no_other(standin: StandIn, client: httpx.AsyncClient) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", httpx.URL(standin.base_url).port or 0)
    async with stream:
        await stream.send_all(b"\x16\x03\x01 hello\r\n\r\n")
        with trio.fail_after(5):
            assert await stream.receive_some() == b""
    assert len(items(await client.post(URL, json=tagging(*PATHS)))) == 3


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
