//! An operator's service that says which users the relay knows: HTTP by hand, on a free port, until it is dropped.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// What the service says to a question; `None`: nothing, and the connection stays open.
pub type Says = Box<dyn Fn(&Value) -> Option<(u16, Value)> + Send + Sync>;

/// See the module.
pub struct AuthService {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Value>>>,
    over: Arc<AtomicBool>,
}

impl AuthService {
    /// Starts one that answers with what `says` says.
    pub fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (asked, over) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::<AtomicBool>::default());
        let (for_thread, until) = (asked.clone(), over.clone());
        let says = Arc::new(says);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if until.load(Ordering::Relaxed) {
                    return;
                }
                let (asked, says) = (for_thread.clone(), says.clone());
                // A question that is not answered must not hold up the next.
                std::thread::spawn(move || serve(stream.expect("a connection"), &asked, &says));
            }
        });
        Self { address, asked, over }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/check", self.address)
    }

    /// The questions so far.
    pub fn asked(&self) -> Vec<Value> {
        self.asked.lock().expect("no thread panics").clone()
    }
}

impl Drop for AuthService {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the thread.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, asked: &Mutex<Vec<Value>>, says: &Says) {
    let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body");
    let question: Value = serde_json::from_slice(&body).expect("JSON");
    asked.lock().expect("no thread panics").push(question.clone());
    let Some((status, answer)) = says(&question) else {
        // Until whoever asked hangs up.
        let _ = reader.read(&mut [0]);
        return;
    };
    let text = answer.to_string();
    let head =
        format!("HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", text.len());
    let _ = (&stream).write_all([head.as_bytes(), text.as_bytes()].concat().as_slice());
}
