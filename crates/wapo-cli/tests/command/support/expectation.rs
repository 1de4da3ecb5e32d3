//! What a client must get: asks over HTTP/1.1 and compares.
//!
//! One connection for a request; nothing is followed, decoded or retried.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Time for a request that names none.
const LIMIT: Duration = Duration::from_secs(60);

/// An answer as it came.
#[derive(Debug, Default)]
struct Answer {
    status: u64,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The body is recognisably incomplete.
    is_cut: bool,
    error: Option<String>,
    took: Duration,
}

/// Asks all that an expectation asks; gives what is wrong.
pub(crate) async fn drive(address: &str, expected: &Value, known: &[&str]) -> Vec<String> {
    let single = [expected.clone()];
    let steps = expected["steps"]
        .as_array()
        .map_or(&single[..], |steps| steps);
    let mut wrong = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        if let Some(wait) = step["wait_ms"].as_u64() {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        let wanted = if expected["steps"].is_array() {
            &step["expect"]
        } else {
            step
        };
        let answer = ask(address, &step["request"]).await;
        wrong.extend(
            compare(&answer, wanted, known).map(|what| format!("step {}: {what}", index + 1)),
        );
    }
    wrong
}

/// Sends a body and gives that of the answer, whatever time it takes.
pub(crate) async fn post(address: &str, body: &str) -> String {
    let request = serde_json::json!({ "method": "POST", "body": body });
    let bytes = exchange(address, &request).await.expect("an answer");
    let answer = parse(&bytes);
    String::from_utf8_lossy(&answer.body).into_owned()
}

async fn ask(address: &str, request: &Value) -> Answer {
    let started = Instant::now();
    let exchange = exchange(address, request);
    let mut answer = match request["drop_ms"].as_u64() {
        // The client hangs up, and wants no answer.
        Some(wait) => {
            let _ = tokio::time::timeout(Duration::from_millis(wait), exchange).await;
            Answer::default()
        }
        None => match tokio::time::timeout(LIMIT, exchange).await {
            Ok(Ok(bytes)) => parse(&bytes),
            Ok(Err(error)) => Answer {
                error: Some(error.to_string()),
                ..Answer::default()
            },
            Err(_) => Answer {
                error: Some("no answer in time".into()),
                ..Answer::default()
            },
        },
    };
    answer.took = started.elapsed();
    answer
}

/// Sends a request and reads to the end of the connection, or of what came of it.
async fn exchange(address: &str, request: &Value) -> std::io::Result<Vec<u8>> {
    let method = request["method"].as_str().unwrap_or("GET");
    let path = request["path"].as_str().unwrap_or("/");
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        let values = value
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![value.clone()]);
        for value in values {
            head += &format!("{name}: {}\r\n", value.as_str().expect("a header is text"));
        }
    }
    let body = request["body"].as_str().unwrap_or_default();
    if request["body"].is_string() {
        head += &format!("content-length: {}\r\n", body.len());
    }
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(format!("{head}\r\n{body}").as_bytes())
        .await?;
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes).await;
    if bytes.is_empty() {
        read?;
    }
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Answer {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Answer {
            error: Some("the head was cut".into()),
            ..Answer::default()
        };
    };
    // A byte is a character.
    let head: String = bytes[..end].iter().copied().map(char::from).collect();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let find = |name: &str| {
        headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, v)| v.clone())
    };
    let rest = &bytes[end + 4..];
    let (body, is_cut) = match (find("transfer-encoding"), find("content-length")) {
        (Some(_), _) => chunks(rest),
        (None, Some(length)) => {
            let length: usize = length.parse().expect("a length");
            (rest.to_vec(), rest.len() < length)
        }
        (None, None) => (rest.to_vec(), false),
    };
    let status = status
        .and_then(|status| status.parse().ok())
        .unwrap_or_default();
    Answer {
        status,
        headers,
        body,
        is_cut,
        ..Answer::default()
    }
}

/// A body in chunks, and whether its end is missing.
fn chunks(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(line) = rest.windows(2).position(|window| window == b"\r\n") else {
            return (body, true);
        };
        let size = std::str::from_utf8(&rest[..line]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size");
        rest = &rest[line + 2..];
        if size == 0 {
            return (body, !rest.starts_with(b"\r\n"));
        }
        if rest.len() < size + 2 {
            body.extend(&rest[..rest.len().min(size)]);
            return (body, true);
        }
        body.extend(&rest[..size]);
        rest = &rest[size + 2..];
    }
}

/// What differs between an answer and what was wanted, if something does.
fn compare(answer: &Answer, wanted: &Value, known: &[&str]) -> Option<String> {
    if wanted["any"].as_bool() == Some(true) {
        return None;
    }
    let may_reset = wanted["may_reset"].as_bool() == Some(true);
    if let Some(error) = &answer.error {
        return (!may_reset).then(|| error.clone());
    }
    if wanted["ms"]
        .as_u64()
        .is_some_and(|most| answer.took > Duration::from_millis(most))
    {
        return Some(format!("took {:?}", answer.took));
    }
    let text = String::from_utf8_lossy(&answer.body);
    let statuses = match &wanted["status"] {
        Value::Null => vec![200],
        Value::Array(list) => list.iter().filter_map(Value::as_u64).collect(),
        one => one.as_u64().into_iter().collect(),
    };
    if !statuses.contains(&answer.status) {
        return Some(format!("status {}: {text}", answer.status));
    }
    let may_be_cut = wanted["either_cut"].as_bool() == Some(true);
    if !may_be_cut && answer.is_cut != (wanted["cut"].as_bool() == Some(true)) {
        return Some(format!("the body was cut: {}", answer.is_cut));
    }
    headers(answer, wanted).or_else(|| body(&text, wanted, known))
}

fn headers(answer: &Answer, wanted: &Value) -> Option<String> {
    for (name, value) in wanted["headers"].as_object().into_iter().flatten() {
        let given = answer.headers.iter().filter(|(known, _)| known == name);
        let given: Vec<&str> = given.map(|(_, value)| value.as_str()).collect();
        let is_right = match value {
            Value::Null => given.is_empty(),
            Value::Array(list) => list
                .iter()
                .filter_map(Value::as_str)
                .eq(given.iter().copied()),
            one => one.as_str() == Some(given.join(", ").as_str()),
        };
        if !is_right {
            return Some(format!("header {name}: {given:?} instead of {value}"));
        }
    }
    None
}

fn body(text: &str, wanted: &Value, known: &[&str]) -> Option<String> {
    if wanted["text"].as_str().is_some_and(|wanted| wanted != text) {
        return Some(format!("text {text:?}"));
    }
    if wanted["starts"]
        .as_str()
        .is_some_and(|wanted| !text.starts_with(wanted))
    {
        return Some(format!("text {text:?}"));
    }
    let without = match &wanted["without"] {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        one => Vec::from_iter(one.as_str()),
    };
    if let Some(part) = without.iter().find(|part| text.contains(**part)) {
        return Some(format!("the body tells {part}"));
    }
    let wanted = wanted["json"].as_object()?;
    let Ok(Value::Object(given)) = serde_json::from_str(text) else {
        return Some(format!("not JSON: {text}"));
    };
    let names = wanted
        .keys()
        .chain(given.keys().filter(|name| !wanted.contains_key(*name)));
    let differs = |name: &&String| !is_same(wanted.get(*name), given.get(*name));
    let mut wrong: Vec<String> = Vec::new();
    for name in names {
        // What is known to differ has to be told when it no longer does.
        if differs(&name) != known.contains(&name.as_str()) {
            wrong.push(format!(
                "{name}: {:?} instead of {:?}",
                given.get(name),
                wanted.get(name)
            ));
        }
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

/// Equal as JavaScript sees it: 1 and 1.0 are one number.
fn is_same(left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left, right) {
        (Some(Value::Number(left)), Some(Value::Number(right))) => left.as_f64() == right.as_f64(),
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| is_same(Some(left), Some(right)))
        }
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(name, value)| is_same(Some(value), right.get(name)))
        }
        (left, right) => left == right,
    }
}
