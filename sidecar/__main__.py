"""argv → exit code. Without a subcommand: JSON-RPC on stdin and stdout."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """The program. Returns its exit code; serving JSON-RPC leaves by itself."""
    # Before the imports: they take most of a start, a signal has to end them without a traceback, and the parent
    # may die meanwhile.
    parent_pid = os.getppid()
    caught: list[int] = []
    _at_signals(lambda number, _: caught.append(number))
    from sidecar.command_line import STOPPED, parse  # noqa: PLC0415
    from sidecar.process import stdio, unpacked  # noqa: PLC0415

    try:
        options = parse(argv)
    except SystemExit as end:
        return _said(end.code if isinstance(end.code, int) else 0)
    # Until the server stands there is nothing to lose: a signal is a clean end (CONTRACT section 1).
    code_if_stopped = 0 if options.command is None else STOPPED
    _at_signals(lambda *_: unpacked.leave(code_if_stopped))
    if caught:
        unpacked.leave(code_if_stopped)
    # The writer thread gives the GIL away for every statement and must get it back from a busy event loop
    # soon: meanwhile it holds the database's lock. Windows waits in whole milliseconds (Python/condvar.h): less
    # than one would be none, and whoever waits for the GIL would spin.
    sys.setswitchinterval(0.001 if sys.platform == "win32" else 0.00002)
    if options.command is None:
        return _serve(options.database, options.env_file, options.log_level, parent_pid)
    stdio.occupy()
    unpacked.claim()
    from sidecar import terminal  # noqa: PLC0415 - a shell's start does not pay for progress bars

    code = terminal.run(options)
    _at_signals(signal.SIG_IGN)  # one that comes while the interpreter ends would end it in its own way
    return code


def _said(code: int) -> int:
    """The exit code, once what was asked for (`--help`) is written, or cannot be."""
    from sidecar.process.output import Output  # noqa: PLC0415 - no other start pays for it

    if sys.stdout is None:
        return code
    output = Output(sys.stdout)
    output.flush()
    if output.complaint and sys.stderr is not None:
        sys.stderr.write(output.complaint + "\n")
    return code or int(bool(output.complaint))


def _at_signals(action: Callable[[int, object], object] | signal.Handlers) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, action)


def _serve(database: str | None, env_file: str | None, log_level: str, parent_pid: int) -> int:
    from sidecar.process import stdio, unpacked  # noqa: PLC0415 - after the signals

    streams = stdio.claim()
    unpacked.claim()
    import trio  # noqa: PLC0415 - after the streams are claimed

    gc.disable()  # trio's import leaves 0.7 MB of garbage behind; collecting during ours would cost some ms
    from sidecar.process import logs  # noqa: PLC0415
    from sidecar.rpc import server  # noqa: PLC0415
    from sidecar.settings import read_file, resolve  # noqa: PLC0415

    log = logs.configure(log_level, streams.stderr_fd)
    settings = resolve(database, env_file, os.environ, read_file)
    gc.freeze()
    gc.enable()
    trio.run(server.serve, settings, streams, log, parent_pid)
    return 0


if __name__ == "__main__":
    sys.exit(main())
