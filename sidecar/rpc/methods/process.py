"""The process itself: who it is, what it works with, how it ends."""

import os

from sidecar import __version__
from sidecar.contract import (
    NAME,
    PROTOCOL_VERSION,
    Budget,
    BudgetParams,
    CheckKeyParams,
    Code,
    ConfigureParams,
    NoParams,
    RefusalData,
    RpcError,
    Status,
)
from sidecar.gemini.failures import Failure, GeminiError
from sidecar.gemini.opening import open_client
from sidecar.rpc.methods.app import Answer, App


async def status(app: App, _params: NoParams) -> Answer[Status]:
    """Who answers, and whether it has all that tagging needs."""
    return Answer(
        Status(
            name=NAME,
            version=__version__,
            protocol_version=PROTOCOL_VERSION,
            pid=os.getpid(),
            database=await app.library.status(),
            api_key_present=app.settings.api_key is not None,
            model=app.settings.model,
            active_run_id=app.runs.active_run_id,
        )
    )


async def configure(app: App, params: ConfigureParams) -> Answer[Status]:
    """Changes the defaults of later runs; a run under way keeps what it started with."""
    app.settings = app.settings.configured(params)
    app.redactor.add(*app.settings.secrets)
    return await status(app, NoParams())


async def set_budget(app: App, params: BudgetParams) -> Answer[Budget]:
    """Bounds what later runs of this process spend; without params the bound is lifted."""
    app.runs.budget = Budget(params.max_requests, params.max_tokens, params.per)
    return Answer(app.runs.budget)


async def check_key(app: App, params: CheckKeyParams) -> Answer[bool]:
    """Whether there is an API key, or with `verify` whether the API accepts it."""
    if app.settings.api_key is None or not params.verify:
        return Answer(app.settings.api_key is not None)
    version = app.runs.versions.at(app.settings.base_url)
    try:
        async with open_client(app.settings) as client:
            await client.look_at_model(version.current)
    except GeminiError as error:
        return Answer(_accepts_key(error))
    return Answer(result=True)


def _accepts_key(error: GeminiError) -> bool:
    """Whether the key is good although the call failed. Raises RpcError -32013 when that can't be told."""
    match error.kind:
        case Failure.KEY_REFUSED | Failure.FORBIDDEN if error.from_google:
            return False
        case Failure.MODEL_UNKNOWN | Failure.RATE_LIMITED | Failure.REJECTED if error.from_google:
            return True  # judged after the key
        case Failure.QUOTA_EXHAUSTED | Failure.NOT_IN_PLAN | Failure.CREDIT_SPENT if error.from_google:
            return True
        case _:
            cause = error.detail.rstrip(".") or error.status
            raise RpcError(
                Code.REQUEST_REFUSED,
                f"The API key could not be checked: {cause}. {_what_to_do(error)}",
                RefusalData(error.status or error.kind.value),
            )


def _what_to_do(error: GeminiError) -> str:
    """About a check of the key that failed. The network is not at fault where Gemini has answered."""
    match error.kind:
        case Failure.LOCATION:
            return "The key of a project with billing may help."
        case Failure.SETTING:
            return "Change the settings, then try again."
        case Failure.UNTRUSTED | Failure.INCOMPLETE:
            return "Mend that, then try again."
        case Failure.UNAVAILABLE | Failure.TIMEOUT | Failure.FOREIGN_PAGE if not error.http_status:
            return "Check the network and the settings, then try again."
        case _ if not error.from_google and error.kind is not Failure.UNAVAILABLE:
            return "Something other than Gemini has answered: check the network and the base URL, then try again."
        case _:
            return "Try again later."


async def shutdown(app: App, _params: NoParams) -> Answer[None]:
    """Answers, then ends the process: the active run is cancelled, a transaction under way finished."""
    return Answer(None, app.stop.set)
