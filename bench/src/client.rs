//! A small HTTP/1.1 client that blocks its thread: one keep-alive connection,
//! one request at a time. Knows just enough of HTTP for the rows that measure
//! single requests; throughput is `wrk`'s business.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// Longer than any wait that is worth measuring.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A keep-alive connection.
pub(crate) struct Client {
    host: String,
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Nobody listens.
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self {
            host: address.to_string(),
            stream: BufReader::new(stream),
        })
    }

    /// Asks for a path and gives the body.
    ///
    /// # Errors
    ///
    /// The connection breaks or the status is not 200.
    pub(crate) fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.host);
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Vec<u8>> {
        let status = self.line()?;
        let mut length = None;
        let mut is_chunked = false;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = Some(value.trim().parse()?);
            }
            is_chunked |= line.starts_with("transfer-encoding:") && line.ends_with("chunked");
        }
        let body = match length {
            Some(length) => self.bytes(length)?,
            None if is_chunked => self.chunks()?,
            None => bail!("an answer of unknown length: {status}"),
        };
        let text = String::from_utf8_lossy(&body);
        ensure!(status.contains(" 200"), "{status}: {text}");
        Ok(body)
    }

    /// Posts a body and gives the answer's.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> Result<Vec<u8>> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        let stream = self.stream.get_mut();
        // In one piece where it fits: a segment of its own for the head costs time.
        if body.len() < 16 * 1024 {
            stream.write_all(&[head.as_bytes(), body].concat())?;
        } else {
            stream.write_all(head.as_bytes())?;
            stream.write_all(body)?;
        }
        self.answer()
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(
            self.stream.read_line(&mut line)? > 0,
            "the connection was closed"
        );
        Ok(line.trim_end().to_owned())
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let length = usize::from_str_radix(&line, 16)
                .with_context(|| format!("`{line}` is not the length of a chunk"))?;
            body.extend(self.bytes(length)?);
            self.line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }
}

/// Asks for a URL over a connection of its own.
///
/// # Errors
///
/// As [`Client::get`].
pub(crate) fn get_once(url: &str) -> Result<Vec<u8>> {
    let (address, path) = split_url(url)?;
    Client::connect(address)?.get(path)
}

/// The address and the path of a URL.
///
/// # Errors
///
/// It has no literal address.
pub(crate) fn split_url(url: &str) -> Result<(SocketAddr, &str)> {
    let rest = url.strip_prefix("http://").context("not http")?;
    let slash = rest.find('/').context("no path")?;
    Ok((rest[..slash].parse()?, &rest[slash..]))
}
