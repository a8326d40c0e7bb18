"""contract.addresses: which base URLs and models requests can be sent to."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.contract.addresses import base_url_fault, is_model_id
from sidecar.settings import DEFAULT_BASE_URL

AUTHORITY = st.text(st.sampled_from("aZ09.-_:[]@x%é☃ß\u3002\u0661/?#\\ ") | st.characters(), max_size=12)


@pytest.mark.parametrize(
    "url",
    [
        DEFAULT_BASE_URL,
        "http://localhost",
        "http://127.0.0.1:8080/gemini/",
        "http://[::1]:9",
        "https://[2001:db8::1]",
        "http://user:word@proxy.example:8443",
        "http://my_container:1",
        "http://h:65535",
        "http://h:",
        "http://bücher.example",
        "http://a\u3002b",
        "http://xn--bcher-kva.example.",
        "http://" + "a" * 63 + ".example",
        "HTTPS://h/with%20blank?and=query",
    ],
)
def test_what_a_request_can_be_sent_to_is_taken(url: str) -> None:
    assert base_url_fault(url) == ""


@pytest.mark.parametrize(
    ("word", "urls"),
    [
        ("http://", ["", "h", "ftp://h", "//h", "localhost:80", "file:///h"]),
        ("host", ["http://", "http:///x", "http://:80", "http://@", "http:h", "http://?h"]),
        (
            "host",
            ["http://[::1", "http://::1", "http://[::1]x:9", "http://[zz]", "http://[127.0.0.1]", "http://[]"],
        ),
        ("host", ["http://[v1.a]", "http://[::1%25lo]", "http://u:p@[", "http://256.1.1.1", "http://1.2.3.04"]),
        ("host", ["http://a..b", "http://.a", "http://" + "a" * 64, "http://" + "a.bc." * 51]),
        ("host", ["http://a,b", "http://*", "http://a%20b", "http://a<b>", "http://a\\b"]),
        ("host", ["http://☃.example", "http://xn--a.example", "http://xn--aé", "http://\u0661.a"]),
        (
            "port",
            ["http://h:99999", "http://h:65536", "http://h:0", "http://h:-1", "http://h:x", "http://[::1]:x"],
        ),
        ("port", ["http://h:\u0661", "http://h:1:2", "http://h:80;", "http://h:" + "9" * 5000]),
        ("blank", ["http://h h", " http://h", "http://h\n", "http://h/\x00", "http://h/a b", "http://h\u200bh"]),
        ("blank", ["http://h/\ud800"]),
    ],
)
def test_what_no_request_can_be_sent_to_is_refused_with_what_is_wrong(word: str, urls: list[str]) -> None:
    for url in urls:
        assert word in base_url_fault(url), ascii(url)


@given(AUTHORITY.map("http://{}".format) | st.text(max_size=20))
def test_what_is_taken_the_http_library_and_the_socket_module_take_too(url: str) -> None:
    if not base_url_fault(url):
        taken = httpx.URL(url)
        assert taken.host and taken.raw_host.decode().encode("idna")


def test_a_models_name_is_a_part_of_the_address_that_stays_one() -> None:
    for name in ("gemini-3.5-flash-lite", "tunedModels/my_own.1", "7b"):
        assert is_model_id(name)
    for name in ("", "../x", "a/../b", "a b", "a?b", "/a", "m\n", "a" * 129):
        assert not is_model_id(name)
