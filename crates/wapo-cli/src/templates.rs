//! The projects that `wapo new` makes.
//!
//! The files are in `templates/`, with two places to fill in: the project's name
//! and where the SDK is. e2e builds and runs each of them.

use clap::ValueEnum;

/// What a new project does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Template {
    /// Answers web requests that come through the gateway.
    Http,
    /// Listens on a TCP port of its own.
    Tcp,
    /// Answers queries.
    Query,
    /// Answers web requests, in JavaScript.
    Js,
    /// Answers web requests, in TypeScript.
    Ts,
}

/// Types of what programs have: `@wapo/types`.
const TYPES: &str = include_str!("../../../guests/wapo-js/types/index.d.ts");

macro_rules! script_files {
    ($folder:literal, $($file:literal),*) => {
        vec![$(($file, include_str!(concat!("../templates/", $folder, "/", $file)))),*]
    };
}

macro_rules! files {
    ($folder:literal) => {
        vec![
            (
                "Cargo.toml",
                include_str!(concat!("../templates/", $folder, "/Cargo.toml")),
            ),
            (
                "README.md",
                include_str!(concat!("../templates/", $folder, "/README.md")),
            ),
            (
                "src/main.rs",
                include_str!(concat!("../templates/", $folder, "/main.rs")),
            ),
            (".gitignore", "/target\n"),
        ]
    };
}

impl Template {
    /// The files of a project: path and content.
    pub(crate) fn files(self, name: &str, wapo: &str) -> Vec<(&'static str, String)> {
        let files = match self {
            Self::Http => files!("http"),
            Self::Tcp => files!("tcp"),
            Self::Query => files!("query"),
            Self::Js => script_files!("js", "app.js", "app.test.js", "package.json", "README.md"),
            Self::Ts => {
                let mut files = script_files!(
                    "ts",
                    "app.ts",
                    "app.test.ts",
                    "package.json",
                    "tsconfig.json",
                    "README.md"
                );
                files.push(("wapo-env.d.ts", TYPES));
                files
            }
        };
        let fill = |text: &str| {
            // Debug form is a TOML string, too: quotes and backslashes escaped.
            let text = text.replace("{{wapo}}", &format!("{wapo:?}"));
            text.replace("{{name}}", name)
        };
        files
            .into_iter()
            .map(|(path, text)| (path, fill(text)))
            .collect()
    }

    /// Whether it is a program in JavaScript, which needs neither cargo nor the SDK.
    pub(crate) fn is_script(self) -> bool {
        matches!(self, Self::Js | Self::Ts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_filled_in() {
        for template in Template::value_variants() {
            for (path, content) in template.files("my-app", "/a/wapo") {
                assert!(!content.contains("{{"), "{template:?} {path}");
                assert!(!content.is_empty(), "{template:?} {path}");
            }
            let files = template.files("my-app", "/a/wapo");
            if template.is_script() {
                let is_named = |(path, text): &(&str, String)| {
                    *path == "package.json" && text.contains("\"name\": \"my-app\"")
                };
                assert!(files.iter().any(is_named), "{template:?}");
                continue;
            }
            let manifest = &files
                .iter()
                .find(|(path, _)| *path == "Cargo.toml")
                .expect("file")
                .1;
            assert!(manifest.contains("name = \"my-app\"") && manifest.contains("\n[workspace]\n"));
            assert!(
                manifest.contains("wapo = { path = \"/a/wapo\" }"),
                "{manifest}"
            );
        }
    }
}
