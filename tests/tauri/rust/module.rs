//! The Rust module on a real sidecar, against stand-ins for its crates: see ../test_rust.py.

#[path = "../../../build/tauri/rust/ligeia_sidecar/mod.rs"]
mod ligeia_sidecar;

use std::env;
use std::future::Future;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use ligeia_sidecar::{on_event, sidecar_request, sidecar_start, start, stop};
use tauri::async_runtime::block_on;
use tauri::{AppHandle, RunEvent};

const PATIENCE: Duration = Duration::from_secs(30);

struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

fn launch() -> (AppHandle, Receiver<(String, String)>) {
    let (app, events) = AppHandle::stand_in();
    start(&app, Path::new(&env::var("DATABASE").expect("set"))).expect("it starts");
    (app, events)
}

/// The answer's JSON: of the result, or of the error.
fn request(app: &AppHandle, method: &str, params: &str) -> Result<String, String> {
    let params = Some(serde_json::from_str(params).expect("JSON"));
    let outcome = block_on(sidecar_request(app.clone(), method.to_owned(), params));
    outcome
        .map(|value| value.to_string())
        .map_err(|value| value.to_string())
}

/// The next event that is no line of the log.
fn next(events: &Receiver<(String, String)>) -> (String, String) {
    loop {
        let (name, payload) = events.recv_timeout(PATIENCE).expect("an event");
        if name != "sidecar-log" {
            return (name, payload);
        }
    }
}

/// Whether the page has been told so.
fn has_ended(events: &Receiver<(String, String)>) -> bool {
    events.try_iter().any(|(name, _)| name == "sidecar-exit")
}

#[test]
fn calls_are_answered_and_fail_with_the_sidecars_words() {
    let (app, _events) = launch();
    let status = request(&app, "status", "{}").expect("an answer");
    assert!(
        status.starts_with(r#"{"name":"ligeia-sidecar""#),
        "{status}"
    );
    let error = request(&app, "get_run", r#"{"run_id":"nobody"}"#).expect_err("no such run");
    assert!(error.contains("-32002"), "{error}");
    stop(&app);
}

#[test]
fn every_notification_becomes_an_event_in_order() {
    let (app, events) = launch();
    let started = request(&app, "auto_tag_files", r#"{"batch_size":10}"#).expect("an answer");
    assert!(started.contains("started"), "{started}");
    for batch in 1..=6 {
        let (name, payload) = next(&events);
        assert_eq!(name, "tagging-batch");
        assert!(payload.contains(r#""ok":true"#), "{payload}");
        let (name, payload) = next(&events);
        assert_eq!(name, "tagging-progress");
        assert!(
            payload.contains(&format!(r#""current_batch":{batch},"#)),
            "{payload}"
        );
    }
    let (name, payload) = next(&events);
    assert_eq!(name, "tagging-complete");
    assert!(payload.contains(r#""status":"completed""#), "{payload}");
    stop(&app);
}

#[test]
fn the_apps_exit_ends_the_sidecar_and_fails_what_waits() {
    let (app, events) = launch();
    on_event(&app, &RunEvent::Ready);
    request(&app, "status", "{}").expect("it still runs");
    let slow = format!(
        r#"{{"base_url":"{}"}}"#,
        env::var("SLOW_GEMINI").expect("set")
    );
    request(&app, "configure", &slow).expect("an answer");
    let asking = app.clone();
    let waiting =
        thread::spawn(move || request(&asking, "check_gemini_api_key", r#"{"verify":true}"#));
    let began = Instant::now();
    on_event(&app, &RunEvent::Exit);
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "it ends by itself"
    );
    assert!(
        !has_ended(&events),
        "whoever starts it again would do so now"
    );
    assert!(waiting.join().expect("no panic").is_err());
    let error = request(&app, "status", "{}").expect_err("no sidecar");
    assert!(error.contains(r#""code":0"#), "{error}");
    on_event(&app, &RunEvent::Exit);
}

#[test]
fn starting_again_replaces_the_sidecar() {
    let (app, events) = launch();
    let first = request(&app, "status", "{}").expect("an answer");
    start(&app, Path::new(&env::var("DATABASE").expect("set"))).expect("it starts");
    assert!(!has_ended(&events));
    assert_ne!(request(&app, "status", "{}").expect("an answer"), first);
    stop(&app);
}

#[test]
fn without_a_sidecar_calls_fail_with_a_sentence() {
    let (app, _events) = AppHandle::stand_in();
    let error = request(&app, "status", "{}").expect_err("no sidecar");
    assert!(error.contains("is not running"), "{error}");
    let error = block_on(sidecar_start(app.clone())).expect_err("no database is known");
    assert!(error.to_string().contains("is not running"));
    stop(&app);
}

#[test]
#[ignore = "needs SIDECAR to be a program that logs without end and then answers call 1"]
fn the_log_is_drained_and_becomes_events() {
    let (app, events) = launch();
    assert_eq!(request(&app, "status", "{}"), Ok("7".to_owned()));
    let (name, line) = events.recv_timeout(PATIENCE).expect("an event");
    assert_eq!(
        (name.as_str(), line.as_str()),
        ("sidecar-log", r#""line 0""#)
    );
    stop(&app);
    assert_eq!(
        events
            .try_iter()
            .filter(|(name, _)| name == "sidecar-log")
            .count(),
        49_999
    );
}

#[test]
#[ignore = "needs SIDECAR to be a program that does not end by itself"]
fn a_sidecar_that_does_not_end_is_killed() {
    let (app, events) = launch();
    stop(&app);
    assert!(!has_ended(&events));
    let error = request(&app, "status", "{}").expect_err("no sidecar");
    assert!(error.contains("is not running"), "{error}");
}

#[test]
#[ignore = "needs SIDECAR to be a program that does not end by itself"]
fn starting_again_leaves_the_apps_other_tasks_their_thread() {
    let (app, events) = launch();
    let mut starting = Box::pin(sidecar_start(app.clone()));
    let waker = Waker::from(Arc::new(Nobody));
    let began = Instant::now();
    let first = starting.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(first.is_pending());
    assert!(began.elapsed() < Duration::from_secs(1), "it only awaits");
    block_on(starting).expect("it starts");
    assert!(!has_ended(&events));
    stop(&app);
}

#[test]
#[ignore = "needs SIDECAR to be a program that reads nothing"]
fn a_sidecar_that_does_not_read_holds_up_neither_calls_nor_the_apps_exit() {
    let (app, _events) = launch();
    let ids = vec!["1000000"; 20_000].join(",");
    let asking = app.clone();
    let waiting = thread::spawn(move || {
        request(
            &asking,
            "auto_tag_files",
            &format!("{{\"file_ids\":[{ids}]}}"),
        )
    });
    thread::sleep(Duration::from_millis(300)); // the pipe is full by then
    let began = Instant::now();
    on_event(&app, &RunEvent::Exit);
    assert!(began.elapsed() < Duration::from_secs(4), "it is killed");
    let error = waiting.join().expect("no panic").expect_err("no sidecar");
    assert!(error.contains(r#""code":0"#), "{error}");
}

#[test]
#[ignore = "needs SIDECAR to be a program that says why on stderr and ends with the code 3"]
fn a_sidecar_that_ends_by_itself_says_so_and_can_be_started_again() {
    let (app, events) = launch();
    let ended = ("sidecar-exit".to_owned(), "3".to_owned());
    assert_eq!(next(&events), ended);
    block_on(sidecar_start(app.clone())).expect("it starts");
    assert_eq!(next(&events), ended);
    let error = request(&app, "status", "{}").expect_err("no sidecar");
    assert!(error.contains("has ended. Start it again"), "{error}");
    let data = r#""data":{"exit_code":3,"log":["there is no room"]}"#;
    assert!(error.contains(data), "{error}");
}

#[test]
#[ignore = "needs SIDECAR to be no program"]
fn a_sidecar_that_cannot_be_started_is_told_to_whoever_calls_it() {
    let (app, _events) = AppHandle::stand_in();
    start(&app, Path::new("ligeia.db")).expect_err("no program");
    let error = request(&app, "status", "{}").expect_err("no sidecar");
    assert!(error.contains("could not be started"), "{error}");
    assert!(error.contains("No such file"), "{error}");
    let error = block_on(sidecar_start(app)).expect_err("no program");
    assert!(error.to_string().contains("could not be started"));
}
