//! Blobs, streamed: `POST /blob/<name>` and `GET /blob/<hex>`.
//!
//! What is being uploaded goes to the disk piece by piece, never into memory as a
//! whole. The name may be `sha256:` or `sha512:` alone: then the hash is
//! computed. Called by `admin`.

use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body as _, Bytes, Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::mpsc;

use super::body::{self, Body};
use super::error::ApiError;
use crate::blobs::{BlobError, BlobFolder, BlobName, Upload, WantedName};
use crate::limits::{BLOB_BYTES_MAX, BLOB_PIECES_MAX, DISCARD_TIMEOUT};

/// Answers `/blob/<name>`.
pub(super) async fn answer(
    blobs: &BlobFolder,
    name: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    match *request.method() {
        Method::POST | Method::PUT => {
            let mut content = request.into_body();
            let outcome = put(blobs, name, &mut content).await;
            if outcome.is_err() && !content.is_end_stream() {
                // Whoever is in the middle of it gets to read why.
                tokio::spawn(body::discard(content, DISCARD_TIMEOUT));
            }
            outcome
        }
        Method::GET | Method::HEAD => get(blobs, name, request.method() == Method::HEAD).await,
        _ => Err(ApiError::MethodNotAllowed("GET, HEAD, POST, PUT")),
    }
}

/// Stores a body under its hash.
async fn put(
    blobs: &BlobFolder,
    name: &str,
    content: &mut Incoming,
) -> Result<Response<Body>, ApiError> {
    let wanted: WantedName = name.parse()?;
    if content.size_hint().lower() > BLOB_BYTES_MAX {
        return Err(ApiError::BodyTooLarge);
    }
    let (pieces, taken) = mpsc::channel(BLOB_PIECES_MAX);
    let blobs = blobs.clone();
    let writing =
        tokio::task::spawn_blocking(move || write(blobs.upload(wanted, BLOB_BYTES_MAX)?, taken));
    let mut is_complete = true;
    while let Some(frame) = content.frame().await {
        match frame.map(Frame::into_data) {
            // The writer has given up, and will say why.
            Ok(Ok(piece)) => {
                if pieces.send(Some(piece)).await.is_err() {
                    break;
                }
            }
            Ok(Err(_trailers)) => {}
            Err(_) => {
                is_complete = false;
                break;
            }
        }
    }
    if is_complete {
        // Only this end makes a blob of it.
        let _ = pieces.send(None).await;
    }
    drop(pieces);
    match writing.await {
        Ok(Ok(Some(name))) => Ok(body::text(StatusCode::OK, name.to_string())),
        Ok(Ok(None)) => Err(ApiError::BadRequest("the upload was cut off")),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(ApiError::BadRequest("the daemon is stopping")),
    }
}

/// Writes pieces until the end is announced; `None` when it never is.
fn write(
    mut upload: Upload,
    mut pieces: mpsc::Receiver<Option<Bytes>>,
) -> Result<Option<BlobName>, BlobError> {
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Some(piece) => upload.write(&piece)?,
            None => return upload.finish().map(Some),
        }
    }
    Ok(None)
}

/// Gives a blob, checked.
async fn get(blobs: &BlobFolder, name: &str, is_head: bool) -> Result<Response<Body>, ApiError> {
    let not_found = ApiError::Blob(StatusCode::NOT_FOUND, "Object not found".to_owned());
    let by_name = || name.parse::<BlobName>().ok();
    let Some(name) = BlobName::from_digits(name).or_else(by_name) else {
        return Err(not_found);
    };
    let blobs = blobs.clone();
    let (pieces, taken) = mpsc::channel(BLOB_PIECES_MAX);
    let opening = tokio::task::spawn_blocking(move || blobs.open_checked(&name));
    let Ok(opened) = opening.await else {
        return Err(ApiError::BadRequest("the daemon is stopping"));
    };
    let (mut file, bytes) = opened?;
    if !is_head {
        tokio::task::spawn_blocking(move || {
            loop {
                match crate::blobs::next_piece(&mut file) {
                    Ok(Some(piece)) => {
                        if pieces.blocking_send(Ok(Frame::data(piece))).is_err() {
                            return;
                        }
                    }
                    Ok(None) => return,
                    Err(error) => {
                        let _ = pieces.blocking_send(Err(error));
                        return;
                    }
                }
            }
        });
    }
    let stream = futures_util::stream::unfold(taken, |mut taken| async move {
        taken.recv().await.map(|piece| (piece, taken))
    });
    let mut response = Response::new(Body::Stream(StreamBody::new(Box::pin(stream))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    let binary = HeaderValue::from_static("application/octet-stream");
    headers.insert(hyper::header::CONTENT_TYPE, binary);
    Ok(response)
}
