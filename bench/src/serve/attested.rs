//! A daemon with the simulator and two apps at its TLS port: the name `plain` below the
//! base domain has the certificate of the port, `attested` one with the app's evidence.
//!
//! Commands:
//!
//! * `tls` answers with the address of the port.

use anyhow::{Context as _, Result, anyhow};
use wapod::{
    AppConfig, AttestationMode, AttestationSettings, Config, Module, TlsFiles, TlsSettings,
};

use crate::folder::Folder;
use crate::guests;

/// Where the apps have their names.
const BASE_DOMAIN: &str = "bench.test";

pub(super) fn run() -> Result<()> {
    let runtime = wapod::runtime_builder().build()?;
    runtime.block_on(async {
        let folder = Folder::make()?;
        let running = wapod::Server::start(Config {
            base_domain: BASE_DOMAIN.to_owned(),
            tls: Some(TlsSettings {
                address: ([127, 0, 0, 1], 0).into(),
                verifies_certificates: false,
                certificate: Some(certificate(&folder)?),
            }),
            attestation: AttestationSettings {
                mode: AttestationMode::Simulator,
                ..AttestationSettings::default()
            },
            ..Config::default()
        })
        .await?;
        let module = Module::read(&guests::path("gateway"))?;
        for (label, attested) in [("plain", false), ("attested", true)] {
            let mut app = AppConfig::new(module.clone());
            app.label = label.to_owned();
            app.attested = attested;
            running.start_app(app).await?;
        }
        let mut commands = super::commands();
        while let Some(command) = commands.next_line().await? {
            let address = running.tls_address().context("no TLS port");
            super::answer(match command.as_str() {
                "tls" => address.map(|address| vec![address.to_string()]),
                _ => Err(anyhow!("unknown command")),
            });
        }
        running.shutdown().await;
        Ok(())
    })
}

/// A certificate of P-256 that has signed itself, as the attested one has.
fn certificate(folder: &Folder) -> Result<TlsFiles> {
    let made = rcgen::generate_simple_self_signed(vec![format!("*.{BASE_DOMAIN}")])?;
    let pem = [made.cert.pem(), made.signing_key.serialize_pem()].concat();
    let path = folder.path().join("identity.pem");
    std::fs::write(&path, pem)?;
    Ok(TlsFiles {
        certificate: path,
        key: None,
    })
}
