//! What of tauri-plugin-shell 2 the module uses, with its signatures (docs.rs/tauri-plugin-shell/2.3.5).
//!
//! As the plugin does it: a thread a stream, lines with their `\n`, one channel of capacity 1, the end only
//! when both streams have ended, a kill of that one process. `SIDECAR` is what is started in the program's
//! place: its words, a line each.

use std::{fmt, io};

#[derive(Debug)]
pub enum Error {
    Io(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Io(error) = self;
        error.fmt(formatter)
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub type Result<T> = std::result::Result<T, Error>;

pub struct Shell;

impl Shell {
    pub fn sidecar(&self, program: impl AsRef<std::path::Path>) -> Result<process::Command> {
        process::Command::sidecar(program.as_ref())
    }
}

pub fn init() -> tauri::Plugin {
    tauri::Plugin
}

pub trait ShellExt {
    fn shell(&self) -> &Shell;
}

impl ShellExt for tauri::AppHandle {
    fn shell(&self) -> &Shell {
        &Shell
    }
}

pub mod process {
    use std::ffi::OsStr;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::path::Path;
    use std::process::{Child, ChildStdin, Stdio};
    use std::sync::{Arc, Mutex};
    use std::thread::{self, JoinHandle};
    use std::time::Duration;

    use tauri::async_runtime::{channel, Receiver, Sender};

    #[derive(Debug, Clone)]
    pub struct TerminatedPayload {
        pub code: Option<i32>,
        pub signal: Option<i32>,
    }

    #[derive(Debug, Clone)]
    #[non_exhaustive]
    pub enum CommandEvent {
        Stderr(Vec<u8>),
        Stdout(Vec<u8>),
        Error(String),
        Terminated(TerminatedPayload),
    }

    pub struct Command(std::process::Command);

    impl Command {
        pub(crate) fn sidecar(program: &Path) -> crate::Result<Self> {
            assert_eq!(program, Path::new("ligeia-sidecar"));
            let words = std::env::var("SIDECAR").expect("the test sets SIDECAR");
            let mut words = words.lines();
            let mut command = std::process::Command::new(words.next().expect("a program"));
            command.args(words);
            Ok(Self(command))
        }

        #[must_use]
        pub fn arg<S: AsRef<OsStr>>(mut self, arg: S) -> Self {
            self.0.arg(arg);
            self
        }

        pub fn spawn(mut self) -> crate::Result<(Receiver<CommandEvent>, CommandChild)> {
            let pipes = self.0.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = pipes.stderr(Stdio::piped()).spawn()?;
            let (sender, events) = channel(1);
            let stdout = child.stdout.take().expect("piped");
            let stderr = child.stderr.take().expect("piped");
            let readers = [
                hand_over(stdout, sender.clone(), CommandEvent::Stdout),
                hand_over(stderr, sender.clone(), CommandEvent::Stderr),
            ];
            let stdin = child.stdin.take().expect("piped");
            let child = Arc::new(Mutex::new(child));
            let waited = child.clone();
            thread::spawn(move || {
                for reader in readers {
                    reader.join().expect("a reader does not panic");
                }
                let _ = sender.blocking_send(CommandEvent::Terminated(end_of(&waited)));
            });
            Ok((events, CommandChild { child, stdin }))
        }
    }

    fn hand_over(
        stream: impl Read + Send + 'static,
        sender: Sender<CommandEvent>,
        wrap: fn(Vec<u8>) -> CommandEvent,
    ) -> JoinHandle<()> {
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(size) if size > 0) {
                let _ = sender.blocking_send(wrap(std::mem::take(&mut line)));
            }
        })
    }

    /// Looks again and again, so that the lock is free for a kill in between.
    fn end_of(child: &Mutex<Child>) -> TerminatedPayload {
        loop {
            if let Ok(Some(status)) = child.lock().expect("no panic").try_wait() {
                let (code, signal) = (status.code(), None);
                return TerminatedPayload { code, signal };
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub struct CommandChild {
        child: Arc<Mutex<Child>>,
        stdin: ChildStdin,
    }

    impl CommandChild {
        pub fn write(&mut self, buf: &[u8]) -> crate::Result<()> {
            Ok(self.stdin.write_all(buf)?)
        }

        pub fn kill(self) -> crate::Result<()> {
            Ok(self.child.lock().expect("no panic").kill()?)
        }

        pub fn pid(&self) -> u32 {
            self.child.lock().expect("no panic").id()
        }
    }
}
