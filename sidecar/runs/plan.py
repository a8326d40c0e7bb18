"""All that a run is made of, fixed when it starts."""

from datetime import datetime

from msgspec import Struct

from sidecar.gemini.backoff import Limits
from sidecar.library.changes import Stamp
from sidecar.library.run_writes import NewRun
from sidecar.runs.prompt import Prompt
from sidecar.runs.selection import Selection
from sidecar.runs.stamps import stamp_at
from sidecar.settings import Settings


class Plan(Struct, frozen=True, kw_only=True):
    """Which files, how, and with which settings: later changes of these are for later runs.

    `run` is as it was booked, in row `row`.
    """

    run: NewRun
    row: int
    selection: Selection
    max_parallel: int
    prompt: Prompt
    settings: Settings

    @property
    def run_id(self) -> str:
        """Whose plan it is."""
        return self.run.run_id

    @property
    def limits(self) -> Limits:
        """The settings that bound retries."""
        settings = self.settings
        return Limits(
            settings.max_attempts,
            settings.backoff_base_seconds,
            settings.backoff_max_seconds,
            settings.outage_max_seconds,
        )

    def stamp(self, now: datetime) -> Stamp:
        """Who writes, at that moment."""
        return stamp_at(now, self.run_id, self.row, self.run.model, self.run.mode)
