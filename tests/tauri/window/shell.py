"""The app: a real Tauri 2 process with one window, the real shell plugin and the example page.

Run by desktop.py, never imported. Its stdout says a JSON value a line: what the page shows, as probe.js sees
it. Its stdin takes one command a line: `{"close": true}`, `{"reload": true}`, `{"size": [480, 800]}`,
`{"look": true}`, `{"audit": true}`, `{"break": true}`.
"""

import json
import os
import sys
import threading
from pathlib import Path

from pytauri import Event, Listener, WebviewUrl
from pytauri.ffi.lib import Size, Theme
from pytauri.webview import WebviewWindow, WebviewWindowBuilder
from pytauri_plugins import shell
from pytauri_wheel.lib import builder_factory, context_factory


def tell(event: Event) -> None:
    """Passes on what the page shows. Called from a thread of Tauri's; must not raise."""
    sys.stdout.write(event.payload + "\n")
    sys.stdout.flush()


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
            case {"break": True}:
                window.eval("breakForTheTest()")
            case {"look": True}:
                window.eval("lookForTheTest()")
            case {"size": [int(width), int(height)]}:
                window.set_size(Size.Logical((width, height)))
            case unknown:
                raise ValueError(unknown)


def main(source: Path, width: int, height: int, dark: bool) -> int:
    """Opens the window, returns the app's exit code once it has closed."""
    context = context_factory(source, tauri_config=(source / "tauri.conf.part.json").read_text())
    app = builder_factory().build(context, invoke_handler=None, plugins=[shell.init()])
    Listener.listen_any(app.handle(), "told", tell)
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
