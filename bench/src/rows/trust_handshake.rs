//! Row `trust-handshake`: new handshakes at the TLS port with a certificate that attests
//! the app, beside those with a plain certificate of the same kind of key. One daemon,
//! two names, TLS 1.3, nothing is resumed; clients take both certificates as they come,
//! because what a verifier does is not the server's cost. Rounds alternate.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::tls::rate;
use crate::child::Server;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::median;

const ROW: &str = "trust-handshake";
const PLAIN: &str = "plain.bench.test";
const ATTESTED: &str = "attested.bench.test";

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut server = Server::start("attested")?;
    let port: SocketAddr = server.ask_one("tls")?.parse()?;
    let client = client()?;
    let (mut plain, mut attested) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        plain.push(rate(&client, port, PLAIN, plan.load)?);
        attested.push(rate(&client, port, ATTESTED, plan.load)?);
    }
    let (plain, attested) = (median(&plain), median(&attested));
    report.add(Line {
        row: ROW,
        what: "new TLS 1.3 handshakes with an attested certificate; beside: with a plain one"
            .to_owned(),
        beside: format!("{} /s", number(plain)),
        ours: format!("{} /s", number(attested)),
        value: plain / attested,
        unit: "× the time",
        goal: Goal::AtMost(1.05),
    });
    Ok(())
}

fn client() -> Result<Arc<ClientConfig>> {
    let provider = ring::default_provider();
    let verifier = AsItComes(provider.signature_verification_algorithms);
    let mut client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    client.resumption = Resumption::disabled();
    Ok(Arc::new(client))
}

/// Takes every certificate, and checks only that the server has its key.
#[derive(Debug)]
struct AsItComes(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AsItComes {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
