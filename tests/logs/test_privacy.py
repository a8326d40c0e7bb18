"""logs: no key ever, and no path above DEBUG."""

import base64
import urllib.parse
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.process.lines import LineSplitter
from sidecar.process.logs import (
    MAX_LINE_CHARS,
    describe,
    without_paths,
)
from sidecar.redaction import Redactor
from tests.logs.scenes import KEY, Stderr, own

PLAIN = "plain-key-of-20-char"
ROOT = Path(__file__).parents[2]


def failure(message: str, cause: Exception) -> Exception:
    """An exception that was really raised."""

    def fail() -> None:
        raise LookupError(message) from cause

    with pytest.raises(LookupError) as caught:
        fail()
    return caught.value


# --- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "secret", ["plain-key", "a/b+c d&e", "quo'te\"d\\", "schlüssel", "%2F%2F", "a.*b", "k\u00e9y\n"]
)
def test_a_known_key_is_redacted_in_every_spelling(secret: str) -> None:
    redactor = Redactor()
    redactor.add("other")
    redactor.add(secret)
    for text in (
        secret,
        repr(secret),
        urllib.parse.quote(secret),
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote(secret, safe="").lower(),
        urllib.parse.quote_plus(secret),
        urllib.parse.urlencode({"k": secret}),
    ):
        assert secret not in redactor.redact(text)
        assert "[key]" in redactor.redact(f"<{text}>")


@pytest.mark.parametrize("user", ["", "u:", "us:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("after", ["", "?", "??"])
def test_a_known_key_is_redacted_in_base64_wherever_it_stands_in_it(
    user: str, encode: Callable[[bytes], bytes], after: str
) -> None:
    secret = PLAIN + "?->~~ÿ\xff+1"  # what base64 makes `+` and `/` of
    assert not {*"+/"}.isdisjoint(base64.b64encode(secret.encode()).decode())
    redactor = Redactor()
    redactor.add(secret)
    text = encode(f"{user}{secret}{after}".encode()).decode()
    left = redactor.redact(text).replace("[key]", "")
    assert len(left) <= 8 and "[key]" in redactor.redact(text)


@pytest.mark.parametrize("between", [" ", "\n", "\u200b", "\ufeff "])
def test_a_known_key_is_redacted_where_it_is_broken_up(between: str) -> None:
    redactor = Redactor()
    redactor.add(PLAIN)
    for cut in (1, 7, len(PLAIN) - 1):
        assert redactor.redact(f"<{PLAIN[:cut]}{between}{PLAIN[cut:]}>") == "<[key]>"
    assert redactor.redact("".join(f"%{ord(char):02X}" for char in PLAIN)) == "[key]"


def test_a_short_secret_is_not_found_in_a_sentence_by_chance() -> None:
    redactor = Redactor()
    redactor.add("atonce")
    assert redactor.redact("at once, atonce") == "at once, [key]"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"key {KEY}.", "key [key]."),
        ("AQ." + "Ab8-_" * 8, "[key]"),
        ("AIzaShort", "AIzaShort"),
        ("https://h/p?key=abc&alt=sse", "https://h/p?key=[key]&alt=sse"),
        ("{'x-goog-api-key': 'abc', 'a': 'b'}", "{'x-goog-api-key': '[key]', 'a': 'b'}"),
        ("[(b'X-Goog-Api-Key', b'abc')]", "[(b'X-Goog-Api-Key', b'[key]')]"),
        ("x-goog-api-key: abc", "x-goog-api-key: [key]"),
        (f"[(b'X-Goog-Api-Key', b'{KEY}')]", "[(b'X-Goog-Api-Key', b'[key]')]"),
        (f"x-goog-api-key: {KEY}", "x-goog-api-key: [key]"),
        (f"{{'x-goog-api-key': ['{KEY}']}}", "{'x-goog-api-key': ['[key]']}"),
    ],
)
def test_what_looks_like_a_key_is_redacted_unknown(text: str, redacted: str) -> None:
    assert Redactor().redact(text) == redacted


def test_a_secret_of_three_letters_is_not_looked_for() -> None:
    redactor = Redactor()
    redactor.add("the")
    assert redactor.redact("the end") == "the end"


def test_no_cut_leaves_half_a_key(stderr: Stderr) -> None:
    secret = "half-" * 50
    stderr.start("DEBUG").redactor.add(secret)
    own.info("x" * (MAX_LINE_CHARS - 100) + secret)
    (line,) = stderr.lines()
    assert "half" not in line


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_a_key_in_an_exception_is_redacted(stderr: Stderr, level: str) -> None:
    stderr.start(level).redactor.add("house key")
    own.error("failed with house%20key", exc_info=failure(f"house key {KEY}", OSError("house+key")))
    text = "\n".join(stderr.lines())
    assert "house" not in text
    assert KEY not in text
    assert ("Traceback" in text) == (level == "DEBUG")


# --- paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("no such file: '/home/ana/My Music/x.mp3', sorry", "no such file: [path], sorry"),
        ('File "C:\\Users\\ana\\x.py", line 3', "File [path], line 3"),
        ("cannot open /home/ana/My Music/x.mp3", "cannot open [path]"),
        ("cannot open D:/Sounds/My Music/x.mp3", "cannot open [path]"),
        ("cannot open \\\\nas\\sounds\\x.mp3", "cannot open [path]"),
        ("file:///home/ana/x", "[path]"),
        ("~/x and ../x", "[path]"),
        ("a/b 3 / 4 https://host/path?q=1", "a/b 3 / 4 https://host/path?q=1"),
    ],
)
def test_foreign_text_is_told_without_paths(text: str, rest: str) -> None:
    assert without_paths(text) == rest


def test_warnings_are_told_without_file_and_line(stderr: Stderr) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        stderr.start("INFO")
        warnings.showwarning("careful", DeprecationWarning, "/home/ana/x.py", 3)
        warnings.warn("old", ResourceWarning, stacklevel=1)
        lines = stderr.lines()
    assert lines == [
        "WARNING py.warnings: DeprecationWarning: careful",
        "WARNING py.warnings: ResourceWarning: old",
    ]


def test_an_exception_is_its_type_and_our_own_innermost_line(stderr: Stderr) -> None:
    stderr.start("INFO")
    try:
        LineSplitter().feed(None)  # type: ignore[arg-type]
    except AttributeError:
        own.exception("failed")
    (line,) = stderr.lines()
    place = line.removeprefix("ERROR sidecar.test: failed (AttributeError at sidecar/process/lines.py:")
    assert place.removesuffix(")").isdigit()


def test_an_exception_from_elsewhere_is_its_type_alone() -> None:
    assert describe(ValueError("/home/ana/x")) == "ValueError"


def test_of_a_group_each_member_is_described() -> None:
    group = ExceptionGroup("secret", [ValueError("a"), ExceptionGroup("b", [KeyError("c")])])
    assert describe(group) == "ExceptionGroup of ValueError, ExceptionGroup of KeyError"
