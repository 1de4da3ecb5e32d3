//! A server that answers as a test says, in place of a worker or a caching service.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::text;

/// A server of HTTP that has a header and content at paths. It is asked with the path and
/// the body of the request; where there is nothing, the status is 404.
pub(crate) fn answers(
    at: impl Fn(&str, &[u8]) -> Option<(String, Vec<u8>)> + Send + 'static,
) -> SocketAddr {
    serve(move |path, body| match at(path, body) {
        Some((header, content)) => (format!("200 OK\r\n{header}"), content),
        None => ("404 Not Found".to_owned(), Vec::new()),
    })
}

/// A server of HTTP that answers everything with a refusal in these words.
pub(crate) fn refusals(words: &str) -> SocketAddr {
    let words = words.as_bytes().to_vec();
    serve(move |_, _| ("400 Bad Request".to_owned(), words.clone()))
}

fn serve(at: impl Fn(&str, &[u8]) -> (String, Vec<u8>) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.expect("a client");
            let (head, body) = request(&mut socket);
            let path = head.split(' ').nth(1).unwrap_or_default();
            let (head, content) = at(path, &body);
            let length = content.len();
            let head =
                format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            // A client that has left has all it wants.
            let _ = socket.write_all(&[head.into_bytes(), content].concat());
        }
    });
    address
}

/// The head and the body of a request.
fn request(socket: &mut TcpStream) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).is_ok_and(|read| read > 0) {
        head.extend(byte);
    }
    let head = text(&head);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok()).flatten()
    });
    let mut body = vec![0; length.unwrap_or_default()];
    // A client that breaks off gets an answer to what there is.
    let _ = socket.read_exact(&mut body);
    (head, body)
}
