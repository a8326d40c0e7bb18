//! The protocol's tests; they need the standard library only.

use super::*;
use std::sync::mpsc::{channel, Receiver, TryRecvError};
use std::thread;

fn call(wire: &Wire, method: &str) -> (u64, String, Receiver<Outcome>) {
    let (send, answer) = channel();
    let (id, line) = wire.call(method, "{}", move |outcome| {
        send.send(outcome).expect("the test listens");
    });
    (id, line, answer)
}

fn notifications(wire: &Wire, bytes: &[u8]) -> Vec<(String, String)> {
    let mut heard = Vec::new();
    wire.read(bytes, |name, params| {
        heard.push((name.to_owned(), params.to_owned()));
    });
    heard
}

#[test]
fn a_call_is_one_line_of_json() {
    let wire = Wire::default();
    let (_, line) = wire.call("get_run", r#"{"run_id":"a"}"#, |_| ());
    let expected = r#"{"jsonrpc":"2.0","id":1,"method":"get_run","params":{"run_id":"a"}}"#;
    assert_eq!(line, format!("{expected}\n"));
    let (_, line) = wire.call("a\"b\\c\n\u{1}é", "{}", |_| ());
    assert!(line.contains(r#""method":"a\"b\\c\u000a\u0001é""#));
    assert_eq!(line.matches('\n').count(), 1);
}

#[test]
fn answers_find_their_calls_in_any_order() {
    let wire = Wire::default();
    let (_, _, first) = call(&wire, "status");
    let (_, _, second) = call(&wire, "get_run");
    let error = r#"{"code":-32002,"message":"There is no such run.","data":null}"#;
    let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{error}}}\n");
    wire.read(line.as_bytes(), |_, _| panic!("no notification"));
    wire.read(
        b"{ \"result\" : {\"a\": [1, \"}\\\",\"]} , \"id\" : 1 }\n",
        |_, _| panic!("no notification"),
    );
    assert_eq!(second.recv(), Ok(Err(error.to_owned())));
    assert_eq!(first.recv(), Ok(Ok(r#"{"a": [1, "}\","]}"#.to_owned())));
}

#[test]
fn notifications_come_whole_and_in_order_however_they_are_cut() {
    let one = r#"{"jsonrpc":"2.0","method":"tagging-batch","params":{"batch":1,"ok":true}}"#;
    let two = r#"{"jsonrpc":"2.0","method":"tagging-progress","params":{"status":"{[\"\\"}}"#;
    let text = format!("{one}\n{two}\n");
    let expected = vec![
        (
            "tagging-batch".to_owned(),
            r#"{"batch":1,"ok":true}"#.to_owned(),
        ),
        (
            "tagging-progress".to_owned(),
            r#"{"status":"{[\"\\"}"#.to_owned(),
        ),
    ];
    for size in 1..=text.len() {
        let wire = Wire::default();
        let heard: Vec<_> = text
            .as_bytes()
            .chunks(size)
            .flat_map(|chunk| notifications(&wire, chunk))
            .collect();
        assert_eq!(heard, expected, "cut every {size} bytes");
    }
}

#[test]
fn what_is_no_message_is_skipped() {
    let wire = Wire::default();
    let (_, _, answer) = call(&wire, "status");
    for line in [
        "",
        "Segmentation fault",
        "{",
        "[]",
        "{}",
        "{\"id\":1}",
        "{\"id\":null,\"error\":{}}",
        "{\"id\":7,\"result\":1}",
        "{\"id\":\"1\",\"result\":1}",
        "{\"method\":5}",
        "{\"id\":1,\"result\":]}",
        "{\"id\":1,\"result\":\"}",
    ] {
        assert_eq!(
            notifications(&wire, format!("{line}\n").as_bytes()),
            [],
            "{line}"
        );
    }
    assert_eq!(notifications(&wire, b"\xff\xfe\n"), []);
    assert!(answer.try_recv().is_err());
    wire.read(b"{\"id\":1,\"result\":null}\n", |_, _| ());
    assert_eq!(answer.recv(), Ok(Ok("null".to_owned())));
}

#[test]
fn the_end_fails_open_calls_and_later_ones() {
    let wire = Wire::default();
    let (_, _, open) = call(&wire, "cancel");
    assert!(!wire.wait_for_end(Duration::ZERO));
    wire.end();
    assert!(wire.wait_for_end(Duration::ZERO));
    let (_, _, late) = call(&wire, "status");
    assert!(open.recv().is_err());
    assert!(late.recv().is_err());
    wire.end();
}

#[test]
fn a_call_that_could_not_be_written_fails_alone() {
    let wire = Wire::default();
    let (unwritten, _, failed) = call(&wire, "status");
    let (_, _, open) = call(&wire, "get_run");
    wire.fail(unwritten);
    wire.fail(unwritten);
    assert!(failed.recv().is_err());
    assert_eq!(open.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn whoever_waits_for_the_end_is_woken() {
    let wire = Wire::default();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| wire.wait_for_end(Duration::from_secs(30)));
        wire.end();
        assert!(waiting.join().expect("it does not panic"));
    });
}

#[test]
fn a_reply_may_call_again() {
    let wire = std::sync::Arc::new(Wire::default());
    let (send, answer) = channel();
    let again = wire.clone();
    wire.call("status", "{}", move |_| {
        again.call("status", "{}", move |outcome| {
            send.send(outcome).expect("the test listens");
        });
    });
    wire.read(
        b"{\"id\":1,\"result\":1}\n{\"id\":2,\"result\":2}\n",
        |_, _| (),
    );
    assert_eq!(answer.recv(), Ok(Ok("2".to_owned())));
}
