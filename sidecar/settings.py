"""One frozen Settings from the command line, the environment and .env text; precedence in that order.

`resolve` is pure but for the file reader that it is handed and the home folder. Source of the order: CONTRACT
section 1.
"""

import io
import logging
import re
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from sidecar.contract import ConfigureParams, ServiceTier

DEFAULT_MODEL = "gemini-3.5-flash-lite"
DEFAULT_BASE_URL = "https://generativelanguage.googleapis.com"

KEY_VARIABLES = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
DATABASE_VARIABLE = "LIGEIA_DATABASE"
MODEL_VARIABLE = "LIGEIA_MODEL"
BASE_URL_VARIABLE = "GOOGLE_GEMINI_BASE_URL"

FILE_PATIENCE_SECONDS = 1.0
"""For the reading of one .env."""

_USER_INFO = re.compile(r"[^/]*//([^/?#]*)@")

log = logging.getLogger(__name__)


class Settings(Struct, frozen=True, kw_only=True):
    """What the process works with. A run keeps the Settings it was started with."""

    database: Path | None = None
    api_key: str | None = None
    model: str = DEFAULT_MODEL
    base_url: str = DEFAULT_BASE_URL
    batch_size: int = 50
    max_parallel: int = 3
    request_timeout_seconds: float = 120
    max_attempts: int = 5
    backoff_base_seconds: float = 1
    backoff_max_seconds: float = 60
    outage_max_seconds: float = 600
    hints: str = ""
    service_tier: ServiceTier = ServiceTier.STANDARD

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no log and no message may show: the key, and a password in the base URL, as written and decoded."""
        user_info = _USER_INFO.match(self.base_url)
        password = user_info[1].partition(":")[2] if user_info else ""
        return tuple(filter(None, (self.api_key, password, urllib.parse.unquote(password))))

    def configured(self, params: ConfigureParams) -> "Settings":
        """These settings with what `params` names; an empty `api_key` or `hints` forgets it."""
        named = {name: value for name in params.__struct_fields__ if (value := getattr(params, name)) is not None}
        if "api_key" in named:
            named["api_key"] = named["api_key"].strip() or None
        if "hints" in named:
            named["hints"] = named["hints"].strip()
        return msgspec.structs.replace(self, **named)


def resolve(
    database: str | None,
    env_file: str | None,
    environment: Mapping[str, str],
    read: Callable[[Path], bytes | None],
) -> Settings:
    """Settings from the options of the command line, the environment and the one .env that counts.

    That is `env_file`, else `.env` in the working directory, else `.env` beside the database. `read`
    gives a file's bytes, None when there is none.
    """
    path = _text(database) or _text(environment.get(DATABASE_VARIABLE))
    places = [_path(env_file)] if env_file else [Path(".env")]
    if not env_file and path:
        places.append(_path(path).parent / ".env")
    content = next((found for place in places if (found := read(place)) is not None), None)
    if env_file and content is None:
        log.warning("The file given with --env-file cannot be read; going on without it.")
    sources = (environment, _variables(content or b""))

    def first(*names: str) -> str | None:
        given = (_text(source.get(name)) for source in sources for name in names)
        return next((text for text in given if text), None)

    path = path or first(DATABASE_VARIABLE)
    return Settings(
        database=_path(path) if path else None,
        api_key=first(*KEY_VARIABLES),
        model=(first(MODEL_VARIABLE) or DEFAULT_MODEL).encode(errors="replace").decode(),  # runs book it
        base_url=first(BASE_URL_VARIABLE) or DEFAULT_BASE_URL,
    )


def read_file(path: Path) -> bytes | None:
    """A file's bytes; None when it is missing or unreadable, or on a disk that does not answer in time.

    A thread, since a look at a share that has gone away may take minutes, and the process is to answer before.
    """
    found: list[bytes] = []

    def read() -> None:
        with suppress(OSError):
            found.append(path.read_bytes())

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    reading.join(FILE_PATIENCE_SECONDS)
    if reading.is_alive():
        log.warning("A .env could not be read in time; going on without it.")
    return found[0] if found else None


def _variables(content: bytes) -> dict[str, str]:
    """The variables of a .env; Windows PowerShell's `>` writes them as UTF-16."""
    if not content:
        return {}
    import dotenv  # noqa: PLC0415 - costs 50 ms, and most starts have no .env

    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = content.decode("utf-16" if wide else "utf-8-sig", "replace")
    return {k: v for k, v in dotenv.dotenv_values(stream=io.StringIO(text), interpolate=False).items() if v}


def _path(text: str) -> Path:
    """Of a `~` at its beginning the home folder is made: a shell does so, but nobody for a .env or a launcher."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # `~name` of a user whom there is not: a name like any other
        return Path(text)


def _text(value: str | None) -> str | None:
    return (value or "").strip() or None
