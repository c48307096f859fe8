//! A caller over HTTP/1.1 that costs next to nothing, so that what is measured is the server.

use std::{net::SocketAddr, str, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
};

/// Most bytes of an answer's head and body.
const MAX_ANSWER: usize = 64 << 20;

/// Connections, each for one call at a time.
pub(crate) async fn open(addr: SocketAddr, n: usize) -> Result<Vec<Arc<Mutex<Connection>>>> {
    let mut connections = Vec::with_capacity(n);
    for _ in 0..n {
        connections.push(Arc::new(Mutex::new(Connection::open(addr).await?)));
    }
    Ok(connections)
}

/// A kept connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Its body, if it was a success.
    pub(crate) fn success(self) -> Result<Vec<u8>> {
        ensure!(self.status / 100 == 2, "{}: {}", self.status, String::from_utf8_lossy(&self.body));
        Ok(self.body)
    }

    pub(crate) fn json(self) -> Result<Value> {
        Ok(serde_json::from_slice(&self.success()?)?)
    }
}

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::with_capacity(64 << 10) })
    }

    /// Sends a whole request and reads the whole answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<Answer> {
        self.received.clear();
        self.stream.write_all(request).await?;
        let (head_end, status, length) = loop {
            self.receive().await?;
            if let Some(at) = find(&self.received, b"\r\n\r\n") {
                let (status, length) = read_head(&self.received[..at])?;
                break (at + 4, status, length);
            }
        };
        let body = match length {
            Length::Bytes(n) => {
                while self.received.len() < head_end + n {
                    self.receive().await?;
                }
                self.received[head_end..head_end + n].to_vec()
            }
            Length::Chunked => {
                let (mut body, mut at) = (Vec::new(), head_end);
                while !unchunk(&self.received, &mut at, &mut body)? {
                    self.receive().await?;
                }
                body
            }
        };
        Ok(Answer { status, body })
    }

    async fn receive(&mut self) -> Result<()> {
        ensure!(self.received.len() < MAX_ANSWER, "the answer does not end");
        self.received.reserve(16 << 10);
        ensure!(self.stream.read_buf(&mut self.received).await? > 0, "it hung up");
        Ok(())
    }
}

/// A request with a JSON body; `headers` are whole lines.
pub(crate) fn post(path: &str, headers: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

/// A request without a body.
pub(crate) fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: bench\r\n{headers}\r\n").into_bytes()
}

enum Length {
    Bytes(usize),
    Chunked,
}

fn read_head(head: &[u8]) -> Result<(u16, Length)> {
    let head = str::from_utf8(head)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?.parse()?;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            return Ok((status, Length::Bytes(value.trim().parse()?)));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Ok((status, Length::Chunked));
        }
    }
    bail!("an answer without a length")
}

/// Takes the whole chunks from `at` on; true after the last.
fn unchunk(received: &[u8], at: &mut usize, body: &mut Vec<u8>) -> Result<bool> {
    while let Some(line) = find(&received[*at..], b"\r\n") {
        let size = str::from_utf8(&received[*at..*at + line])?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or(size).trim(), 16)?;
        let start = *at + line + 2;
        if received.len() < start + size + 2 {
            return Ok(false);
        }
        body.extend_from_slice(&received[start..start + size]);
        *at = start + size + 2;
        if size == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}
