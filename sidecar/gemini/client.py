"""One request to Gemini through the google-genai SDK on trio. Its errors and httpx's become GeminiError.

`google.genai` is imported when the first client is opened: it costs 0.3–0.5 s and 25–30 MB, and
`status` must answer before. For the same reason this module and `preview` are imported by way of `opening` only.
"""

import gc
import logging
import os
import ssl
import sys
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from types import ModuleType
from typing import Any

import httpx
import trio

from sidecar.contract import base_url_fault, is_model_id
from sidecar.gemini import places
from sidecar.gemini.breaks import transport_failure, unreadable
from sidecar.gemini.failures import Failure, GeminiError, classify, incomplete
from sidecar.gemini.replies import Answer, read_answer
from sidecar.gemini.requests import FreePlace, NotSent, Place, Request
from sidecar.redaction import Redactor
from sidecar.settings import BASE_URL_VARIABLE, MODEL_VARIABLE, Settings

_ERRORS = (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, ValueError, TypeError, RecursionError)
"""What an SDK call may end with beside its own `APIError`."""
SHORTEST_SERVER_DEADLINE_SECONDS = 10
"""Gemini answers 400 to a smaller `X-Server-Timeout` (livekit/agents#3723)."""


class GeminiClient:
    """Sends single requests for one Settings. Made by `open_client`; safe for concurrent calls."""

    def __init__(
        self,
        settings: Settings,
        sdk: ModuleType,
        context: ssl.SSLContext,
        http: httpx.AsyncClient,
        idle: httpx.Client,
    ) -> None:
        self._settings = settings
        self._sdk = sdk
        self._context = context
        self._http = http
        self._idle = idle
        self._clients: dict[Any, Any] = {}
        self._config = _quick(sdk.types.GenerateContentConfig)(
            automatic_function_calling=sdk.types.AutomaticFunctionCallingConfig(disable=True),
            automatic_continuation=False,
            # The SDK's own reading, through pydantic, costs several times ours.
            should_return_http_response=True,
        )
        self._redactor = Redactor()
        self._redactor.add(*settings.secrets)

    async def generate(self, request: Request, version: str, place: Place) -> Answer:
        """One `generateContent`. Raises GeminiError, or NotSent when its place said no."""
        response = await self._caught(
            lambda: self._client(version, request).aio.models.generate_content(
                model=self._settings.model, contents=request.text, config=self._config
            ),
            place,
            flex=request.flex,
        )
        return read_answer(response.sdk_http_response.body or "")

    async def look_at_model(self, version: str) -> None:
        """Asks for the model's description: costs no quota, but needs a valid key. Raises GeminiError."""
        call = self._client(version, None).aio.models.get
        await self._caught(lambda: call(model=self._settings.model), FreePlace())

    async def _caught(self, call: Callable[[], Any], place: Place, *, flex: bool = False) -> Any:
        """Runs one SDK call, bounded in time, with every error of SDK and transport as a GeminiError."""
        settings = self._settings
        failure = None
        with trio.move_on_after(settings.request_timeout_seconds) as scope:
            attempt = places.Attempt(place, scope, settings.request_timeout_seconds)
            places.attempt.set(attempt)
            try:
                return await call()
            except (trio.Cancelled, NotSent) as ended:
                _forget_frames(ended)
                raise
            except (self._sdk.errors.APIError, *_ERRORS) as error:
                _forget_frames(error)
                failure = self._failure(error, attempt.refusal, flex=flex)
        if failure is None:
            failure = self._timeout(attempt.refusal, flex=flex)
        try:
            raise failure
        finally:
            del failure  # its traceback holds this frame

    def _failure(self, error: Exception, refusal: places.Refusal | None, *, flex: bool) -> GeminiError:
        """What an error stands for: a refusal, if only by its number where its page cannot be read."""
        # What breaks off may come whole another time: then it has to be its number that says so.
        if refusal is not None and (refusal.is_passing or not isinstance(error, httpx.TransportError)):
            return self._refused(refusal, getattr(error, "details", None), flex=flex)
        if isinstance(error, httpx.HTTPError | httpx.InvalidURL | ssl.SSLError):
            return transport_failure(error, self._redactor)
        return unreadable(error)

    def _timeout(self, refusal: places.Refusal | None, *, flex: bool) -> GeminiError:
        """What an answer that did not come in time stands for: a refusal, where so much of it came."""
        if refusal is not None and refusal.is_passing:
            return self._refused(refusal, None, flex=flex)
        detail = f"no answer within {self._settings.request_timeout_seconds:g} s"
        return GeminiError(Failure.TIMEOUT, detail, status="TIMEOUT")

    def _refused(self, refusal: places.Refusal, body: Any, *, flex: bool) -> GeminiError:
        model, now = self._settings.model, datetime.now(UTC)
        failure = classify(refusal.status, refusal.headers, body, model=model, flex=flex, now=now)
        return failure.shown(self._redactor)

    def _client(self, version: str, request: Request | None) -> Any:
        """One SDK client for each API version and kind of request.

        All of the request that stays the same is the client's `extra_body`, which the SDK merges into each
        body as it is: converting a config through pydantic costs more than the call itself. Everything
        that a stray environment variable of the SDK could redirect is passed explicitly.
        """
        key = (version, request and (request.system, id(request.schema), request.flex))
        if key not in self._clients:
            types = self._sdk.types
            timeout = max(self._settings.request_timeout_seconds, SHORTEST_SERVER_DEADLINE_SECONDS)
            self._clients[key] = self._sdk.Client(
                api_key=self._settings.api_key,
                vertexai=False,
                debug_config=self._sdk.client.DebugConfig(client_mode=None),
                http_options=types.HttpOptions(
                    base_url=self._settings.base_url,
                    api_version=version,
                    timeout=int(timeout * 1000),
                    httpx_client=self._idle,
                    httpx_async_client=self._http,
                    async_client_args={"ssl": self._context},  # else it reads the certificates again
                    extra_body=_constant_body(request) if request else None,
                ),
            )
        return self._clients[key]


@cache
def _quick(model: Any) -> Any:
    """A pydantic model that answers `name in self` without a search: no, as all of them do.

    The SDK asks so for each field that a request could have (`_common.get_value_by_path`), before it tries the
    attribute; pydantic, which knows no `in`, makes pairs of all fields each time. That was a sixth of a call. Made
    once: pydantic takes 10 ms to compile it, which each run would begin with.
    """
    return type(model.__name__, (model,), {"__contains__": lambda _self, _name: False})


def _forget_frames(error: BaseException) -> None:
    """Of an end that is expected: else the call would stay in memory until the garbage collector comes.

    The SDK calls through tenacity, whose state holds how the call ended; its frames hold that state. httpx and
    httpcore raise one error from another, each with frames of its own, which since Python 3.12 hold their callers.
    """
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__context__


def _constant_body(request: Request) -> dict[str, Any]:
    """What is the same in all requests of a kind; see https://ai.google.dev/api/generate-content."""
    generation: dict[str, Any] = {"responseMimeType": "application/json"}
    if request.schema is not None:
        generation["responseSchema"] = request.schema
    body: dict[str, Any] = {
        "systemInstruction": {"parts": [{"text": request.system}], "role": "user"},
        "generationConfig": generation,
    }
    return body | ({"serviceTier": "flex"} if request.flex else {})


@asynccontextmanager
async def open_client(
    settings: Settings, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[GeminiClient]:
    """A client for these settings, closed at the end with all its connections.

    `transport` stands in for the network. Raises GeminiError SETTING when base URL, model or proxy
    cannot be used at all, INCOMPLETE when the SDK cannot be loaded.
    """
    if fault := base_url_fault(settings.base_url):
        raise GeminiError(Failure.SETTING, f"the `base_url` setting ({BASE_URL_VARIABLE}) cannot be used: {fault}")
    if not is_model_id(settings.model):  # else the SDK refuses it for each request, as if it were an answer
        raise GeminiError(Failure.SETTING, f"the `model` setting ({MODEL_VARIABLE}) cannot be the name of one")
    secure = not settings.base_url.startswith("http://")
    try:
        sdk = await trio.to_thread.run_sync(_load, abandon_on_cancel=True)
    except (ImportError, OSError) as error:
        raise incomplete(error) from None
    try:
        context = await trio.to_thread.run_sync(_certificates, secure, abandon_on_cancel=True)
        http = httpx.AsyncClient(
            verify=context,
            transport=transport,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=30),
            event_hooks={"request": [places.enter], "response": [places.bound_answer]},
        )
        idle = httpx.Client(verify=context, trust_env=False)
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
        named = map(os.environ.get, ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"))
        if isinstance(error, OSError) and not any(named):  # then it was our own list of certificates
            raise incomplete(error) from None
        # httpx raises ImportError for a SOCKS proxy without its extra, the others for a broken proxy URL.
        detail = f"the proxy or certificate settings of the environment are not usable ({type(error).__name__})"
        raise GeminiError(Failure.SETTING, detail) from None
    async with http:
        with idle:
            yield GeminiClient(settings, sdk, context, http, idle)


def _certificates(secure: bool) -> ssl.SSLContext:
    """The trusted ones, where they are needed: reading them costs 50 ms."""
    return httpx.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _load() -> ModuleType:
    """The SDK."""
    if "google.genai" not in sys.modules:
        # Some 500,000 objects that live as long as the process: none is worth looking at again, neither
        # while they are made (a fifth of the import's time) nor by every later collection.
        gc.disable()
        try:
            _import_quietly()
        finally:
            gc.freeze()
            gc.enable()
    import google.genai  # noqa: PLC0415 - see the module's docstring

    return google.genai


def _is_worth_saying(record: logging.LogRecord) -> bool:
    """Not what the SDK says of the two variables: the key is passed to it, whichever of them holds it."""
    return not str(record.msg).startswith("Both GOOGLE_API_KEY and GEMINI_API_KEY are set")


def _import_quietly() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import google.genai  # noqa: PLC0415
        import google.genai.client  # noqa: PLC0415
        import google.genai.errors  # noqa: F401, PLC0415
    logging.getLogger("google_genai._api_client").addFilter(_is_worth_saying)
