"""The signals that ask a program to end, as this system has them."""

import signal
import sys


def ending() -> tuple[signal.Signals, ...]:
    """Ctrl-C, a polite kill, and the end of the terminal, unless that is ignored, as `nohup` has it.

    Windows tells of a closed console by SIGBREAK, as of Ctrl-Break:
    https://learn.microsoft.com/windows/console/handlerroutine.
    """
    if sys.platform == "win32":
        return signal.SIGINT, signal.SIGTERM, signal.SIGBREAK
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, signal.SIGHUP
