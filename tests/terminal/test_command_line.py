"""What the command line takes and refuses, as a person reads it."""

import subprocess
import sys

import pytest

from sidecar.contract import Reason
from tests.terminal.scenes import environment, run

WORD = "a-word-to-keep"
GOOGLES = "AIza" + "0123456789" * 4
"""A key as Google writes them."""
COMMANDS = ("tag", "apply", "undo", "retry", "report", "estimate", "demo")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("tag --batch-size 0", "--batch-size: '0' is not a whole number from 1 to 500."),
        ("tag --batch-size 501", "--batch-size: '501' is not a whole number from 1 to 500."),
        ("tag --max-parallel 99", "--max-parallel: '99' is not a whole number from 1 to 32."),
        ("tag --max-parallel many", "--max-parallel: 'many' is not a whole number from 1 to 32."),
        ("estimate --batch-size 1.5", "--batch-size: '1.5' is not a whole number from 1 to 500."),
        ("estimate --input-price nan", "--input-price: 'nan' is not a number from 0 to 1,000,000,000."),
        ("estimate --output-price -1", "--output-price: '-1' is not a number from 0 to 1,000,000,000."),
        ("estimate --cached-price 1e400", "--cached-price: '1e400' is not a number from 0 to 1,000,000,000."),
        ("estimate --currency 12345678901234567", "--currency: '12345678901234567' is longer than 16 letters."),
        ("apply --reject 9223372036854775808", "--reject: '9223372036854775808' is not a whole number from "),
        ("retry --reason timeout x", "--reason: invalid choice: 'x'"),
    ],
)
async def test_what_is_out_of_range_is_refused_by_the_options_name(words: str, sentence: str) -> None:
    ended = await run(*words.split(), env=environment())
    assert (ended.returncode, ended.stdout) == (2, b"")
    last = ended.stderr.decode().splitlines()[-1]
    assert f"error: argument {sentence}" in last
    if "--reason" in words:
        assert all(reason in last for reason in Reason)


@pytest.mark.parametrize(
    "words",
    [
        f"--api-key {WORD}",
        f"--api-key={WORD}",
        f"tag --api_key {WORD}",
        f"--database x.db tag --key={WORD}",
        f"estimate --gemini-api-key {WORD} --batch-size 5",
    ],
)
async def test_a_key_on_the_command_line_is_refused_without_being_repeated(words: str) -> None:
    ended = await run(*words.split(), env=environment())
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert WORD.encode() not in ended.stderr
    assert b"taken from GEMINI_API_KEY (or GOOGLE_API_KEY), never from the command line" in ended.stderr


@pytest.mark.parametrize("words", [f"{GOOGLES}", f"--token {GOOGLES}", f"tag --batch-size {GOOGLES}"])
async def test_what_looks_like_a_key_is_not_repeated_wherever_it_stands(words: str) -> None:
    ended = await run(*words.split(), env=environment())
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert GOOGLES.encode() not in ended.stderr and b"[key]" in ended.stderr


async def test_help_can_be_read_whatever_the_terminals_encoding() -> None:
    env = environment() | {"PYTHONIOENCODING": "ascii", "COLUMNS": "100"}
    for words in ([], *([command] for command in COMMANDS)):
        ended = await run(*words, "--help", env=env)
        assert (ended.returncode, ended.stderr) == (0, b"")
        assert b"--database PATH" in ended.stdout
        if words in (["tag"], ["estimate"]):
            assert b"files a request, 1 to 500 (50)" in ended.stdout


def test_only_the_demo_loads_the_stand_in() -> None:
    code = "import sys, sidecar.terminal\nprint([name for name in sys.modules if name.startswith('sidecar.demo')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
