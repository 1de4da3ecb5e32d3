//! The program: which sources the arguments name, and how they are evaluated.

pub(crate) mod loader;

use rquickjs::context::EvalOptions;
use rquickjs::{CatchResultExt, Module};

use crate::engine::Engine;

/// What to run, in this order.
#[derive(Debug, Default)]
pub(crate) struct Program {
    sources: Vec<Source>,
    arguments: Vec<String>,
}

#[derive(Debug)]
enum Source {
    /// A classic script.
    Script { name: String, text: String },
    /// A module of one file.
    Module { name: String, text: String },
}

impl Program {
    /// Reads the arguments and fetches the sources that they name.
    ///
    /// # Errors
    ///
    /// An argument that is none, or a blob that is not there.
    pub(crate) fn from_arguments(
        mut arguments: impl Iterator<Item = String>,
    ) -> Result<Self, String> {
        let mut program = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "-c" => {
                    let text = value()?;
                    program.sources.push(Source::Script {
                        name: "<script>".into(),
                        text,
                    });
                }
                "--code-hash" => {
                    let text = blob(&value()?)?;
                    program.sources.push(Source::Script {
                        name: "<script>".into(),
                        text,
                    });
                }
                "--module" => {
                    let text = blob(&value()?)?;
                    program.sources.push(Source::Module {
                        name: "main.js".into(),
                        text,
                    });
                }
                "--" => program.arguments.extend(arguments.by_ref()),
                other => return Err(format!("unknown argument {other:?}")),
            }
        }
        if program.sources.is_empty() {
            return Err(
                "nothing to run: expected --module HASH, --code-hash HASH or -c CODE".into(),
            );
        }
        Ok(program)
    }

    /// Evaluates the sources.
    ///
    /// # Errors
    ///
    /// One of them throws.
    pub(crate) fn start(&self, engine: &Engine) -> Result<(), String> {
        self.sources
            .iter()
            .try_for_each(|source| source.evaluate(engine))
    }
}

impl Source {
    fn evaluate(&self, engine: &Engine) -> Result<(), String> {
        engine.enter(|ctx| {
            let outcome = match self {
                Self::Script { name, text } => {
                    let mut options = EvalOptions::default();
                    options.strict = false;
                    options.filename = Some(name.clone());
                    ctx.eval_with_options::<(), _>(text.as_str(), options)
                }
                Self::Module { name, text } => {
                    Module::evaluate(ctx.clone(), name.as_str(), text.as_str()).map(|_| ())
                }
            };
            outcome.catch(ctx).map_err(|error| error.to_string())
        })
    }
}

fn blob(hash: &str) -> Result<String, String> {
    let bytes = wapo::blob::get(hash).map_err(|error| format!("the source {hash}: {error}"))?;
    String::from_utf8(bytes).map_err(|_| format!("the source {hash} is not UTF-8"))
}
