//! A guest of Wapo 0.x: the published SDK and its way of waiting.
//!
//! Serves HTTP/1.1 by hand on the address in the first argument, with
//! keep-alive: `/` greets, `/sleep/<ms>` waits first, `/select/<ms>` waits
//! with a waker of a combinator, `/panic` panics, `/exit` ends the program.
//! The SDK as published speaks an older form of queries, so there are none.

#![cfg_attr(not(test), no_main)]

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use wapo::net::{TcpListener, TcpStream};

#[wapo::main]
async fn main() {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1999".into());
    let listener = TcpListener::bind(&addr).await.expect("cannot listen");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                wapo::spawn(async move {
                    let _ = serve(stream).await;
                });
            }
            Err(error) => panic!("cannot accept: {error:?}"),
        }
    }
}

async fn serve(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return stream.shutdown().await;
        }
        let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
        while line.trim_end() != "" {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
        }
        let body = answer(&path).await;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await?;
        stream.flush().await?;
    }
}

async fn answer(path: &str) -> String {
    let mut words = path.split('/').skip(1);
    let verb = words.next().unwrap_or_default();
    let number = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let duration = Duration::from_millis(number);
    match verb {
        "sleep" => wapo::time::sleep(duration).await,
        "select" => {
            let sleeper = wapo::spawn(wapo::time::sleep(duration));
            let _ = wapo::time::timeout(Duration::from_secs(60), sleeper).await;
        }
        "panic" => panic!("asked to panic"),
        "exit" => std::process::exit(3),
        _ => {}
    }
    "Hello, World!".to_owned()
}
