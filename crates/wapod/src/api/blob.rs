//! Blobs, streamed: `POST /blob/<name>` and `GET /blob/<hex>`.
//!
//! What is being uploaded goes to the disk piece by piece, never into memory as a
//! whole, and no thread waits for a client. The name may be `sha256:` or
//! `sha512:` alone: then the hash is computed. Called by `admin`.

use std::io;

use http_body_util::StreamBody;
use hyper::body::{Body as _, Bytes, Frame};
use hyper::header::{CONTENT_LENGTH, EXPECT, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::admin_service::AdminService;
use super::body::{self, Body};
use super::budget::Share;
use super::client::Client;
use super::collect::{NotCollected, Paced};
use super::error::ApiError;
use super::request_body::RequestBody;
use crate::blobs::{BlobError, BlobFolder, BlobName, Upload, WantedName};
use crate::limits::{
    BLOB_BYTES_MAX, BLOB_PART_BYTES, BLOB_UPLOAD_TIMEOUT, DISCARD_TIMEOUT, GOODBYE_TIMEOUT,
};

/// The runtime has no threads any more.
const STOPPING: ApiError = ApiError::BadRequest("the daemon is stopping");

/// Answers `/blob/<name>`.
pub(super) async fn answer(
    service: &AdminService,
    name: &str,
    request: Request<RequestBody>,
    client: &Client,
) -> Result<Response<Body>, ApiError> {
    let blobs = &service.worker.blobs;
    let mut transfer = service.budgets.transfers.share(None);
    transfer.grow(1).map_err(|_| ApiError::TooManyTransfers)?;
    match *request.method() {
        Method::POST | Method::PUT => {
            let waits_for_word = request.headers().contains_key(EXPECT);
            let mut content = request.into_body();
            let window = service.budgets.clients.timeouts.body_window;
            let paced = Paced::new(client, window);
            let upload = match begin(blobs, name, &content).await {
                Ok(upload) => upload,
                Err(error) => {
                    // Such a client sends nothing before it was asked to, and reading
                    // would ask it.
                    if !waits_for_word {
                        tokio::spawn(body::discard(content, DISCARD_TIMEOUT));
                    }
                    return Err(error);
                }
            };
            let outcome = receive(upload, &mut content, paced).await;
            match &outcome {
                Err(ApiError::BodyTooSlow) => {
                    tokio::spawn(body::discard(content, GOODBYE_TIMEOUT));
                }
                // A client in the middle of its upload gets to read why.
                Err(_) if !content.is_end_stream() => {
                    tokio::spawn(body::discard(content, DISCARD_TIMEOUT));
                }
                _ => {}
            }
            outcome
        }
        Method::GET | Method::HEAD => {
            let is_head = request.method() == Method::HEAD;
            get(blobs, name, is_head, transfer).await
        }
        _ => Err(ApiError::MethodNotAllowed("GET, HEAD, POST, PUT")),
    }
}

/// Begins to store a body under its hash. Reads nothing of it.
async fn begin(blobs: &BlobFolder, name: &str, content: &RequestBody) -> Result<Upload, ApiError> {
    let wanted: WantedName = name.parse()?;
    if content.size_hint().lower() > BLOB_BYTES_MAX {
        return Err(ApiError::BodyTooLarge);
    }
    let blobs = blobs.clone();
    on_disk(move || blobs.upload(wanted, BLOB_BYTES_MAX)).await
}

/// Stores a body.
async fn receive(
    mut upload: Upload,
    content: &mut RequestBody,
    mut paced: Paced<'_>,
) -> Result<Response<Body>, ApiError> {
    let ends = Instant::now() + BLOB_UPLOAD_TIMEOUT;
    let mut is_over = false;
    while !is_over {
        let mut part = Vec::new();
        let mut bytes = 0;
        while bytes < BLOB_PART_BYTES {
            match paced.next(content, ends).await {
                Ok(Some(piece)) => {
                    bytes += piece.len();
                    part.push(piece);
                }
                Ok(None) => {
                    is_over = true;
                    break;
                }
                Err(NotCollected::TooSlow) => return Err(ApiError::BodyTooSlow),
                Err(_) => return Err(ApiError::BadRequest("the upload was cut off")),
            }
        }
        upload = on_disk(move || {
            for piece in &part {
                upload.write(piece)?;
            }
            Ok(upload)
        })
        .await?;
    }
    // Only this end makes a blob of it.
    let name: BlobName = on_disk(move || upload.finish()).await?;
    Ok(body::text(StatusCode::OK, name.to_string()))
}

/// Does something that blocks on a thread that may.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = spawn_blocking(work).await.map_err(|_| STOPPING)?;
    Ok(done?)
}

/// Gives a blob, checked.
async fn get(
    blobs: &BlobFolder,
    name: &str,
    is_head: bool,
    transfer: Share,
) -> Result<Response<Body>, ApiError> {
    let not_found = ApiError::Blob(StatusCode::NOT_FOUND, "Object not found".to_owned());
    let by_name = || name.parse::<BlobName>().ok();
    let Some(name) = BlobName::from_digits(name).or_else(by_name) else {
        return Err(not_found);
    };
    let blobs = blobs.clone();
    let (file, bytes) = on_disk(move || blobs.open_checked(&name)).await?;
    let file = (!is_head).then_some(file);
    // A piece is read when the client has taken the one before.
    let stream = futures_util::stream::unfold((file, transfer), |(file, transfer)| async {
        let mut file = file?;
        let reading = spawn_blocking(move || {
            let piece = crate::blobs::next_piece(&mut file);
            (piece, file)
        });
        let Ok((piece, file)) = reading.await else {
            return Some((
                Err(io::Error::other("the daemon is stopping")),
                (None, transfer),
            ));
        };
        match piece.transpose()? {
            Ok(piece) => Some((Ok(Frame::<Bytes>::data(piece)), (Some(file), transfer))),
            Err(error) => Some((Err(error), (None, transfer))),
        }
    });
    let mut response = Response::new(Body::Stream(StreamBody::new(Box::pin(stream))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    let binary = HeaderValue::from_static("application/octet-stream");
    headers.insert(hyper::header::CONTENT_TYPE, binary);
    Ok(response)
}
