"""What the stand-in answers where its script says nothing: plausible tags, and what the API itself would say."""

from collections.abc import Mapping
from typing import Any

from sidecar.demo.replies import MODELS, ROUTE, Received, Reply, error, json_text, text_reply, usage_metadata
from sidecar.demo.vocabulary import INVENTED, invented_tag, plausible_tags


class NormalReplies:
    """The same tags for the same path in every process. A system text that came before counts as cached."""

    def __init__(self) -> None:
        self._systems_seen: set[str] = set()

    def reply(self, received: Received, hallucinate: float) -> Reply:
        """`hallucinate`: the share (0–1) of files that get a tag of `INVENTED`."""
        match = ROUTE.fullmatch(received.path)
        if match and match[3] and received.method == "POST":
            return self._generated(received, hallucinate)
        if match and not match[3] and received.method == "GET":
            return Reply(body=_model(match[2]) if match[2] else {"models": [_model(name) for name in MODELS]})
        return error(404, "Requested entity was not found.", "NOT_FOUND")

    def _generated(self, received: Received, hallucinate: float) -> Reply:
        match received.kind:
            case "tagging":
                text = json_text([_tagged(file, hallucinate) for file in received.files])
            case "mapping":
                text = json_text([_mapped(item) for item in received.invalid_tags])
            case "other":
                text = "OK"
        system = received.system
        cached = len(system) // 4 if system in self._systems_seen else 0
        self._systems_seen.add(system)
        reply = text_reply(text, usage=usage_metadata(len(received.body) // 4, 1 + len(text) // 4, cached))
        assert isinstance(reply.body, dict)
        reply.body["modelVersion"] = received.model
        return reply


def _tagged(file: Mapping[str, Any], hallucinate: float) -> dict[str, object]:
    path = str(file.get("path") or file.get("title") or file.get("id"))
    tags = plausible_tags(path)
    item: dict[str, object] = {
        "id": file.get("id"),
        "genre": tags.genre,
        "moods": tags.moods,
        "occasions": tags.occasions,
        "keywords": tags.keywords,
    }
    match invented_tag(path, hallucinate):
        case ("genre", tag):
            item["genre"] = tag
        case ("mood" | "occasion" | "keyword" as kind, tag):
            item[f"{kind}s"] = (tag, *getattr(tags, f"{kind}s"))
        case _:
            pass
    return item


def _mapped(item: Mapping[str, Any]) -> dict[str, object]:
    kind, tag = item.get("type"), item.get("tag")
    return {"type": kind, "invalid": tag, "valid": INVENTED.get((str(kind), str(tag)))}


def _model(name: str) -> dict[str, object]:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name.replace("-", " ").title(),
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }
