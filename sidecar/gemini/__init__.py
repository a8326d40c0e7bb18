"""The network: the only place that knows google.genai and httpx. Above it there are no errors of theirs."""
