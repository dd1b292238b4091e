//! Stands between the program and the engine, and lets a test act at each order that is given to it: before the
//! engine has it, and when it has answered. What is asked and changes nothing is no step.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

use crate::sandbox::address;

/// When a test acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// The engine does not know yet.
    Before,
    /// The engine has answered, and the program does not know yet.
    After,
}

/// An order to the engine: `create`, `attach`, `start`, `wait`, `stop`, `pause`, `unpause`, `update` or `remove` of a
/// container, and `load` of an image.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Which order of all it is, from 0.
    pub(crate) number: usize,
    /// Which of those with this name it is, from 0.
    pub(crate) nth: usize,
    pub(crate) when: When,
    pub(crate) order: String,
}

/// What a test does at a step; where it is false, the connection is cut off.
pub(crate) type Act = dyn Fn(&Step) -> bool + Send + Sync;

/// The way to the engine.
pub(crate) struct Proxy {
    /// For `DOCKER_HOST`.
    pub(crate) address: String,
    orders: Arc<Mutex<Vec<String>>>,
    _directory: Option<TempDir>,
}

impl Proxy {
    /// On a socket of this machine.
    pub(crate) fn local(act: impl Fn(&Step) -> bool + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let connections = move || listener.accept().map(|(connection, _)| connection);
        let orders = serve(connections, Arc::new(act));
        Proxy { address: format!("unix://{}", socket.display()), orders, _directory: Some(directory) }
    }

    /// On a port, as if the engine were elsewhere.
    pub(crate) fn remote() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let connections = move || listener.accept().map(|(connection, _)| connection);
        let orders = serve(connections, Arc::new(|_: &Step| true));
        Proxy { address, orders, _directory: None }
    }

    /// The orders that were given.
    pub(crate) fn orders(&self) -> Vec<String> {
        self.orders.lock().unwrap().clone()
    }
}

/// One end of a connection.
trait Wire: Read + Write + Send + Sized + 'static {
    fn twin(&self) -> Self;
    fn end(&self, how: Shutdown);
}

impl Wire for UnixStream {
    fn twin(&self) -> Self {
        self.try_clone().unwrap()
    }

    fn end(&self, how: Shutdown) {
        let _ = self.shutdown(how);
    }
}

impl Wire for TcpStream {
    fn twin(&self) -> Self {
        self.try_clone().unwrap()
    }

    fn end(&self, how: Shutdown) {
        let _ = self.shutdown(how);
    }
}

fn serve<W: Wire>(
    connections: impl Fn() -> io::Result<W> + Send + 'static,
    act: Arc<Act>,
) -> Arc<Mutex<Vec<String>>> {
    let orders = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&orders);
    thread::spawn(move || {
        while let Ok(connection) = connections() {
            let (act, all) = (Arc::clone(&act), Arc::clone(&all));
            thread::spawn(move || {
                let end = connection.twin();
                // A peer that has died is no matter of this side.
                let _ = pass(connection, &*act, &all);
                end.end(Shutdown::Both);
            });
        }
    });
    orders
}

/// Passes on one connection. The program gives each order over a new one, so that it is the first request.
fn pass<W: Wire>(mut client: W, act: &Act, all: &Mutex<Vec<String>>) -> io::Result<()> {
    let path = address().strip_prefix("unix://").expect("the engine of these tests has a socket").to_owned();
    let mut engine = UnixStream::connect(path)?;
    let mut head = vec![0; 64 << 10];
    let length = client.read(&mut head)?;
    let order = order(&String::from_utf8_lossy(&head[..length]));
    let step = order.map(|order| {
        let mut all = all.lock().unwrap();
        let (number, nth) = (all.len(), all.iter().filter(|other| **other == order).count());
        all.push(order.clone());
        Step { number, nth, when: When::Before, order }
    });
    if step.as_ref().is_some_and(|step| !act(step)) {
        return Ok(());
    }
    engine.write_all(&head[..length])?;
    let (mut from, to) = (client.twin(), engine.try_clone()?);
    let sending = thread::spawn(move || {
        let _ = io::copy(&mut from, &mut &to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let length = engine.read(&mut head)?;
    let step = step.map(|step| Step { when: When::After, ..step });
    if step.is_none_or(|step| act(&step)) {
        client.write_all(&head[..length])?;
        io::copy(&mut engine, &mut client)?;
    }
    client.end(Shutdown::Both);
    let _ = engine.shutdown(Shutdown::Both);
    let _ = sending.join();
    Ok(())
}

/// The order that a request is, if it is one: `POST /v1.41/containers/ID/stop HTTP/1.1`.
fn order(request: &str) -> Option<String> {
    let mut words = request.lines().next()?.split(' ');
    let (method, path) = (words.next()?, words.next()?.split('?').next()?);
    match method {
        "POST" => path.rsplit('/').next().map(str::to_owned),
        "DELETE" => Some("remove".to_owned()),
        _ => None,
    }
}
