//! ligeia-sidecar in a Tauri 2 app, started from Rust: see build/tauri/README.md, way 2.
//!
//! This file needs the crates `tauri` (2.3 or newer, for `emit_str`), `tauri-plugin-shell` and `serde_json`.
//! The project that it comes from cannot build them: its tests compile this file against small stand-ins
//! with the same signatures and run it on a real sidecar, but never in a real app. `wire.rs` needs no crate.

mod wire;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
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

#[derive(Default)]
struct Sidecar(Mutex<Option<Running>>);

struct Running {
    wire: Arc<Wire>,
    child: CommandChild,
}

/// Starts the sidecar on a database; one that runs already is stopped first.
pub fn start(app: &AppHandle, database: &Path) -> Result<(), tauri_plugin_shell::Error> {
    app.manage(Sidecar::default()); // does nothing the second time
    stop(app);
    let command = app.shell().sidecar(PROGRAM)?;
    let (mut events, child) = command.arg("--database").arg(database).spawn()?;
    let wire = Arc::new(Wire::default());
    let running = Running {
        wire: wire.clone(),
        child,
    };
    app.state::<Sidecar>().swap(Some(running));

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
                    let line = String::from_utf8_lossy(&line);
                    tell(&app, LOG, json!(line.trim_end()).to_string());
                }
                CommandEvent::Error(reason) => tell(&app, LOG, json!(reason).to_string()),
                CommandEvent::Terminated(end) => {
                    wire.end(); // first: who listens in Rust is called from within `tell`, and may `start`
                    if app.state::<Sidecar>().forget(&wire) {
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
        .and_then(|sidecar| sidecar.swap(None));
    if let Some(Running { wire, mut child }) = running {
        let (id, line) = wire.call("shutdown", "{}", |_| ());
        if child.write(line.as_bytes()).is_err() {
            wire.fail(id);
        }
        if !wire.wait_for_end(PATIENCE) {
            let _ = child.kill(); // fails only where it has ended meanwhile
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
        None => Err(json!({"code": 0, "message": "The sidecar is not running. Start it first."})),
    }
}

impl Sidecar {
    fn swap(&self, running: Option<Running>) -> Option<Running> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut current, running)
    }

    /// False where that one was stopped, or another has been started since.
    fn forget(&self, wire: &Arc<Wire>) -> bool {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_current = current
            .as_ref()
            .is_some_and(|running| Arc::ptr_eq(&running.wire, wire));
        if is_current {
            *current = None;
        }
        is_current
    }

    /// Without a sidecar, `reply` is dropped uncalled.
    fn call(&self, method: &str, params: &str, reply: impl FnOnce(wire::Outcome) + Send + 'static) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Running { wire, child }) = current.as_mut() {
            let (id, line) = wire.call(method, params, reply);
            if child.write(line.as_bytes()).is_err() {
                wire.fail(id);
            }
        }
    }
}

/// `payload` is JSON, and goes on unread. Fails only while the app goes down.
fn tell(app: &AppHandle, name: &str, payload: String) {
    let _ = app.emit_str(name, payload);
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or(Value::Null)
}
