"""settings: which source wins, and .env files as editors and shells write them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.contract import ConfigureParams
from sidecar.settings import DEFAULT_BASE_URL, DEFAULT_MODEL, Settings, resolve

HERE = Path(".env")
BESIDE = Path("/lib/.env")


def reader(files: Mapping[Path, bytes]) -> Callable[[Path], bytes | None]:
    return files.get


def resolved(
    files: Mapping[Path, bytes] | None = None,
    environment: Mapping[str, str] | None = None,
    database: str | None = None,
    env_file: str | None = None,
) -> Settings:
    return resolve(database, env_file, environment or {}, reader(files or {}))


def test_without_any_source_the_defaults_count() -> None:
    assert resolved() == Settings()
    assert (Settings().model, Settings().base_url) == (DEFAULT_MODEL, DEFAULT_BASE_URL)


@pytest.mark.parametrize(
    ("base_url", "secrets"),
    [
        ("http://ann:s%40cret@host:1/p", {"s%40cret", "s@cret"}),
        ("https://ann:p@ss:word@host", {"p@ss:word"}),
        ("http://ann:half@[::1", {"half"}),
        ("http://ann@host", set()),
        ("http://host/a:b@c", set()),
        (DEFAULT_BASE_URL, set()),
    ],
)
def test_the_key_and_a_password_in_the_base_url_are_secrets(base_url: str, secrets: set[str]) -> None:
    assert set(Settings(base_url=base_url).secrets) == secrets
    assert set(Settings(base_url=base_url, api_key="key").secrets) == {"key", *secrets}


def test_every_variable_is_read_from_the_environment() -> None:
    environment = {
        "GEMINI_API_KEY": "key",
        "LIGEIA_DATABASE": "/lib/l.db",
        "LIGEIA_MODEL": "m",
        "GOOGLE_GEMINI_BASE_URL": "http://localhost:1",
    }
    assert resolved(environment=environment) == Settings(
        database=Path("/lib/l.db"), api_key="key", model="m", base_url="http://localhost:1"
    )


def test_every_variable_is_read_from_a_env() -> None:
    content = b"GEMINI_API_KEY=key\nLIGEIA_DATABASE=/x.db\nLIGEIA_MODEL=m\nGOOGLE_GEMINI_BASE_URL=http://h\n"
    assert resolved({HERE: content}) == Settings(
        database=Path("/x.db"), api_key="key", model="m", base_url="http://h"
    )


def test_the_command_line_wins_over_the_environment_and_that_over_the_env() -> None:
    files = {HERE: b"LIGEIA_DATABASE=/env.db\nLIGEIA_MODEL=file\n"}
    environment = {"LIGEIA_DATABASE": "/environment.db", "LIGEIA_MODEL": "environment"}
    assert resolved(files, environment, "/argv.db").database == Path("/argv.db")
    assert resolved(files, environment).database == Path("/environment.db")
    assert resolved(files).database == Path("/env.db")
    assert resolved(files, environment).model == "environment"


def test_the_env_file_of_the_command_line_wins_over_all_other_files() -> None:
    files = {Path("my.env"): b"LIGEIA_MODEL=mine", HERE: b"LIGEIA_MODEL=here\nGEMINI_API_KEY=k"}
    settings = resolved(files, env_file="my.env", database="/lib/l.db")
    assert (settings.model, settings.api_key) == ("mine", None)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("~/sounds/l.db", "/home/ann/sounds/l.db"),
        ("~no-such-user.db", "~no-such-user.db"),
        ("/lib/~/l.db", "/lib/~/l.db"),
    ],
)
def test_a_tilde_is_the_home_folder_wherever_the_path_is_written(
    written: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("USERPROFILE", "/home/ann")  # Windows'
    beside = {Path(meant).parent / ".env": b"LIGEIA_MODEL=beside"}
    assert resolved(beside, database=written).model == "beside"
    for settings in (
        resolved(database=written),
        resolved(environment={"LIGEIA_DATABASE": written}),
        resolved({HERE: f"LIGEIA_DATABASE={written}".encode()}),
    ):
        assert settings.database == Path(meant)


def test_the_working_directory_wins_over_the_databases_folder() -> None:
    files = {HERE: b"LIGEIA_MODEL=here", BESIDE: b"LIGEIA_MODEL=beside"}
    assert resolved(files, database="/lib/l.db").model == "here"


def test_the_env_beside_the_database_counts_when_none_is_in_the_working_directory() -> None:
    files = {BESIDE: b"LIGEIA_MODEL=beside"}
    assert resolved(files, database="/lib/l.db").model == "beside"
    assert resolved(files, {"LIGEIA_DATABASE": "/lib/l.db"}).model == "beside"
    assert resolved(files).model == DEFAULT_MODEL


def test_an_env_file_that_cannot_be_read_is_only_warned_of() -> None:
    assert resolved({}, {"LIGEIA_MODEL": "m"}, env_file="gone.env").model == "m"


def test_gemini_api_key_wins_over_google_api_key() -> None:
    assert resolved(environment={"GOOGLE_API_KEY": "google"}).api_key == "google"
    assert resolved(environment={"GOOGLE_API_KEY": "google", "GEMINI_API_KEY": "gemini"}).api_key == "gemini"


def test_a_blank_variable_counts_as_unset() -> None:
    files = {HERE: b"GEMINI_API_KEY=file"}
    assert resolved(files, {"GEMINI_API_KEY": "  "}).api_key == "file"
    assert resolved(environment={"GEMINI_API_KEY": "", "GOOGLE_API_KEY": "google"}).api_key == "google"
    assert resolved({HERE: b"GEMINI_API_KEY=\nLIGEIA_MODEL= \n"}) == Settings()


def test_blanks_around_a_value_do_not_count() -> None:
    assert resolved(environment={"GEMINI_API_KEY": " key\n"}).api_key == "key"


@pytest.mark.parametrize(
    "content",
    [
        b"GEMINI_API_KEY=key",
        b"GEMINI_API_KEY=key\r\n",
        b"\xef\xbb\xbfGEMINI_API_KEY=key\n",
        b'GEMINI_API_KEY="key"\n',
        b"GEMINI_API_KEY='key'\n",
        b"export GEMINI_API_KEY=key\n",
        b"GEMINI_API_KEY = key # mine\n",
        b"# a comment\n\nGEMINI_API_KEY=key\n",
        b"OTHER\nGEMINI_API_KEY=key\n",
        b"NAME=\xff\xfe\nGEMINI_API_KEY=key\n",
        "GEMINI_API_KEY=key\r\n".encode("utf-16"),
        b"\xff\xfe" + "GEMINI_API_KEY=key\r\n".encode("utf-16-le"),
        b"\xfe\xff" + "GEMINI_API_KEY=key\r\n".encode("utf-16-be"),
    ],
)
def test_a_env_is_read_as_editors_and_shells_write_it(content: bytes) -> None:
    assert resolved({HERE: content}).api_key == "key"


def test_a_dollar_in_a_value_is_not_interpolated() -> None:
    assert resolved({HERE: b"GEMINI_API_KEY=a${HOME}b"}).api_key == "a${HOME}b"


@given(st.binary(max_size=60))
def test_no_env_content_raises(content: bytes) -> None:
    assert resolved({HERE: content, Path("x"): b"\xff\xfe" + content}, env_file="x")
    assert resolved({HERE: content})


# --- configure --------------------------------------------------------------------------------------


def test_configure_changes_what_it_names_and_nothing_else() -> None:
    before = Settings(database=Path("/l.db"), api_key="key", batch_size=7)
    assert before.configured(ConfigureParams()) == before
    after = before.configured(ConfigureParams(model="m", max_parallel=9, outage_max_seconds=0))
    assert after == Settings(
        database=Path("/l.db"), api_key="key", batch_size=7, model="m", max_parallel=9, outage_max_seconds=0
    )


def test_an_empty_api_key_forgets_the_key_and_another_is_stripped() -> None:
    for blank in ("", "  "):
        assert Settings(api_key="key").configured(ConfigureParams(api_key=blank)).api_key is None
    assert Settings().configured(ConfigureParams(api_key=" new ")).api_key == "new"
