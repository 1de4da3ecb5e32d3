//! The verifier as the page `/verify` runs it: a message in, a report as JSON out.
//!
//! Compiled for `wasm32-unknown-unknown` by `cargo xtask guests` and called by
//! `crates/wapod/console/verify-worker.js`, each message in an instance of its own. The
//! checks are those of `wapo-verify`, and the report is that of `wapo verify … --json`;
//! this crate only finds out what is to be verified. It imports nothing: the time is in
//! the message, and there is no file, network or source of random numbers.
//!
//! A message is the length of its head (4 bytes, little endian), the head as JSON
//! (`Head`), and the contents of the files one behind the other.

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
mod exports;

use serde::Deserialize;
use serde_json::{Value, json};
use wapo_rpc::AppAddress;
use wapo_rpc::limits::{COLLATERAL_BYTES_MAX, QUOTE_BYTES_MAX, QUOTE_CERTIFICATES_BYTES_MAX};
use wapo_rpc::signed_answer::file::Exchange;
use wapo_rpc::statement::{self, AppEvidence, WorkerEvidence};
use wapo_verify::answer;
use wapo_verify::app::{self, CERTIFICATE_BYTES_MAX};
use wapo_verify::demands::{self, POLICY_BYTES_MAX};
use wapo_verify::evidence_file::{self, FILE_BYTES_MAX};
use wapo_verify::quote::{self, recognise};
use wapo_verify::usage::{self, Expected};
use wapo_verify::{Context, Policy, Roots, Verdict, report, worker};

/// Bytes of a bill.
///
/// A bill of half this length, 20,000 reports on two apps, is checked within two seconds
/// and takes 73 MiB of memory. The command reads longer ones.
pub const BILL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a message says besides the files. Texts are as people write them; an empty one
/// demands nothing.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Head {
    /// The time at which evidence has to count, in unix seconds.
    now: u64,
    /// Let the simulator count.
    accept_simulator: bool,
    /// The nonce that evidence has to carry.
    nonce: String,
    /// Address of the app that it has to be about.
    app: String,
    /// Public key of the worker whose bill it has to be.
    worker: String,
    /// The report after which a bill has to go on.
    after: String,
    /// Number of a report that a bill has to reach.
    last_seq: String,
    /// Time that a bill has to reach.
    until: String,
    /// The files, in the order of their contents.
    files: Vec<FileHead>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct FileHead {
    role: Role,
    /// Its ending tells TOML from JSON.
    name: String,
    bytes: usize,
}

/// What a file is to a verification.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Debug)]
#[serde(rename_all = "kebab-case")]
enum Role {
    Worker,
    App,
    Certificate,
    Quote,
    ChipCertificates,
    Usage,
    Answer,
    Collateral,
    Policy,
}

impl Role {
    /// Its name in errors.
    fn name(self) -> &'static str {
        match self {
            Self::Worker => "evidence of a worker",
            Self::App => "evidence of an app",
            Self::Certificate => "a certificate",
            Self::Quote => "a quote",
            Self::ChipCertificates => "certificates of a chip",
            Self::Usage => "a bill",
            Self::Answer => "an answer",
            Self::Collateral => "collateral",
            Self::Policy => "a policy",
        }
    }

    /// Bytes of a file that is read; as hex where it may be.
    fn bytes_max(self) -> usize {
        match self {
            Self::Worker | Self::App => FILE_BYTES_MAX,
            Self::Certificate => 2 * CERTIFICATE_BYTES_MAX,
            Self::Quote => 3 * QUOTE_BYTES_MAX,
            Self::ChipCertificates => 3 * QUOTE_CERTIFICATES_BYTES_MAX,
            Self::Usage => BILL_BYTES_MAX,
            Self::Answer => answer::FILE_BYTES_MAX,
            Self::Collateral => COLLATERAL_BYTES_MAX,
            Self::Policy => POLICY_BYTES_MAX,
        }
    }
}

/// Verifies what a message has. The answer is JSON: `kind` with the report that
/// `wapo verify … --json` prints, or `error`.
pub fn answered(message: &[u8]) -> String {
    let answer = verified(message).unwrap_or_else(|error| json!({ "error": shown(&error) }));
    answer.to_string()
}

/// Characters of an error that the page shows. No reader wants more, and the page lays
/// them out in its own thread.
const SHOWN_CHARS_MAX: usize = 4_000;

/// A text in which there may be much of a hostile file.
fn shown(text: &str) -> String {
    let end = text.char_indices().nth(SHOWN_CHARS_MAX);
    wapo_rpc::text::escape(&text[..end.map_or(text.len(), |(end, _)| end)], &['\n'])
}

fn verified(message: &[u8]) -> Result<Value, String> {
    let (head, files) = parse(message)?;
    let demanded = Demanded::of(&head, &files)?;
    let (kind, (verdict, facts)) = match files.subject()? {
        Role::Worker => ("worker", demanded.worker(&files)?),
        Role::App | Role::Certificate => ("app", demanded.app(&files)?),
        Role::Usage => ("usage", demanded.usage(&head, &files)?),
        Role::Answer => ("answer", demanded.answer(&files)?),
        _ => ("quote", demanded.quote(&files)?),
    };
    let mut answer = report::report(&verdict, &facts);
    answer["kind"] = kind.into();
    Ok(answer)
}

/// The files of a message, each role once.
struct Files<'a>(Vec<(Role, String, &'a [u8])>);

fn parse(message: &[u8]) -> Result<(Head, Files<'_>), String> {
    let broken = || "the message of the page is cut off".to_owned();
    let (length, rest) = message.split_first_chunk::<4>().ok_or_else(broken)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| broken())?;
    let (head, mut rest) = rest.split_at_checked(length).ok_or_else(broken)?;
    let mut head: Head = serde_json::from_slice(head)
        .map_err(|error| format!("the message of the page cannot be read: {error}"))?;
    let mut files: Vec<(Role, String, &[u8])> = Vec::new();
    for FileHead { role, name, bytes } in head.files.drain(..) {
        let what = role.name();
        let (content, after) = rest.split_at_checked(bytes).ok_or_else(broken)?;
        rest = after;
        let bytes_max = role.bytes_max();
        if bytes > bytes_max {
            return Err(format!(
                "{what} has {bytes} bytes, and at most {bytes_max} are read"
            ));
        }
        if files.iter().any(|(other, _, _)| *other == role) {
            return Err(format!("there are two files with {what}: take one out"));
        }
        files.push((role, name, content));
    }
    if rest.is_empty() {
        Ok((head, Files(files)))
    } else {
        Err(broken())
    }
}

impl<'a> Files<'a> {
    fn get(&self, wanted: Role) -> Option<&'a [u8]> {
        let mut files = self.0.iter();
        files
            .find(|(role, _, _)| *role == wanted)
            .map(|(_, _, content)| *content)
    }

    /// What is verified. A bill may come with evidence of its worker, an answer with that
    /// of its app.
    fn subject(&self) -> Result<Role, String> {
        use Role::{
            Answer, App, Certificate, ChipCertificates, Collateral, Policy, Quote, Usage, Worker,
        };
        let of = |some: &[Role]| -> Vec<Role> {
            let here = self.0.iter().map(|(role, _, _)| *role);
            here.filter(|role| some.contains(role)).collect()
        };
        let subject = match of(&[Usage, Answer, Worker, App, Certificate, Quote])[..] {
            [one] => one,
            [Usage, Worker | App] | [Worker | App, Usage] => Usage,
            [Answer, App] | [App, Answer] => Answer,
            [] => {
                return Err(
                    "nothing to verify: add evidence, a certificate, a quote, a bill or an answer"
                        .to_owned(),
                );
            }
            [one, other, ..] => {
                return Err(format!(
                    "{} and {}: one thing is verified at a time",
                    one.name(),
                    other.name()
                ));
            }
        };
        // What would have no effect would seem to have one.
        let is_bill_alone = subject == Usage && of(&[Worker, App]).is_empty();
        let idle = match subject {
            Quote => of(&[]),
            _ if is_bill_alone => of(&[ChipCertificates, Collateral, Policy]),
            _ => of(&[ChipCertificates]),
        };
        match idle.first() {
            None => Ok(subject),
            Some(idle) => Err(format!(
                "{} says nothing of {}: take it out",
                idle.name(),
                subject.name()
            )),
        }
    }
}

/// What is demanded, read and ready.
struct Demanded<'a> {
    now: u64,
    roots: Roots,
    policy: Policy,
    collateral: Option<&'a [u8]>,
    nonce: Option<Vec<u8>>,
    app: Option<AppAddress>,
}

/// A text of a field, unless it is empty.
fn field<T>(
    name: &str,
    text: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match text.trim() {
        "" => Ok(None),
        text => read(text)
            .map(Some)
            .map_err(|error| format!("{name}: {error}")),
    }
}

impl<'a> Demanded<'a> {
    fn of(head: &Head, files: &Files<'a>) -> Result<Self, String> {
        let mut policy = Policy::default();
        for (_, name, content) in files.0.iter().filter(|(role, _, _)| *role == Role::Policy) {
            policy = demands::policy(name, content)
                .map_err(|error| format!("the policy cannot be read: {error}"))?;
        }
        policy.accept_simulator |= head.accept_simulator;
        Ok(Self {
            now: head.now,
            roots: Roots::default(),
            policy,
            collateral: files.get(Role::Collateral),
            nonce: field("Nonce", &head.nonce, demands::nonce)?,
            app: field("App", &head.app, |text| {
                text.parse().map_err(|_| "no address of an app".to_owned())
            })?,
        })
    }

    fn context(&self) -> Context<'_> {
        Context {
            now: self.now,
            roots: &self.roots,
            policy: &self.policy,
            nonce: self.nonce.as_deref(),
        }
    }

    fn worker(&self, files: &Files<'_>) -> Result<(Verdict, Value), String> {
        let content = files.get(Role::Worker).unwrap_or_default();
        let evidence = worker_evidence(content)?;
        let verified = worker::verify(&evidence, self.collateral, &self.context());
        let facts = verified.claims.as_ref().map_or(Value::Null, report::worker);
        Ok((verified.verdict, facts))
    }

    fn app(&self, files: &Files<'_>) -> Result<(Verdict, Value), String> {
        let (evidence, key) = match files.get(Role::Certificate) {
            Some(content) => {
                let der = evidence_file::certificate(content);
                let carried = app::from_certificate(&der).map_err(text)?;
                (carried.evidence, Some(carried.key))
            }
            None => {
                let content = files.get(Role::App).unwrap_or_default();
                (app_evidence(content)?, None)
            }
        };
        let verified = app::verify(
            &evidence,
            self.collateral,
            self.app,
            key.as_deref(),
            &self.context(),
        );
        let facts = verified.claims.as_ref().map_or(Value::Null, report::app);
        Ok((verified.verdict, facts))
    }

    fn quote(&self, files: &Files<'_>) -> Result<(Verdict, Value), String> {
        demands::of_quote(&self.policy, self.nonce.as_deref())?;
        let bytes = |role| evidence_file::bytes(files.get(role).unwrap_or_default());
        let certificates = bytes(Role::ChipCertificates);
        let quote = recognise(&bytes(Role::Quote), &certificates, &self.roots).map_err(text)?;
        let quoted = quote::verify(&quote, self.collateral, &self.context());
        Ok((quoted.verdict, report::quote(quoted.report_data)))
    }

    /// Evidence that comes with the bill is verified first: what is there is demanded.
    fn usage(&self, head: &Head, files: &Files<'_>) -> Result<(Verdict, Value), String> {
        let mut verdict = Verdict::default();
        let mut key = field("Worker", &head.worker, demands::key)?;
        let mut app = self.app;
        if let Some(content) = files.get(Role::Worker) {
            let evidence = worker_evidence(content)?;
            key = Some(evidence.worker_claims().map_err(text)?.pubkey);
            let verified = worker::verify(&evidence, self.collateral, &self.context());
            verdict.extend(verified.verdict);
        } else if let Some(content) = files.get(Role::App) {
            let evidence = app_evidence(content)?;
            key = Some(evidence.worker.worker_claims().map_err(text)?.pubkey);
            let verified = app::verify(&evidence, self.collateral, self.app, None, &self.context());
            verdict.extend(verified.verdict);
            // With evidence of an app, the bill is that app's.
            app = app.or(Some(evidence.app_claims().map_err(text)?.address));
        }
        let number = |text: &str| text.parse().map_err(|_| "no number".to_owned());
        let until = field("Reaches time", &head.until, demands::time)?;
        let expected = Expected {
            worker: key,
            app,
            after: field("Goes on after", &head.after, demands::link)?,
            last_seq: field("Reaches report", &head.last_seq, number)?,
            until_ms: until.map(|seconds| seconds.saturating_mul(1000)),
        };
        let content = files.get(Role::Usage).unwrap_or_default();
        let (own, bill) = usage::check(content, &expected);
        verdict.extend(own);
        Ok((verdict, bill.as_ref().map_or(Value::Null, report::bill)))
    }

    /// With the evidence in the file, unless another one is given.
    fn answer(&self, files: &Files<'_>) -> Result<(Verdict, Value), String> {
        let content = files.get(Role::Answer).unwrap_or_default();
        let exchange = Exchange::read(content).map_err(|why| format!("no answer: {why}"))?;
        let evidence = match files.get(Role::App) {
            Some(content) => app_evidence(content)?,
            None if exchange.evidence.is_empty() => {
                return Err("the answer comes without evidence of the app: add it".to_owned());
            }
            None => statement::decode(&exchange.evidence).map_err(text)?,
        };
        let (verdict, kind) = answer::verify(
            &exchange,
            &evidence,
            self.app,
            self.collateral,
            &self.context(),
        );
        let facts = kind.map_or(Value::Null, |kind| report::answer(&exchange, kind));
        Ok((verdict, facts))
    }
}

fn worker_evidence(content: &[u8]) -> Result<WorkerEvidence, String> {
    evidence_file::read(content, evidence_file::WORKER).map_err(text)
}

fn app_evidence(content: &[u8]) -> Result<AppEvidence, String> {
    evidence_file::read(content, evidence_file::APP).map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
