"""CONTRACT section 6: a service that fails, for a moment, for long or for good."""

import itertools
import os
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from sidecar.demo import standin
from sidecar.demo.standin import Received, Reply
from tests import harness

UNUSABLE: list[Callable[[], Reply]] = [standin.html_page, lambda: standin.finish("STOP")]


@pytest.mark.parametrize(
    ("reply", "status", "word"),
    [
        (standin.per_day(), "quota_exhausted", "PerDay"),
        (standin.rate_limited("4000s"), "quota_exhausted", "wait until"),
        (standin.key_invalid(), "failed", "API key"),
        (standin.model_not_found(), "failed", "LIGEIA_MODEL"),
        (standin.error(403, "Permission denied.", "PERMISSION_DENIED"), "failed", "key"),
        (standin.error(401, "Request had invalid credentials.", "UNAUTHENTICATED"), "failed", "key"),
    ],
)
async def test_what_no_later_request_can_mend_ends_the_run_at_once(
    tmp_path: Path, reply: Reply, status: str, word: str
) -> None:
    library = harness.library(tmp_path, 60)
    async with standin.running(script=lambda _: reply) as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag(batch_size=10, max_parallel=1)
        assert done["status"] == status and word in done["message"] and not done["success"]
        assert gemini.arrived == done["usage"]["requests"] == 1 and done["remaining_files"] == 60
    assert library.tagged == 0


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_page_that_refuses_in_geminis_place_says_nothing_of_key_or_model(
    tmp_path: Path, status: int
) -> None:
    library = harness.library(tmp_path, 60)
    blocked = Reply(status, b"<html>Blocked by your administrator</html>", {"content-type": "text/html"})
    async with standin.running(script=lambda _: blocked) as gemini, harness.start(library, gemini) as subject:
        done = await subject.tag(batch_size=10, max_parallel=1)
    assert (done["status"], done["remaining_files"], gemini.arrived) == ("failed", 60, 1)
    assert done["message"].startswith(
        f"Something other than Gemini has answered (HTTP {status}). Check the network and, if"
    )


async def test_a_bad_key_ends_the_run_and_is_shown_to_nobody(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    reply = standin.key_invalid(f"API key not valid: {harness.KEY}. Please pass a valid API key.")
    async with (
        standin.running(script=lambda _: reply) as gemini,
        harness.start(library, gemini, arguments=["--log-level", "debug"]) as subject,
    ):
        done = await subject.tag(batch_size=10, max_parallel=1)
        assert (done["status"], done["remaining_files"], done["failed_files"]) == ("failed", 60, 0)
        assert "API key" in done["message"] and gemini.arrived == 1
        assert await subject.result("check_gemini_api_key", verify=True) is False
        await subject.close_stdin()
        assert await subject.exit_code() == 0
        assert harness.KEY.encode() not in b"".join(subject.raw) + subject.log
        assert library.tagged == 0


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("GOOGLE_GEMINI_BASE_URL", "http://[::1", "`base_url` setting (GOOGLE_GEMINI_BASE_URL)"),
        ("GOOGLE_GEMINI_BASE_URL", "http://a..b", "`base_url` setting (GOOGLE_GEMINI_BASE_URL)"),
        ("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:99999", "port"),
        ("LIGEIA_MODEL", "../models/gemini", "`model` setting (LIGEIA_MODEL)"),
        ("LIGEIA_MODEL", "gemini?alt=sse", "`model` setting (LIGEIA_MODEL)"),
        ("LIGEIA_MODEL", "gemini#lite", "`model` setting (LIGEIA_MODEL)"),
        ("LIGEIA_MODEL", "gemini-\udcff", "`model` setting (LIGEIA_MODEL)"),
        ("http_proxy", "http://a..b", "proxy settings"),
        ("http_proxy", "http://[::1", "proxy"),
    ],
)
async def test_an_address_that_cannot_be_used_ends_the_run_and_is_held_against_no_file(
    tmp_path: Path, variable: str, value: str, words: str
) -> None:
    library = harness.library(tmp_path, 60)
    # No loopback address: machines are often set up to reach those without a proxy.
    env = {"no_proxy": None, "NO_PROXY": None, "GOOGLE_GEMINI_BASE_URL": "http://gemini.invalid", variable: value}
    async with harness.start(library, env=env) as subject:
        await subject.result("configure", **harness.FAST)
        done = await subject.tag(batch_size=10)
        assert (done["status"], done["failed_files"], done["remaining_files"]) == ("failed", 0, 60)
        assert words in done["message"]
        assert done["message"].startswith("Requests cannot be sent with these settings")
        assert (await subject.result("get_run"))["failures"] == []


@pytest.mark.parametrize("name", ["google.genai.client", "httpx"])
async def test_a_part_of_the_program_that_is_missing_is_told_as_that(tmp_path: Path, name: str) -> None:
    library = harness.library(tmp_path, 20)
    hook = tmp_path / "broken" / "sitecustomize.py"
    hook.parent.mkdir()
    hook.write_text(f"import sys\nsys.modules[{name!r}] = None\n")
    env = {"PYTHONPATH": os.pathsep.join([str(hook.parent), *sys.path])}
    async with standin.running() as gemini, harness.start(library, gemini, env=env) as subject:
        done = await subject.tag()
        assert (done["status"], done["failed_files"], done["remaining_files"]) == ("failed", 0, 20)
        told = f"a part of the program is missing or blocked ({name}); install the program again"
        assert told in done["message"] and "settings" not in done["message"]
        for method, params in (
            ("check_gemini_api_key", {"verify": True}),
            ("preview_request", {"file_ids": [1]}),
        ):
            error = await subject.error(method, **params)
            assert error["code"] == -32013 and told in error["message"]
        assert gemini.arrived == 0


FULL = """
import errno, os, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r} and os.path.exists({filler!r}):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

sys.meta_path.insert(0, Finder())
"""
"""A onefile unpacks what only calls to Gemini need when it is imported."""


@pytest.mark.parametrize("name", ["google.genai.client", "httpx"])
async def test_a_part_of_the_program_that_finds_no_room_is_told_as_that_and_loaded_once_there_is(
    tmp_path: Path, name: str
) -> None:
    library, filler = harness.library(tmp_path, 20), tmp_path / "filler"
    filler.touch()
    hook = tmp_path / "full" / "sitecustomize.py"
    hook.parent.mkdir()
    hook.write_text(FULL.format(name=name, filler=str(filler)))
    env = {"PYTHONPATH": os.pathsep.join([str(hook.parent), *sys.path])}
    async with standin.running() as gemini, harness.start(library, gemini, env=env) as subject:
        told = "a part of the program cannot be unpacked or read (No space left on device)"
        done = await subject.tag()
        assert (done["status"], done["failed_files"], done["remaining_files"]) == ("failed", 0, 20)
        assert told in done["message"]
        error = await subject.error("check_gemini_api_key", verify=True)
        assert error["code"] == -32013 and told in error["message"]
        filler.unlink()
        done = await subject.tag()
        assert (done["status"], done["processed_files"]) == ("completed", 20)


async def test_certificates_of_the_programs_own_that_are_gone_are_no_setting(tmp_path: Path) -> None:
    """Who cleans a temp folder takes them out of what a onefile has unpacked there."""
    library = harness.library(tmp_path, 1)
    hook = tmp_path / "gone" / "sitecustomize.py"
    hook.parent.mkdir()
    hook.write_text("import certifi\ncertifi.where = lambda: '/nowhere/cacert.pem'\n")
    env: dict[str, str | None] = dict.fromkeys(("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"))
    env["PYTHONPATH"] = os.pathsep.join([str(hook.parent), *sys.path])
    env["GOOGLE_GEMINI_BASE_URL"] = "https://127.0.0.1:9"
    async with harness.start(library, env=env) as subject:
        message = (await subject.error("check_gemini_api_key", verify=True))["message"]
    assert "a part of the program cannot be unpacked or read (No such file or directory)" in message
    assert "settings" not in message


async def test_a_base_url_that_cannot_be_used_is_refused_when_it_is_set(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    async with standin.running() as gemini, harness.start(library, gemini) as subject:
        for url in ("http://[::1", "http://a..b", "http://h:99999", "http://:80", "http://\u2603.example"):
            error = await subject.error("configure", base_url=url, batch_size=3)
            assert error["code"] == -32602 and "`base_url`" in error["message"]
        done = await subject.tag()
        assert (done["processed_files"], done["total_batches"]) == (20, 1), "nothing of what was refused counts"


@pytest.mark.parametrize(
    "reply",
    [
        standin.unavailable(),
        standin.error(500, "An internal error has occurred.", "INTERNAL"),
        standin.html_page(),
        standin.finish("STOP"),
        Reply(drop="before"),
        Reply(drop="mid"),
        standin.text_reply("no json at all"),
        standin.error(
            400, "The specified schema produces a constraint that has too many states.", "INVALID_ARGUMENT"
        ),
        standin.unknown_name("systemInstruction"),
        standin.rate_limited(None),
    ],
)
async def test_what_passes_costs_no_file(tmp_path: Path, reply: Reply) -> None:
    library = harness.library(tmp_path, 40)
    async with (
        standin.running(script=lambda received: reply if received.number == 1 else None) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST)
        done = await subject.tag(batch_size=20, max_parallel=1)
        assert done["processed_files"] == 40, done
    assert library.tagged == 40


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_a_passing_failure_is_tried_again(tmp_path: Path, status: int) -> None:
    library = harness.library(tmp_path, 20)
    failing = standin.error(status, "An internal error has occurred.", "INTERNAL")
    async with (
        standin.running(script=lambda r: failing if r.number <= 4 else None) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST)
        done = await subject.tag()
        assert (done["processed_files"], done["usage"]["requests"], done["usage"]["retries"]) == (20, 5, 4)
        assert gemini.arrived == 5
        assert library.tagged == 20


@pytest.mark.parametrize(
    "refusal",
    [
        Reply(body="<html>Dienst nicht verfügbar</html>".encode("latin-1")),
        Reply(body=b"[" * 100_000),
        Reply(body=b"<html>", headers={"content-encoding": "gzip"}),
        Reply(body=b"<html>", headers={"content-encoding": "br"}),
        Reply(body=b"<html>", drop="mid"),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_refusal_is_what_its_number_says_whatever_its_page_holds(
    tmp_path: Path, status: int, refusal: Reply
) -> None:
    library = harness.library(tmp_path, 20)
    failing = replace(refusal, status=status, headers={**refusal.headers, "retry-after": "0.2"})
    async with (
        standin.running(script=lambda r: failing if r.number <= 4 else None) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST)
        done = await subject.tag()
        assert (done["processed_files"], done["failed_files"], done["usage"]["requests"]) == (20, 0, 5)
        assert all(later.at - one.at >= 0.2 for one, later in itertools.pairwise(gemini.journal))


@pytest.mark.parametrize("status", [400, 403])
async def test_a_refusal_of_a_kind_that_only_its_page_tells_is_asked_for_again_where_that_breaks_off(
    tmp_path: Path, status: int
) -> None:
    library = harness.library(tmp_path, 20)
    broken = replace(standin.key_invalid("No."), status=status, drop="mid")
    async with (
        standin.running(script=lambda r: broken if r.number == 1 else None) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST)
        done = await subject.tag()
        assert (done["processed_files"], done["usage"]["requests"]) == (20, 2)


async def test_a_file_that_lacks_a_tag_of_its_own_does_not_fail_for_anothers_unknown_tags(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 3)
    plain: dict[str, Any] = {"genre": "folk:tavern", "moods": ["calm"], "occasions": ["inn-rest"], "keywords": []}
    odd: dict[int, dict[str, Any]] = {1: {"occasions": [], "keywords": ["zork:blorb"]}, 2: {"genre": ""}, 3: {}}

    def script(received: Received) -> Reply:
        if received.kind == "mapping":
            return standin.unavailable()
        return standin.ok([{**plain, **odd[file["id"]], "id": file["id"]} for file in received.files])

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.result("configure", max_attempts=1)
        assert (await subject.tag(file_ids=[1, 2, 3]))["processed_files"] == 1
        failures = (await subject.result("get_run"))["failures"]
    assert [failure["reason"] for failure in failures] == ["service_unavailable", "invalid_tags"]


async def test_a_lasting_failure_fails_its_files_and_the_run_goes_on(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 30)
    bad = library.name(5)

    def script(received: Received) -> Reply | None:
        if any(file["path"].endswith(bad) for file in received.files):
            return standin.error(500, "An internal error has occurred.", "INTERNAL")
        return None

    async with standin.running(script=script) as gemini, harness.start(library, gemini) as subject:
        await subject.result("configure", **harness.FAST)
        done = await subject.tag(batch_size=10, max_parallel=1)
        assert (done["processed_files"], done["failed_files"], done["status"]) == (20, 10, "completed")
        failures = (await subject.result("get_run"))["failures"]
        assert {failure["reason"] for failure in failures} == {"service_unavailable"}
        assert library.tagged == 20


@pytest.mark.parametrize(
    ("reply", "ending"),
    [
        (
            standin.error(400, "User location is not supported for the API use.", "FAILED_PRECONDITION"),
            ": User location is not supported for the API use. The key of a project with billing may help.",
        ),
        (
            standin.error(503, "The model is overloaded.", "UNAVAILABLE"),
            ": The model is overloaded. Try again later.",
        ),
        (Reply(drop="before"), ". Check the network and the settings, then try again."),
        (standin.html_page(), ". Check the network and the settings, then try again."),
        *(
            (Reply(status, "<html>Sign in</html>", {"content-type": "text/html"}), "the base URL, then try again.")
            for status in (400, 403, 404, 405, 407, 429, 451)
        ),
        (Reply(503, "<html>503</html>", {"content-type": "text/html"}), "Try again later."),
    ],
)
async def test_a_check_of_the_key_in_vain_says_what_helps(tmp_path: Path, reply: Reply, ending: str) -> None:
    library = harness.library(tmp_path, 1)
    async with standin.running(script=lambda _: reply) as gemini, harness.start(library, gemini) as subject:
        message = (await subject.error("check_gemini_api_key", verify=True))["message"]
        assert message.endswith(ending)


async def test_a_run_that_meets_another_page_than_geminis_ends_with_what_to_look_at(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 4)
    page = standin.html_page()
    async with standin.running(script=lambda _: page) as gemini, harness.start(library, gemini) as subject:
        await subject.result("configure", **harness.FAST)
        message = (await subject.tag())["message"]
        assert message.startswith("0 files tagged, 4 failed (")
        assert "Check whether the network asks for a sign-in. Start tagging again" in message


async def test_a_host_that_is_not_found_is_told_without_the_systems_error_number(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 1)
    nowhere = {"GOOGLE_GEMINI_BASE_URL": "http://nowhere.invalid"}
    async with harness.start(library, env=nowhere) as subject:
        await subject.result("configure", **harness.FAST, max_attempts=1)
        message = (await subject.tag())["message"]
        assert "Gemini could not be reached, tried once (" in message and "Check the network" in message
        assert "Errno" not in message
        assert "Errno" not in (await subject.error("check_gemini_api_key", verify=True))["message"]


UNTRUSTED, EXPIRED = map(Path(__file__).with_name, ("untrusted.pem", "expired.pem"))


@asynccontextmanager
async def untrusted(certificate: Path = UNTRUSTED) -> AsyncIterator[str]:
    """A server with that certificate, which nobody has signed: its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.do_handshake()

    async with trio.open_nursery() as nursery:
        start = partial(trio.serve_ssl_over_tcp, serve, 0, context, host="127.0.0.1")
        [listener] = await nursery.start(start)
        yield f"https://127.0.0.1:{listener.transport_listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def test_a_certificate_that_is_not_trusted_is_named_wherever_it_is_the_cause(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 20)
    cause = "certificate is not trusted: a proxy or virus scanner may be reading along; SSL_CERT_FILE names"
    async with untrusted() as url, harness.start(library, env={"GOOGLE_GEMINI_BASE_URL": url}) as subject:
        await subject.result("configure", **harness.FAST, max_attempts=2, outage_max_seconds=0)
        done = await subject.tag(batch_size=20)
        assert (done["status"], done["failed_files"]) == ("completed", 20) and cause in done["message"]
        assert all(cause in failure["message"] for failure in (await subject.result("get_run"))["failures"])
        assert cause in (await subject.error("check_gemini_api_key", verify=True))["message"]
        done = await subject.tag(batch_size=5)
        # Two failures in a row may be one batch's own.
        assert done["status"] == "failed" and done["remaining_files"] >= 10 and cause in done["message"]
        assert "Check the network" not in done["message"]


async def test_a_certificate_of_another_time_is_put_down_to_the_clock(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 1)
    async with untrusted(EXPIRED) as url:
        env = {"GOOGLE_GEMINI_BASE_URL": url, "SSL_CERT_FILE": str(EXPIRED)}
        async with harness.start(library, env=env) as subject:
            message = (await subject.error("check_gemini_api_key", verify=True))["message"]
    assert "the date of this computer, whose clock may be wrong. Mend that" in message
    assert "scanner" not in message


@pytest.mark.parametrize("unusable", UNUSABLE)
async def test_an_unusable_200_is_sent_twice_more(tmp_path: Path, unusable: Callable[[], Reply]) -> None:
    library = harness.library(tmp_path, 10)
    async with (
        standin.running(script=lambda r: unusable() if r.number <= 2 else None) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST)
        assert (await subject.tag())["processed_files"] == 10
        assert [len(r.files) for r in gemini.journal] == [10, 10, 10]


@pytest.mark.parametrize("unusable", UNUSABLE)
async def test_an_unusable_200_for_ever_is_halved_and_fails(tmp_path: Path, unusable: Callable[[], Reply]) -> None:
    library = harness.library(tmp_path, 2)
    async with (
        standin.running(script=lambda _: unusable()) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST)
        done = await subject.tag()
        assert (done["failed_files"], done["success"], done["status"]) == (2, False, "completed")
        assert {f["reason"] for f in (await subject.result("get_run"))["failures"]} == {"bad_response"}
        assert [len(r.files) for r in gemini.journal] == [2, 2, 2, 1, 1, 1, 1, 1, 1]


async def test_a_slow_drip_runs_into_the_timeout_of_the_whole_attempt(tmp_path: Path) -> None:
    library = harness.library(tmp_path, 10)
    async with (
        standin.running(script=lambda _: Reply(drip_bytes_per_second=200)) as gemini,
        harness.start(library, gemini) as subject,
    ):
        await subject.result("configure", **harness.FAST, request_timeout_seconds=0.3, max_attempts=2)
        done = await subject.tag()
        assert (done["failed_files"], gemini.arrived) == (10, 2)
        assert {f["reason"] for f in (await subject.result("get_run"))["failures"]} == {"timeout"}
