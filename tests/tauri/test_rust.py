"""The Rust module: `wire.rs` as it stands, `mod.rs` against stand-ins for its crates (`rust/crates/`)."""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
import pytest
import trio

from sidecar.demo import standin
from tests import harness
from tests.tauri.workshop import TAURI, examples, run, tool

RUST = Path(__file__).parent / "rust"
MODULE = TAURI / "rust" / "ligeia_sidecar"
CRATES = ("-L.", "--extern=tauri_macros", "--extern=serde_json", "--extern=tauri", "--extern=tauri_plugin_shell")
"""The stand-ins, in the order in which they need each other."""
SECONDS = 120.0
STUBBORN = "import time\nwhile True: time.sleep(60)"
CURT = "import sys\nprint('there is no room', file=sys.stderr)\nraise SystemExit(3)"
TALKATIVE = """
import sys
for line in range(50_000): print("line", line, file=sys.stderr)
for _ in sys.stdin: print('{"jsonrpc":"2.0","id":1,"result":7}', flush=True)
"""


def test_the_protocol_in_rust_passes_its_own_tests(tmp_path: Path) -> None:
    _rustc(tmp_path, "--test", "-o", "wire", str(MODULE / "wire.rs"))
    assert "0 failed; 0 ignored" in run([str(tmp_path / "wire")], tmp_path)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests of the whole module, compiled."""
    folder = tmp_path_factory.mktemp("rust")
    _compile_crates(folder)
    _rustc(folder, *CRATES, "--test", "-o", "module", str(RUST / "module.rs"))
    return folder / "module"


async def test_the_rust_module_works_against_a_real_sidecar(module: Path, tmp_path: Path) -> None:
    library = harness.library(tmp_path, 60)
    async with standin.running() as gemini, standin.running(latency_seconds=60) as slow:
        settings = {
            "SIDECAR": "\n".join(harness.command()),
            "DATABASE": str(library.path),
            "SLOW_GEMINI": slow.base_url,
        }
        report = await _run_tests(module, harness.environment(gemini, settings))
    assert "13 passed; 0 failed; 6 ignored" in report, report


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("a_sidecar_that_does_not_end_is_killed", STUBBORN),
        ("starting_again_leaves_the_apps_other_tasks_their_thread", STUBBORN),
        ("the_log_is_drained_and_becomes_events", TALKATIVE),
        ("a_sidecar_that_does_not_read_holds_up_neither_calls_nor_the_apps_exit", STUBBORN),
        ("a_sidecar_that_ends_by_itself_says_so_and_can_be_started_again", CURT),
    ],
)
async def test_the_rust_module_copes_with_a_bad_sidecar(
    module: Path, tmp_path: Path, name: str, program: str
) -> None:
    script = tmp_path / "sidecar.py"
    script.write_text(program)
    settings = {"SIDECAR": f"{sys.executable}\n{script}", "DATABASE": str(tmp_path / "ligeia.db")}
    report = await _run_tests(module, harness.environment(None, settings), "--ignored", "--exact", name)
    assert "1 passed; 0 failed" in report, report
    await harness.eventually(lambda: not _running(script))


async def test_the_rust_module_says_why_there_is_no_sidecar(module: Path, tmp_path: Path) -> None:
    settings = {"SIDECAR": str(tmp_path / "ligeia-sidecar"), "DATABASE": str(tmp_path / "ligeia.db")}
    name = "a_sidecar_that_cannot_be_started_is_told_to_whoever_calls_it"
    report = await _run_tests(module, harness.environment(None, settings), "--ignored", "--exact", name)
    assert "1 passed; 0 failed" in report, report


def _running(script: Path) -> bool:
    return any(str(script) in (process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))


def test_the_example_of_the_readme_compiles(tmp_path: Path) -> None:
    _compile_crates(tmp_path)
    shutil.copytree(MODULE, tmp_path / "ligeia_sidecar")
    [example] = examples("rust")
    (tmp_path / "main.rs").write_text(example, encoding="utf-8")
    _rustc(tmp_path, *CRATES, "--emit=metadata", "main.rs")
    run([tool("rustfmt"), "--edition", "2021", "--check", "main.rs"], tmp_path)


def test_the_rust_module_is_formatted(tmp_path: Path) -> None:
    run(
        [tool("rustfmt"), "--edition", "2021", "--check", str(MODULE / "mod.rs"), str(RUST / "module.rs")],
        tmp_path,
    )


def test_clippy_finds_nothing_in_the_rust_module(tmp_path: Path) -> None:
    _compile_crates(tmp_path)
    clippy = [tool("clippy-driver"), "--edition", "2021", "-D", "warnings", "--emit=metadata", *CRATES]
    run([*clippy, "--test", str(MODULE / "wire.rs")], tmp_path)
    run([*clippy, "--crate-type", "lib", "--crate-name", "ligeia_sidecar", str(MODULE / "mod.rs")], tmp_path)


def _compile_crates(folder: Path) -> None:
    kinds = {"tauri_macros": "proc-macro", "serde_json": "lib", "tauri": "lib", "tauri_plugin_shell": "lib"}
    for name, kind in kinds.items():
        before = CRATES[: CRATES.index(f"--extern={name}")]
        _rustc(folder, *before, "--crate-type", kind, str(RUST / "crates" / f"{name}.rs"))


def _rustc(folder: Path, *arguments: str) -> None:
    run([tool("rustc"), "--edition", "2021", *arguments], folder)


async def _run_tests(program: Path, env: Mapping[str, str], *options: str) -> str:
    command: Sequence[str] = [str(program), *options]
    with trio.fail_after(SECONDS):
        done = await trio.run_process(command, env=env, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode(errors="replace")
