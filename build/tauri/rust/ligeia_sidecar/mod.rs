//! ligeia-sidecar in a Tauri 2 app, started from Rust: see build/tauri/README.md, way 2.
//!
//! This file needs the crates `tauri` (2.3 or newer, for `emit_str`), `tauri-plugin-shell` and `serde_json`.
//! The project that it comes from cannot build them: its tests compile this file against small stand-ins
//! with the same signatures and run it on a real sidecar, but never in a real app. `wire.rs` needs no crate.

mod wire;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{json, Value};
use tauri::{async_runtime, AppHandle, Emitter, Manager, RunEvent};
use tauri_plugin_shell::process::{CommandChild, CommandEvent};
use tauri_plugin_shell::ShellExt;

use wire::Wire;

/// Beside the app's own executable, where Tauri puts it: without folder and target triple.
const PROGRAM: &str = "ligeia-sidecar";

/// The sidecar ends within two seconds of `shutdown`.
const PATIENCE: Duration = Duration::from_secs(2);

/// To the page, besides the sidecar's own notifications: a line of its log.
const LOG: &str = "sidecar-log";

/// To the page: the sidecar has ended though nobody stopped it; the payload is its exit code, null after a kill.
const EXIT: &str = "sidecar-exit";

/// Kept for a page that comes later: what the sidecar says while it starts is the most wanted.
const LOG_LINES: usize = 100;

#[derive(Default)]
struct Sidecar(Mutex<State>);

#[derive(Default)]
struct State {
    running: Option<Running>,
    database: Option<PathBuf>,
    /// Why there is none: what the page is told.
    why: &'static str,
    exit_code: Option<i32>,
    log: VecDeque<String>,
}

struct Running {
    wire: Arc<Wire>,
    lines: Sender<(u64, String)>,
    pid: u32,
}

/// Starts the sidecar on a database; one that runs already is stopped first.
///
/// Where it can't be started the page is told as well: its calls are rejected, with the reason in `data.log`.
pub fn start(app: &AppHandle, database: &Path) -> Result<(), tauri_plugin_shell::Error> {
    app.manage(Sidecar::default()); // does nothing the second time
    stop(app);
    app.state::<Sidecar>().begin(database);
    let spawned = app
        .shell()
        .sidecar(PROGRAM)
        .and_then(|command| command.arg("--database").arg(database).spawn());
    let (mut events, child) = match spawned {
        Ok(spawned) => spawned,
        Err(error) => {
            app.state::<Sidecar>().lock().why = "The sidecar could not be started.";
            log(app, error.to_string());
            return Err(error);
        }
    };
    let wire = Arc::new(Wire::default());
    let (lines, to_write) = channel();
    let running = Running {
        wire: wire.clone(),
        lines,
        pid: child.pid(),
    };
    let writing = wire.clone();
    thread::spawn(move || write(child, &writing, &to_write));
    app.state::<Sidecar>().lock().running = Some(running);

    // One task takes every event, for as long as there are any: the channel holds one, so whatever is
    // not taken stops the sidecar's writing; and what one task emits stays in order.
    let app = app.clone();
    async_runtime::spawn(async move {
        while let Some(event) = events.recv().await {
            match event {
                CommandEvent::Stdout(bytes) => wire.read(&bytes, |name, params| {
                    tell(&app, name, params.to_owned());
                }),
                CommandEvent::Stderr(line) => {
                    log(&app, String::from_utf8_lossy(&line).trim_end().to_owned());
                }
                CommandEvent::Error(reason) => log(&app, reason),
                CommandEvent::Terminated(end) => {
                    let unasked = app.state::<Sidecar>().forget(&wire, end.code);
                    wire.end(); // first: who listens in Rust is called from within `tell`, and may `start`
                    if unasked {
                        tell(&app, EXIT, json!(end.code).to_string());
                    }
                }
                _ => {}
            }
        }
        wire.end();
    });
    Ok(())
}

/// Ends the sidecar: by `shutdown`, which saves what is under way, else by a kill. Takes two seconds at most.
pub fn stop(app: &AppHandle) {
    let running = app
        .try_state::<Sidecar>()
        .and_then(|sidecar| sidecar.lock().running.take());
    if let Some(Running { wire, lines, pid }) = running {
        let _ = lines.send(wire.call("shutdown", "{}", |_| ())); // never fails: `write` outlives it
        drop(lines);
        if !wire.wait_for_end(PATIENCE) {
            kill(pid);
        }
    }
}

/// For the closure of `App::run`. Tauri kills no child that was started from Rust.
pub fn on_event(app: &AppHandle, event: &RunEvent) {
    if matches!(event, RunEvent::Exit) {
        stop(app);
    }
}

/// Any method of the sidecar. The page's promise is rejected with `{code, message, data}`.
#[tauri::command]
pub async fn sidecar_request(
    app: AppHandle,
    method: String,
    params: Option<Value>,
) -> Result<Value, Value> {
    let (reply, mut answer) = async_runtime::channel(1);
    let params = params.unwrap_or_else(|| json!({})).to_string();
    if let Some(sidecar) = app.try_state::<Sidecar>() {
        sidecar.call(&method, &params, move |outcome| {
            let _ = reply.try_send(outcome); // fails only where the page no longer waits
        });
    } else {
        drop(reply);
    }
    match answer.recv().await {
        Some(Ok(result)) => Ok(parsed(&result)),
        Some(Err(error)) => Err(parsed(&error)),
        None => Err(gone(&app)),
    }
}

/// Starts the sidecar again, on the database that it was started on before.
#[tauri::command]
pub async fn sidecar_start(app: AppHandle) -> Result<(), Value> {
    let database = app
        .try_state::<Sidecar>()
        .and_then(|sidecar| sidecar.lock().database.clone());
    let Some(database) = database else {
        return Err(gone(&app));
    };
    let starting = app.clone();
    // One that runs already may take its two seconds to end, and the app's other tasks need this thread meanwhile.
    let started = async_runtime::spawn_blocking(move || start(&starting, &database).is_ok());
    match started.await {
        Ok(true) => Ok(()),
        _ => Err(gone(&app)),
    }
}

impl Sidecar {
    fn begin(&self, database: &Path) {
        *self.lock() = State {
            database: Some(database.to_owned()),
            ..State::default()
        };
    }

    /// False where that one was stopped, or another has been started since.
    fn forget(&self, wire: &Arc<Wire>, exit_code: Option<i32>) -> bool {
        let mut state = self.lock();
        let is_current = state
            .running
            .as_ref()
            .is_some_and(|running| Arc::ptr_eq(&running.wire, wire));
        if is_current {
            state.running = None;
            state.why = "The sidecar has ended. Start it again to go on: what is tagged is saved.";
            state.exit_code = exit_code;
        }
        is_current
    }

    /// Without a sidecar, `reply` is dropped uncalled.
    fn call(&self, method: &str, params: &str, reply: impl FnOnce(wire::Outcome) + Send + 'static) {
        if let Some(Running { wire, lines, .. }) = self.lock().running.as_ref() {
            let _ = lines.send(wire.call(method, params, reply)); // never fails: `write` outlives it
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread of its own, for as long as there are senders: a sidecar that does not read would hold up whoever
/// writes to it.
fn write(mut child: CommandChild, wire: &Wire, lines: &Receiver<(u64, String)>) {
    for (id, line) in lines {
        if child.write(line.as_bytes()).is_err() {
            wire.fail(id);
        }
    }
}

/// Not `CommandChild::kill`: a write that the sidecar does not read may hold the child.
fn kill(pid: u32) {
    let mut command = if cfg!(windows) {
        let mut taskkill = Command::new("taskkill");
        taskkill.args(["/F", "/T", "/PID"]);
        taskkill
    } else {
        let mut kill = Command::new("kill");
        kill.arg("-KILL");
        kill
    };
    #[cfg(windows)]
    std::os::windows::process::CommandExt::creation_flags(&mut command, 0x0800_0000); // no window
    let _ = command.arg(pid.to_string()).output(); // fails only where it has ended meanwhile
}

/// The error of a call that no sidecar has answered. Code 0 is none of the sidecar's own.
fn gone(app: &AppHandle) -> Value {
    let never = "The sidecar is not running. Start it first.";
    let Some(sidecar) = app.try_state::<Sidecar>() else {
        return json!({"code": 0, "message": never});
    };
    let state = sidecar.lock();
    let message = if state.why.is_empty() {
        never
    } else {
        state.why
    };
    let log: Vec<String> = state.log.iter().cloned().collect();
    let data = json!({"exit_code": state.exit_code, "log": log});
    json!({"code": 0, "message": message, "data": data})
}

/// Keeps a line of the log and hands it to the page.
fn log(app: &AppHandle, line: String) {
    let payload = json!(line.as_str()).to_string();
    let sidecar = app.state::<Sidecar>();
    let mut state = sidecar.lock();
    if state.log.len() == LOG_LINES {
        state.log.pop_front();
    }
    state.log.push_back(line);
    drop(state); // who listens in Rust is called from within `tell`
    tell(app, LOG, payload);
}

/// `payload` is JSON, and goes on unread. Fails only while the app goes down.
fn tell(app: &AppHandle, name: &str, payload: String) {
    let _ = app.emit_str(name, payload);
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or(Value::Null)
}
