//! Opens connections.

use rquickjs::{Ctx, Object};
use wapo::net::{Identity, TcpStream, TlsOptions};

use super::connection::Connected;
use super::failure::failed;
use crate::engine::{Failure, promise};
use crate::native::http::Abort;

/// Begins a connection: `{conn, abort}`. Options: `tls` and, with it, `serverName`
/// for another name than the host's, `alpn`, `roots`, `certificate` and `key`.
pub(super) fn connect<'js>(
    ctx: Ctx<'js>,
    host: String,
    port: u16,
    options: Object<'js>,
) -> rquickjs::Result<Object<'js>> {
    let server_name: Option<String> = options.get("serverName")?;
    let tls = match options.get::<_, bool>("tls")? {
        true => Some(tls_options(&options)?),
        false => None,
    };
    let abort = Abort::default();
    let call = Object::new(ctx.clone())?;
    call.set("abort", abort.function(&ctx)?)?;
    let opening = async move {
        let opening = dial(&host, port, tls, server_name);
        abort.or(opening).await.map(Connected::from)
    };
    call.set("conn", promise(&ctx, opening)?)?;
    Ok(call)
}

async fn dial(
    host: &str,
    port: u16,
    tls: Option<TlsOptions>,
    server_name: Option<String>,
) -> Result<TcpStream, Failure> {
    let stream = match (tls, server_name) {
        (None, _) => wapo::net::connect(host, port).await,
        (Some(tls), None) => wapo::net::connect_tls_with(host, port, tls).await,
        (Some(tls), Some(name)) => {
            let stream = wapo::net::connect(host, port).await;
            stream.and_then(|stream| stream.start_tls(&name, tls))
        }
    };
    stream.map_err(|error| failed(&error))
}

/// What an object wishes for TLS.
///
/// # Errors
///
/// A `TypeError` for members of another kind.
pub(super) fn tls_options(options: &Object<'_>) -> rquickjs::Result<TlsOptions> {
    let alpn: Option<Vec<String>> = options.get("alpn")?;
    let mut tls = TlsOptions::new().protocols(alpn.unwrap_or_default());
    if let Some(roots) = options.get::<_, Option<String>>("roots")? {
        tls = tls.roots_pem(roots);
    }
    if let Some(identity) = identity(options)? {
        tls = tls.identity(identity);
    }
    Ok(tls)
}

/// The certificate and key of an object, if it has both.
///
/// # Errors
///
/// A `TypeError` for members of another kind.
pub(super) fn identity(options: &Object<'_>) -> rquickjs::Result<Option<Identity>> {
    let certificate: Option<String> = options.get("certificate")?;
    let key: Option<String> = options.get("key")?;
    Ok(certificate
        .zip(key)
        .map(|(certificate, key)| Identity::from_pem(certificate, key)))
}
