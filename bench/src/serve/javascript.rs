//! A daemon with the engine of JavaScript apps, told which scripts to deploy.
//!
//! Commands, each answered with the URLs of what was deployed:
//!
//! * `warm` a hello with one instance, `fresh` one of 10 KB with an instance for
//!   each request.
//! * `instances <count>` so many different scripts with an instance each.
//! * `scripts <count>` so many different scripts on demand.

use anyhow::{Result, bail};

use super::daemon::{Daemon, Kind};
use crate::folder::Folder;
use crate::guests;

/// What a script answers with, whatever it is asked.
const HELLO: &str = r#"export default {
  fetch() {
    return new Response("Hello, World!", { headers: { "content-type": "text/plain", server: "bench" } });
  },
};
"#;

/// Bytes of a script of a size that programs have.
const SCRIPT_BYTES: usize = 10 * 1024;

pub(super) fn run() -> Result<()> {
    let runtime = wapod::runtime_builder().build()?;
    runtime.block_on(async {
        let folder = Folder::make()?;
        let daemon = Daemon::start(&folder, None, &guests::javascript_engine()).await?;
        let mut commands = super::commands();
        let mut next = 0;
        while let Some(command) = commands.next_line().await? {
            let words: Vec<&str> = command.split_whitespace().collect();
            super::answer(obey(&daemon, &words, &mut next).await);
        }
        daemon.shutdown().await;
        Ok(())
    })
}

/// `next`: the number of the next script, so that each is another.
async fn obey(daemon: &Daemon, words: &[&str], next: &mut usize) -> Result<Vec<String>> {
    let (count, kind): (usize, _) = match words {
        ["warm"] => return deploy(daemon, "warm", Kind::Warm, HELLO.to_owned()).await,
        ["fresh"] => return deploy(daemon, "fresh", Kind::Fresh, script(0)).await,
        ["instances", count] => (count.parse()?, Kind::Warm),
        ["scripts", count] => (count.parse()?, Kind::OnDemand),
        _ => bail!("unknown command"),
    };
    let mut urls = Vec::with_capacity(count);
    for _ in 0..count {
        *next += 1;
        urls.extend(deploy(daemon, &format!("script-{next}"), kind, script(*next)).await?);
    }
    Ok(urls)
}

async fn deploy(daemon: &Daemon, label: &str, kind: Kind, script: String) -> Result<Vec<String>> {
    let hash = daemon.put_blob(script.into_bytes()).await?;
    let (url, _) = daemon
        .deploy_with(label, kind, &["--module", &hash])
        .await?;
    Ok(vec![url])
}

/// The hello behind some functions that it does not call, 10 KB in all; another text
/// for each number.
fn script(number: usize) -> String {
    let mut text = format!("// Script {number}.\n{HELLO}");
    for index in 0.. {
        let function = format!(
            r#"
function helper{index}(items, limit = {index}) {{
  const found = items.filter((item) => item.size > limit && item.name !== "helper {index}");
  return found.length === 0 ? null : {{ first: found[0], count: found.length, at: `${{limit}}` }};
}}
"#
        );
        if text.len() + function.len() > SCRIPT_BYTES {
            break;
        }
        text.push_str(&function);
    }
    text
}
