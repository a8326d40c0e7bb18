"""The third floor: a client that sends what the sidecar sends, reads the answers and throws them away.

    python -m tests.bench.bare DATABASE BASE_URL PARALLEL FILES

So many connections, each in a thread of its own, over plain sockets: no SDK, no database, no decisions. What
it takes beyond the stand-in's latency is the stand-in's, the timers' and the machine's. Prints the seconds that
the requests took.
"""

import http.client
import json
import queue
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from sidecar.library import queries
from sidecar.library.connections import connect, judge
from sidecar.tagging.prompts import TAGGING_SCHEMA, system_instruction, tagging_request
from tests.bench.sidecar import BATCH

TARGET = "/v1beta/models/gemini-3.5-flash-lite:generateContent"


def main(database: str, base_url: str, parallel: int, files: int) -> float:
    """The seconds from the first byte to the last."""
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    for body in _bodies(Path(database), files):
        waiting.put(body)
    server = urlsplit(base_url).netloc
    connections = [http.client.HTTPConnection(server) for _ in range(parallel)]
    for connection in connections:
        connection.connect()
    with ThreadPoolExecutor(parallel) as threads:
        began = time.perf_counter()
        for done in [threads.submit(_exchange, connection, waiting) for connection in connections]:
            done.result()
        seconds = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return seconds


def _bodies(database: Path, files: int) -> list[bytes]:
    reader = connect(database, busy_seconds=5, writes=False)
    shape = judge(reader)
    instruction = system_instruction(queries.vocabulary(reader, shape))
    sounds = queries.audio_files(reader, shape, range(1, files + 1))
    root = queries.library_root(reader)
    reader.close()
    return [
        json.dumps(
            {
                "contents": [{"parts": [{"text": tagging_request(sounds[start : start + BATCH], root)}]}],
                "systemInstruction": {"parts": [{"text": instruction}], "role": "user"},
                "generationConfig": {"responseMimeType": "application/json", "responseSchema": TAGGING_SCHEMA},
            }
        ).encode()
        for start in range(0, files, BATCH)
    ]


def _exchange(connection: http.client.HTTPConnection, waiting: "queue.SimpleQueue[bytes]") -> None:
    """One request after the other, until none is left."""
    while True:
        try:
            body = waiting.get_nowait()
        except queue.Empty:
            return
        headers = {"Content-Type": "application/json", "x-goog-api-key": "bench-key"}
        connection.request("POST", TARGET, body, headers)
        response = connection.getresponse()
        response.read()
        assert response.status == http.HTTPStatus.OK, response.status


if __name__ == "__main__":
    sys.stdout.write(f"{main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))}\n")
