"""What must not be said: no key anywhere; no home, user or path but in the fields that are there for them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.harness.client import Client
from tests.harness.library import USER, Library


def check_outputs(client: Client, library: Library | None) -> None:
    """No key anywhere; no home, user or path but in the fields that are there for them."""
    printed = b"\n".join([*client.raw, client.rest])
    for secret in client.secrets:
        assert secret.encode() not in printed and secret.encode() not in client.log, "a key got out"
    said = json.dumps([_without_paths(message) for _, message in client.seen])
    log = client.log.decode(errors="replace") if client.quiet else ""
    for word in {USER, *_own_home(), *([str(library.path.parent)] if library else [])}:
        assert word not in said and word not in log, f"{word} got out"
    for row in library.baseline["audio_files"].values() if library else ():
        assert row["file_path"].rpartition("/")[2] not in log, "a file's name is in the log"


def check_secrets_sent(clients: Iterable[Client]) -> None:
    """No key but in its header, no home and no user."""
    words = {USER, *_own_home()}.union(*(client.secrets for client in clients))
    for gemini in {id(client.gemini): client.gemini for client in clients}.values():
        for received in gemini.journal if gemini else ():
            for word in words:
                assert word not in received.path and word.encode() not in received.body, f"{word} was sent"


def _own_home() -> set[str]:
    home = str(Path.home())
    return {home} if len(home) > len("/root") else set()


def _without_paths(value: Any) -> Any:
    """The message without the fields that hold paths of the shell's own, for the shell."""
    if isinstance(value, dict):
        return {k: _without_paths(v) for k, v in value.items() if k not in ("file_path", "path")}
    return [_without_paths(inner) for inner in value] if isinstance(value, list) else value
