//! Which worker is meant: command line, environment, configuration file.
//!
//! Turns what people say into a URL and a token. A token goes only where it was
//! meant to go: that of a profile never to the URL of another. Opens no
//! connection; `worker` does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Deserialize;

use crate::folders;

/// The admin port of a worker that was started without options.
const DEFAULT_URL: &str = "http://127.0.0.1:8001";
/// Environment variable with the worker's URL.
const URL_VARIABLE: &str = "WAPO_WORKER";
/// Environment variable with the worker's token.
const TOKEN_VARIABLE: &str = "WAPO_TOKEN";
/// Environment variable with the file of trusted certificates.
const CA_VARIABLE: &str = "WAPO_CA";
/// The file of profiles, in the folder of settings.
const FILE: &str = "config.toml";

/// The part of a command line that says which worker is meant.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Worker")]
pub(crate) struct WorkerOptions {
    /// URL of the worker's admin port, http://127.0.0.1:8001 without this.
    /// Environment: WAPO_WORKER.
    #[arg(long, value_name = "URL", conflicts_with = "profile")]
    worker: Option<String>,

    /// The worker's token. Other users of this machine can see it; better are a
    /// file or the environment: WAPO_TOKEN.
    #[arg(long, conflicts_with = "token_file")]
    token: Option<String>,

    /// File that holds the worker's token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// PEM file of certificates to trust in place of the public authorities: that of
    /// an authority, or the worker's own. Environment: WAPO_CA.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Worker of the configuration file: [worker.NAME] with `url`, `token_file`
    /// and `ca_file`.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

/// Where a worker is, and what to show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// URL of the admin port.
    pub(crate) url: String,
    /// The token, if there is one.
    pub(crate) token: Option<String>,
    /// File of trusted certificates; `None` for the public authorities.
    pub(crate) ca: Option<PathBuf>,
}

/// What the surroundings say.
#[derive(Default)]
struct Surroundings {
    url: Option<String>,
    token: Option<String>,
    ca: Option<PathBuf>,
    /// Folder of the configuration file.
    folder: Option<PathBuf>,
}

/// The configuration file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    /// Profile that is meant when none is named.
    default: Option<String>,
    #[serde(default)]
    worker: BTreeMap<String, Profile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    url: String,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

impl WorkerOptions {
    /// Settles which worker is meant.
    ///
    /// # Errors
    ///
    /// A profile that is not there, or a file that cannot be read.
    pub(crate) fn target(&self) -> Result<Target> {
        self.target_in(surroundings())
    }

    /// The file of certificates that are trusted at a URL that is given elsewhere. That of
    /// a profile counts when the profile is named.
    ///
    /// # Errors
    ///
    /// A profile that is not there, or a file that cannot be read.
    pub(crate) fn ca(&self) -> Result<Option<PathBuf>> {
        let around = surroundings();
        if let Some(file) = &self.ca {
            return Ok(Some(file.clone()));
        }
        if self.profile.is_none() {
            return Ok(around.ca);
        }
        let profile = self.find_profile(around.folder.as_deref())?;
        Ok(profile.and_then(|profile| profile.ca_file))
    }

    fn target_in(&self, around: Surroundings) -> Result<Target> {
        let own_token = match (&self.token, &self.token_file) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(file)) => Some(read_token(file)?),
            (None, None) => None,
        };
        let named = self.worker.clone().or_else(|| {
            let from_environment = around.url.clone();
            from_environment.filter(|_| self.profile.is_none())
        });
        if let Some(url) = named {
            let token = own_token.or(around.token);
            let ca = self.ca.clone().or(around.ca);
            return Ok(Target { url, token, ca });
        }
        if let Some(profile) = self.find_profile(around.folder.as_deref())? {
            let token = match (own_token, profile.token_file) {
                (Some(token), _) => Some(token),
                (None, Some(file)) => Some(read_token(&file)?),
                (None, None) => None,
            };
            let url = profile.url;
            let ca = self.ca.clone().or(profile.ca_file);
            return Ok(Target { url, token, ca });
        }
        Ok(Target {
            url: DEFAULT_URL.to_owned(),
            token: own_token.or(around.token),
            ca: self.ca.clone().or(around.ca),
        })
    }

    /// The profile that is named here, or else the default one of the file.
    fn find_profile(&self, folder: Option<&Path>) -> Result<Option<Profile>> {
        let Some(folder) = folder else {
            return match &self.profile {
                Some(_) => bail!("there is no folder for settings: set HOME or XDG_CONFIG_HOME"),
                None => Ok(None),
            };
        };
        let path = folder.join(FILE);
        let shown = path.display();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
        };
        let mut config: ConfigFile =
            toml::from_str(&text).with_context(|| format!("{shown} is not as it should be"))?;
        let Some(name) = self.profile.as_ref().or(config.default.as_ref()) else {
            return Ok(None);
        };
        let Some(mut profile) = config.worker.remove(name) else {
            let known: Vec<_> = config.worker.into_keys().collect();
            let known = match known.as_slice() {
                [] => "none".to_owned(),
                names => names.join(", "),
            };
            bail!(
                "there is no worker `{name}` in {shown} (it has: {known}); add\n\n  [worker.{name}]\n  url = \"{DEFAULT_URL}\""
            );
        };
        let file = profile.token_file.as_ref();
        profile.token_file = file.map(|file| folder.join(folders::expand_home(file)));
        let file = profile.ca_file.as_ref();
        profile.ca_file = file.map(|file| folder.join(folders::expand_home(file)));
        Ok(Some(profile))
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the environment is one of the documented ways to name a worker"
)]
fn surroundings() -> Surroundings {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Surroundings {
        url: variable(URL_VARIABLE),
        token: variable(TOKEN_VARIABLE),
        ca: variable(CA_VARIABLE).map(PathBuf::from),
        folder: folders::config(),
    }
}

fn read_token(file: &Path) -> Result<String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the token file {shown}"))?;
    match text.trim() {
        "" => bail!("the token file {shown} is empty"),
        token => Ok(token.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "default = \"home\"\n\
        [worker.home]\nurl = \"http://10.0.0.1:8001\"\ntoken_file = \"home.token\"\n\
        [worker.open]\nurl = \"http://10.0.0.2:8001\"\n";

    /// A folder of settings.
    fn folder(config: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join(FILE), config).expect("file");
        std::fs::write(folder.path().join("home.token"), "secret\n").expect("file");
        folder
    }

    fn around(folder: &Path, url: Option<&str>, token: Option<&str>) -> Surroundings {
        Surroundings {
            url: url.map(str::to_owned),
            token: token.map(str::to_owned),
            ca: Some("around.pem".into()),
            folder: Some(folder.to_owned()),
        }
    }

    fn target(options: &WorkerOptions, around: Surroundings) -> (String, Option<String>) {
        let target = options.target_in(around).expect("a target");
        (target.url, target.token)
    }

    fn profile(name: &str) -> WorkerOptions {
        WorkerOptions {
            profile: Some(name.to_owned()),
            ..WorkerOptions::default()
        }
    }

    #[test]
    fn without_any_word_it_is_the_worker_on_this_machine() {
        let none = WorkerOptions::default();
        let home = target(&none, Surroundings::default());
        assert_eq!(home, (DEFAULT_URL.to_owned(), None));
        let empty = folder("");
        let with_token = target(&none, around(empty.path(), None, Some("t")));
        assert_eq!(with_token, (DEFAULT_URL.to_owned(), Some("t".into())));
    }

    #[test]
    fn a_profile_is_named_or_the_default() {
        let folder = folder(CONFIG);
        let none = WorkerOptions::default();
        let home = ("http://10.0.0.1:8001".to_owned(), Some("secret".to_owned()));
        assert_eq!(target(&none, around(folder.path(), None, None)), home);
        let named = target(
            &profile("home"),
            around(folder.path(), Some("x"), Some("y")),
        );
        assert_eq!(named, home);
        let error = profile("work").target_in(around(folder.path(), None, None));
        let error = error.err().expect("unknown").to_string();
        assert!(error.contains("home, open"), "{error}");
    }

    #[test]
    fn a_token_goes_only_where_it_was_meant_to_go() {
        let folder = folder(CONFIG);
        // The environment's token is not for the worker of a profile.
        let open = target(&profile("open"), around(folder.path(), None, Some("t")));
        assert_eq!(open, ("http://10.0.0.2:8001".to_owned(), None));
        // A profile's token is not for a worker that is named otherwise.
        let named = WorkerOptions {
            worker: Some("http://c".into()),
            ..WorkerOptions::default()
        };
        let other = target(&named, around(folder.path(), Some("http://d"), None));
        assert_eq!(other, ("http://c".to_owned(), None));
        let none = WorkerOptions::default();
        let environment = target(&none, around(folder.path(), Some("http://d"), Some("t")));
        assert_eq!(environment, ("http://d".to_owned(), Some("t".into())));
    }

    #[test]
    fn the_trusted_certificates_of_a_profile_are_for_its_worker_only() {
        let folder = folder(
            "[worker.home]\nurl = \"https://10.0.0.1:8001\"\nca_file = \"home.pem\"\n\
             [worker.open]\nurl = \"https://10.0.0.2:8001\"\n",
        );
        let of = |options: &WorkerOptions, url| {
            let target = options.target_in(around(folder.path(), url, None));
            target.expect("a target").ca
        };
        assert_eq!(
            of(&profile("home"), None),
            Some(folder.path().join("home.pem"))
        );
        assert_eq!(of(&profile("open"), None), None);
        let none = WorkerOptions::default();
        assert_eq!(of(&none, Some("https://d")), Some("around.pem".into()));
        let named = WorkerOptions {
            ca: Some("own.pem".into()),
            ..profile("home")
        };
        assert_eq!(of(&named, None), Some("own.pem".into()));
    }

    #[test]
    fn a_file_with_an_unknown_key_is_refused() {
        let folder = folder("[worker.a]\nurl = \"http://a\"\ntoken = \"x\"\n");
        let error = profile("a").target_in(around(folder.path(), None, None));
        let error = format!("{:#}", error.err().expect("refused"));
        assert!(error.contains("unknown field `token`"), "{error}");
    }
}
