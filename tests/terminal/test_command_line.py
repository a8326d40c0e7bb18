"""What the command line takes and refuses, as a person reads it."""

from tests.terminal.scenes import environment, run

COMMANDS = ("tag", "apply", "undo", "retry", "report", "estimate", "demo")


async def test_help_can_be_read_whatever_the_terminals_encoding() -> None:
    env = environment() | {"PYTHONIOENCODING": "ascii", "COLUMNS": "100"}
    for words in ([], *([command] for command in COMMANDS)):
        ended = await run(*words, "--help", env=env)
        assert (ended.returncode, ended.stderr) == (0, b"")
        assert b"--database PATH" in ended.stdout
        if words in (["tag"], ["estimate"]):
            assert b"files a request, 1 to 500 (50)" in ended.stdout
