"""argv → exit code. Without a subcommand: JSON-RPC on stdin and stdout."""

import argparse
import gc
import os
import signal
import sys
from collections.abc import Sequence

from sidecar.command_line import parse
from sidecar.rpc import unpacked


def main(argv: Sequence[str] | None = None) -> int:
    """The program. Returns its exit code; serving JSON-RPC leaves by itself."""
    options = parse(argv)
    # The writer thread gives the GIL away for every statement and must get it back from a busy event loop
    # soon: meanwhile it holds the database's lock.
    sys.setswitchinterval(0.0001)
    if options.command is None:
        return _serve(options)
    unpacked.claim()
    from sidecar import terminal  # noqa: PLC0415 - a shell's start does not pay for progress bars

    return terminal.run(options)


def _serve(options: argparse.Namespace) -> int:
    # Until the server stands there is nothing to lose: a signal is a clean end (CONTRACT section 1).
    for name in ("SIGTERM", "SIGINT"):
        signal.signal(getattr(signal, name), lambda *_: unpacked.leave(0))
    from sidecar.rpc import stdio  # noqa: PLC0415 - after the signals

    streams = stdio.claim()
    unpacked.claim()
    import trio  # noqa: PLC0415 - after the streams are claimed

    gc.disable()  # trio's import leaves garbage behind, 0.7 MB; to look for more in ours costs a start some ms
    from sidecar.rpc import logs, server  # noqa: PLC0415
    from sidecar.settings import read_file, resolve  # noqa: PLC0415

    log = logs.configure(options.log_level, streams.stderr_fd)
    settings = resolve(options.database, options.env_file, os.environ, read_file)
    gc.freeze()
    gc.enable()
    trio.run(server.serve, settings, streams, log)
    return 0


if __name__ == "__main__":
    sys.exit(main())
