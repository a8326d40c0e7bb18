"""The words of the policy: what a request has met so far, and what becomes of it after a failure."""

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from sidecar.contract import Reason, RunStatus

Counter = Literal["attempts", "refusals", "unusable"]
"""The counts in `Tries`, each with a bound of its own."""


class Tries(Struct, frozen=True):
    """What one request has met so far, this failure included.

    `plain`: sent without response schema. `standard`: on the standard tier although flex is set.
    `refused_by`: the API versions that did not know one of its fields.
    """

    attempts: int = 0
    refusals: int = 0
    unusable: int = 0
    plain: bool = False
    standard: bool = False
    refused_by: frozenset[str] = frozenset()

    def with_one_more(self, counter: Counter) -> "Tries":
        """These, with one more counted."""
        return replace(self, **{counter: getattr(self, counter) + 1})


class Wait(Struct, frozen=True):
    """Send again after that long; `everyone`: no batch sends before (the server asked us to wait)."""

    seconds: float
    everyone: bool


class Plain(Struct, frozen=True):
    """Send again at once, without the response schema."""


class Standard(Struct, frozen=True):
    """Send again on the standard tier, once what the server asked for has passed."""


class OtherVersion(Struct, frozen=True):
    """Send again at once with the other API version, unless that has refused the request too."""


class Halve(Struct, frozen=True):
    """Not these files together; a file alone fails with the reason. `foreign`: not Gemini has answered."""

    reason: Reason
    message: str
    foreign: bool = False


class GiveUp(Struct, frozen=True):
    """The request's files fail with the reason; the run goes on."""

    reason: Reason
    message: str


class End(Struct, frozen=True):
    """No request of this run can succeed: it ends with this status and sentence.

    `advice` is what helps, before or when the run is started again; `{again}`, `{Again}`, `{tagging}` and
    `{goes_on}` stand in it for what depends on the kind of run.
    """

    status: RunStatus
    message: str
    advice: str = ""


Verdict = Wait | Plain | Standard | OtherVersion | Halve | GiveUp | End
