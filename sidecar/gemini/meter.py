"""What has been asked of Gemini so far, and what it counted."""

from sidecar.contract import Usage


class Meter:
    """Requests and tokens, counted as they happen: one for each batch, summed by the run."""

    def __init__(self, total: "Meter | None" = None) -> None:
        self.usage = Usage()
        self._total = total

    def add(self, usage: Usage) -> None:
        """Adds here and to the run's total."""
        self.usage = self.usage + usage
        if self._total is not None:
            self._total.add(usage)
