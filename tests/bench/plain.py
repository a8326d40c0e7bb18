"""The second floor: a plain asyncio script over the same SDK, as a user would write it in an afternoon.

    python -m tests.bench.plain DATABASE BASE_URL

Asks for batches of 50, eight at a time behind a semaphore, and writes each answer in one transaction as it
comes: what CONTRACT section 5 asks for each file, so that both do the same work on the disk. No rules, no
mapping, no retries, and no rest between transactions. Prints the seconds that the run took, the import of the SDK
and one call before it not counted.
"""

import asyncio
import json
import sqlite3
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from google import genai
from google.genai import types

from sidecar.library import queries
from sidecar.library.connections import connect, judge
from sidecar.tagging.prompts import TAGGING_SCHEMA, system_instruction

BATCH, PARALLEL = 50, 8
MODEL = "gemini-3.5-flash-lite"


async def main(database: str, base_url: str) -> float:
    """Tags everything; the seconds that it took."""
    reader = connect(Path(database), busy_seconds=5, writes=False)
    instruction = system_instruction(queries.vocabulary(reader, judge(reader)))
    reader.close()
    client = genai.Client(api_key="bench-key", http_options=types.HttpOptions(base_url=base_url))
    config = types.GenerateContentConfig(
        system_instruction=instruction, response_mime_type="application/json", response_schema=TAGGING_SCHEMA
    )
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode=WAL")
    rows = connection.execute("SELECT id, file_path, title, artist, album, duration FROM audio_files").fetchall()
    places = asyncio.Semaphore(PARALLEL)

    async def tag(batch: list[tuple[object, ...]]) -> None:
        files = [
            {"id": n, "path": path, "title": title, "artist": artist, "album": album, "duration": duration}
            for n, (_, path, title, artist, album, duration) in enumerate(batch, 1)
        ]
        async with places:
            answer = await client.aio.models.generate_content(
                model=MODEL, contents=json.dumps({"files": files}), config=config
            )
        items = json.loads(answer.text or "[]")
        with connection:
            now = datetime.now(UTC).isoformat()
            for (file_id, *_), item in zip(batch, items, strict=True):
                before = connection.execute(
                    "SELECT genre, mood FROM audio_files WHERE id = ?", (file_id,)
                ).fetchone()
                tags = connection.execute(
                    "SELECT tag_type, tag_value FROM rpg_tags WHERE audio_file_id = ?", (file_id,)
                ).fetchall()
                connection.execute(
                    "UPDATE audio_files SET genre = ?, mood = ?, auto_tagged = 1, auto_tag_date = ?, "
                    "auto_tag_version = ? WHERE id = ?",
                    (item["genre"], "; ".join(item["moods"]), now, MODEL, file_id),
                )
                connection.executemany(
                    "INSERT OR IGNORE INTO rpg_tags (audio_file_id, tag_type, tag_value) VALUES (?, ?, ?)",
                    [(file_id, "occasion", tag) for tag in item["occasions"]]
                    + [(file_id, "keyword", tag) for tag in item["keywords"]],
                )
                connection.execute(
                    "INSERT INTO auto_tag_history (file_id, tagged_at, tags_applied, api_version) "
                    "VALUES (?, ?, ?, ?)",
                    (file_id, now, json.dumps({"before": [*before, *tags], "applied": item}), MODEL),
                )

    await tag(rows[:1])
    began = time.perf_counter()
    await asyncio.gather(*(tag(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)))
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(main(sys.argv[1], sys.argv[2]))}\n")
