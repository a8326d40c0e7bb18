"""Requests as a client of Gemini sends them, and what is in an answer."""

import json
from typing import Any

import httpx

from sidecar.demo.vocabulary import VOCABULARY

URL = "/v1/models/gemini-3.5-flash-lite:generateContent"
PATHS = ["Dungeon/Water Drips 03.mp3", "Tavern/Bar Brawl 01.wav", "Music/Ambient/夜の森 02.flac"]


def request_body(user: dict[str, Any], system: str = "Tag these sounds.") -> dict[str, Any]:
    return {
        "systemInstruction": {"parts": [{"text": system}]},
        "contents": [{"role": "user", "parts": [{"text": json.dumps(user)}]}],
        "generationConfig": {"responseMimeType": "application/json"},
    }


def tagging(*paths: str) -> dict[str, Any]:
    return request_body({"files": [{"id": n, "path": path} for n, path in enumerate(paths, 1)]})


def items(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    value = json.loads(response.json()["candidates"][0]["content"]["parts"][0]["text"])
    assert isinstance(value, list)
    return value


def vocabulary(tag_type: str) -> set[str]:
    return {value for kind, value, _, _ in VOCABULARY if kind == tag_type}
