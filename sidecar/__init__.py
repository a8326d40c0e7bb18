"""ligeia-sidecar: tags a Ligeia sound library with Gemini, as a child process of the Tauri shell.

The tour, outside in. Imports point one way, from the bottom of this list to its top:

- `contract`     the wire: params, results, notifications, reasons, error codes
- `redaction`    keys out of whatever is said
- `command_line` what may stand in argv, and `--help`
- `settings`     argv, environment and .env text → one frozen Settings
- `tagging/`     pure: what tags are, the vocabulary, what is sent to Gemini, what its answers mean
- `gemini/`      the network: one request, its retries and their shared pace, unknown tags
- `library/`     the database: every SQL statement, the one writer thread, readers, the run lock
- `runs/`        the engine: counters, one batch, one run
- `process/`     the process as such: fds 0, 1, 2, lines and logs, its parent, what it has unpacked
- `rpc/`         JSON-RPC over stdio: messages, methods, the server
- `terminal/`    every subcommand for people, over the same methods
- `demo/`        a sample library and a stand-in for Gemini over real HTTP (the tests use both)

An error of our own (`except Exception`) stops where its damage ends: at a call (`rpc/server`), a batch that is
asked for or written (`runs/run`), a run (`runs/runs`) or its last row (`runs/ends`), a log line, a command.

Apart from the demo, only `gemini/` opens sockets, and only `library/` opens the database. Only `process/stdio.py`
claims fds 0, 1, 2, which `process/reading.py` reads and `process/pump.py` writes (and `process/output.py` points 1
and 2 elsewhere, once they cannot be written).
"""

__version__ = "1.0.0"
