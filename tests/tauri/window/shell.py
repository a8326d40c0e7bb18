"""The app: a real Tauri 2 process with one window, the real shell plugin and the example page.

Run by desktop.py, never imported. Its stdout says a JSON value a line: what the page shows, as probe.js sees
it. Its stdin takes one command a line: `{"close": true}`, `{"reload": true}`, `{"size": [480, 800]}`,
`{"look": true}`, `{"audit": true}`.
"""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from pytauri import WebviewUrl
from pytauri.ffi.lib import Size, Theme
from pytauri.webview import WebviewWindow, WebviewWindowBuilder
from pytauri_plugins import shell
from pytauri_wheel.lib import builder_factory, context_factory


def report(invoke: Any) -> None:
    """Passes on what the page shows. Called from a thread of Tauri's; must not raise."""
    resolver = invoke.bind_to({"body": None})
    if resolver is not None:  # None: the page has gone meanwhile
        sys.stdout.write(bytes(resolver.arguments["body"]).decode() + "\n")
        sys.stdout.flush()
        resolver.resolve("null")


def obey(window: WebviewWindow) -> None:
    """Carries out the commands on stdin."""
    for line in sys.stdin:
        match json.loads(line):
            case {"close": True}:
                window.close()
            case {"reload": True}:
                window.reload()
            case {"audit": True}:
                window.eval("auditForTheTest()")
            case {"look": True}:
                window.eval("lookForTheTest()")
            case {"size": [int(width), int(height)]}:
                window.set_size(Size.Logical((width, height)))
            case unknown:
                raise ValueError(unknown)


def main(source: Path, width: int, height: int, dark: bool) -> int:
    """Opens the window, returns the app's exit code once it has closed."""
    context = context_factory(source, tauri_config=(source / "tauri.conf.part.json").read_text())
    app = builder_factory().build(context, invoke_handler=report, plugins=[shell.init()])
    window = WebviewWindowBuilder.build(
        app.handle(),
        "main",
        WebviewUrl.App("index.html"),
        title="Ligeia",
        inner_size=(width, height),
        position=(0, 0),
        theme=Theme.Dark if dark else Theme.Light,
        initialization_script="\n".join((source / name).read_text() for name in ("axe.min.js", "probe.js")),
    )
    threading.Thread(target=obey, args=(window,), daemon=True).start()
    code: int = app.run_return()  # without the extra `window` mypy knows no types of it
    return code


if __name__ == "__main__":
    folder, wide, high, scheme = sys.argv[1:]
    code = main(Path(folder), int(wide), int(high), scheme == "dark")
    # Not by sys.exit: it would end the thread that reads stdin inside of pytauri, which aborts the process.
    os._exit(code)
