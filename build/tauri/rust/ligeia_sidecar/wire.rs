//! The sidecar's protocol without its process: which call an answer belongs to, and what is a notification.
//!
//! Standard library only, so that it is compiled and tested wherever `rustc` is:
//! `rustc --edition 2021 --test wire.rs && ./wire` runs `wire_tests.rs`. What needs tauri is in `mod.rs`.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// JSON text: the result of a call, or its error as `{"code", "message", "data"}`.
pub type Outcome = Result<String, String>;

type Reply = Box<dyn FnOnce(Outcome) + Send>;

/// One sidecar process as seen through its pipes. `read` is called by one task only.
#[derive(Default)]
pub struct Wire {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    last_id: u64,
    open: HashMap<u64, Reply>,
    rest: Vec<u8>,
    ended: bool,
}

enum Message<'a> {
    Notification(&'a str, &'a str),
    Answer(u64, Outcome),
}

impl Wire {
    /// The line to write for a call, with its id. `params` is a JSON object; `reply` is called once, or dropped
    /// uncalled where the sidecar does not live to answer.
    pub fn call(
        &self,
        method: &str,
        params: &str,
        reply: impl FnOnce(Outcome) + Send + 'static,
    ) -> (u64, String) {
        let mut state = self.lock();
        state.last_id += 1;
        let id = state.last_id;
        if !state.ended {
            state.open.insert(id, Box::new(reply));
        }
        let method = quoted(method);
        let line =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}}}"#) + "\n";
        (id, line)
    }

    /// For a call whose line could not be written: nobody will answer it.
    pub fn fail(&self, id: u64) {
        let reply = self.lock().open.remove(&id);
        drop(reply); // without the lock: whoever waits for it may call again
    }

    /// Takes what came from stdout, however it was cut; answers calls, and hands each notification's
    /// name and params to `notify`, in the order they were sent. A line that is no message is skipped.
    pub fn read(&self, bytes: &[u8], mut notify: impl FnMut(&str, &str)) {
        for line in self.whole_lines(bytes) {
            match std::str::from_utf8(&line).ok().and_then(parse) {
                Some(Message::Notification(name, params)) => notify(name, params),
                Some(Message::Answer(id, outcome)) => {
                    let reply = self.lock().open.remove(&id);
                    if let Some(reply) = reply {
                        reply(outcome);
                    }
                }
                None => {}
            }
        }
    }

    /// The process is gone: the replies of all open calls are dropped, and of every later one.
    pub fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        let open = std::mem::take(&mut state.open);
        drop(state);
        self.ended.notify_all();
        drop(open);
    }

    /// Whether the process is gone, now or within that time.
    pub fn wait_for_end(&self, patience: Duration) -> bool {
        let waited = self
            .ended
            .wait_timeout_while(self.lock(), patience, |state| !state.ended);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.ended
    }

    fn whole_lines(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut state = self.lock();
        state.rest.extend_from_slice(bytes);
        let mut lines: Vec<Vec<u8>> = state
            .rest
            .split_inclusive(|&b| b == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        state.rest = match lines.last() {
            Some(last) if !last.ends_with(b"\n") => lines.pop().unwrap_or_default(),
            _ => Vec::new(),
        };
        lines
    }

    /// No code that may panic runs under this lock, so a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(line: &str) -> Option<Message<'_>> {
    let members = members(line)?;
    let value = |name| members.iter().find(|(key, _)| *key == name).map(|m| m.1);
    if let Some(method) = value("method") {
        let name = method.strip_prefix('"')?.strip_suffix('"')?;
        return Some(Message::Notification(name, value("params").unwrap_or("{}")));
    }
    let id = value("id")?.parse().ok()?;
    let outcome = match value("error") {
        Some(error) => Err(error.to_owned()),
        None => Ok(value("result")?.to_owned()),
    };
    Some(Message::Answer(id, outcome))
}

/// The members of a JSON object: each key without its quotes, each value as it stands.
///
/// Only as strict as the sidecar needs: it writes whole JSON or, when it is killed, a piece of a line.
fn members(text: &str) -> Option<Vec<(&str, &str)>> {
    let inside = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut members = Vec::new();
    for member in split(inside, b',')? {
        let halves = split(member, b':')?;
        let key = halves.first()?;
        let value = member.get(key.len() + 1..)?.trim();
        members.push((key.trim().strip_prefix('"')?.strip_suffix('"')?, value));
    }
    Some(members)
}

/// The parts between separators that stand in no string, array or object; None where one is not closed.
fn split(text: &str, separator: u8) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ if byte == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (depth == 0 && !in_string).then_some(parts)
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut json = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            _ if character.is_control() => {
                let escape = format!("\\u{:04x}", u32::from(character));
                json.push_str(&escape);
            }
            _ => json.push(character),
        }
    }
    json + "\""
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
