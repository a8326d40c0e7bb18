//! What of tauri 2 the module uses, with its signatures (docs.rs/tauri/2.11.5). Events go to a channel.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{mpsc, Arc, Mutex};

pub use tauri_macros::command;

#[derive(Debug)]
pub struct Error;

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("tauri")
    }
}

impl std::error::Error for Error {}

pub type Result<T> = std::result::Result<T, Error>;

#[non_exhaustive]
pub enum RunEvent {
    Exit,
    Ready,
}

type States = HashMap<TypeId, &'static (dyn Any + Send + Sync)>;

#[derive(Clone)]
pub struct AppHandle {
    states: Arc<Mutex<States>>,
    events: mpsc::Sender<(String, String)>,
}

impl AppHandle {
    /// An app, and the events that are emitted in it.
    pub fn stand_in() -> (Self, mpsc::Receiver<(String, String)>) {
        let (events, emitted) = mpsc::channel();
        let states = Arc::default();
        (Self { states, events }, emitted)
    }
}

pub struct State<'r, T: Send + Sync + 'static>(&'r T);

impl<T: Send + Sync + 'static> Deref for State<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0
    }
}

pub trait Manager {
    fn manage<T: Send + Sync + 'static>(&self, state: T) -> bool;
    fn try_state<T: Send + Sync + 'static>(&self) -> Option<State<'_, T>>;

    fn path(&self) -> &PathResolver {
        &PathResolver
    }

    fn state<T: Send + Sync + 'static>(&self) -> State<'_, T> {
        self.try_state().expect("state() called before manage()")
    }
}

impl Manager for AppHandle {
    fn manage<T: Send + Sync + 'static>(&self, state: T) -> bool {
        let mut states = self.states.lock().unwrap();
        let fresh = !states.contains_key(&TypeId::of::<T>());
        if fresh {
            states.insert(TypeId::of::<T>(), Box::leak(Box::new(state)));
        }
        fresh
    }

    fn try_state<T: Send + Sync + 'static>(&self) -> Option<State<'_, T>> {
        let states = self.states.lock().unwrap();
        states
            .get(&TypeId::of::<T>())
            .and_then(|state| state.downcast_ref())
            .map(State)
    }
}

pub trait Emitter {
    fn emit_str(&self, event: &str, payload: String) -> Result<()>;
}

impl Emitter for AppHandle {
    fn emit_str(&self, event: &str, payload: String) -> Result<()> {
        let allowed = |c: char| c.is_alphanumeric() || "-/:_".contains(c);
        assert!(event.chars().all(allowed), "no event's name: {event}");
        self.events
            .send((event.to_owned(), payload))
            .map_err(|_| Error)
    }
}

/// tokio's, as tauri re-exports them: a task is a thread here.
pub mod async_runtime {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::mpsc;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread;
    use std::time::Duration;

    pub struct Sender<T>(mpsc::SyncSender<T>);
    pub struct Receiver<T>(mpsc::Receiver<T>);

    pub fn channel<T>(buffer: usize) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = mpsc::sync_channel(buffer);
        (Sender(sender), Receiver(receiver))
    }

    impl<T> Clone for Sender<T> {
        fn clone(&self) -> Self {
            Self(self.0.clone())
        }
    }

    impl<T> Sender<T> {
        pub fn try_send(&self, value: T) -> Result<(), mpsc::TrySendError<T>> {
            self.0.try_send(value)
        }

        pub fn blocking_send(&self, value: T) -> Result<(), mpsc::SendError<T>> {
            self.0.send(value)
        }
    }

    impl<T> Receiver<T> {
        pub async fn recv(&mut self) -> Option<T> {
            self.0.recv().ok()
        }
    }

    pub fn spawn<F>(task: F) -> thread::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        thread::spawn(|| block_on(task))
    }

    pub struct JoinHandle<T>(mpsc::Receiver<T>);

    impl<T> Future for JoinHandle<T> {
        type Output = super::Result<T>;

        fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Self::Output> {
            match self.0.try_recv() {
                Ok(output) => Poll::Ready(Ok(output)),
                Err(mpsc::TryRecvError::Empty) => Poll::Pending,
                Err(mpsc::TryRecvError::Disconnected) => Poll::Ready(Err(super::Error)),
            }
        }
    }

    pub fn spawn_blocking<F, R>(task: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(task()));
        JoinHandle(receiver)
    }

    pub fn block_on<F: Future>(task: F) -> F::Output {
        struct Nobody;
        impl Wake for Nobody {
            fn wake(self: Arc<Self>) {}
        }
        let waker = Waker::from(Arc::new(Nobody));
        let mut task = Box::pin(task);
        loop {
            match task.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

/// For the example of the README, which is compiled and not run.
mod building {
    use super::{AppHandle, Manager, Result, RunEvent, State};
    use std::path::PathBuf;

    pub struct Context;
    pub struct Handler;
    pub struct Plugin;
    pub struct PathResolver;

    impl PathResolver {
        pub fn app_data_dir(&self) -> Result<PathBuf> {
            Ok(PathBuf::new())
        }
    }

    pub struct App(AppHandle);

    impl App {
        pub fn handle(&self) -> &AppHandle {
            &self.0
        }

        pub fn run<F: FnMut(&AppHandle, RunEvent) + 'static>(self, mut callback: F) {
            callback(&self.0, RunEvent::Exit);
        }
    }

    impl Manager for App {
        fn manage<T: Send + Sync + 'static>(&self, state: T) -> bool {
            self.0.manage(state)
        }

        fn try_state<T: Send + Sync + 'static>(&self) -> Option<State<'_, T>> {
            self.0.try_state()
        }
    }

    type Setup = dyn FnOnce(&mut App) -> std::result::Result<(), Box<dyn std::error::Error>>;

    #[derive(Default)]
    pub struct Builder(Option<Box<Setup>>);

    impl Builder {
        pub fn plugin(self, _plugin: Plugin) -> Self {
            self
        }

        pub fn invoke_handler(self, _handler: Handler) -> Self {
            self
        }

        pub fn setup<F>(self, setup: F) -> Self
        where
            F: FnOnce(&mut App) -> std::result::Result<(), Box<dyn std::error::Error>> + 'static,
        {
            Self(Some(Box::new(setup)))
        }

        pub fn build(self, _context: Context) -> Result<App> {
            let mut app = App(AppHandle::stand_in().0);
            if let Some(setup) = self.0 {
                setup(&mut app).expect("it sets up");
            }
            Ok(app)
        }
    }
}

pub use building::{App, Builder, Context, Handler, PathResolver, Plugin};

#[macro_export]
macro_rules! generate_handler {
    ($($command:path),*) => {{
        $(let _ = $command;)*
        $crate::Handler
    }};
}

#[macro_export]
macro_rules! generate_context {
    () => {
        $crate::Context
    };
}
