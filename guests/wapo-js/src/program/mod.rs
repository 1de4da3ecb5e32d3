//! The program: which sources the arguments name, how they are evaluated, and
//! when the program is over.

mod files;
pub(crate) mod loader;
mod run;

use std::ffi::CStr;

use self::files::{Files, blob};
pub(crate) use self::run::{Handler, thrown};
use crate::native::session::Session;

/// What a script is called in stack traces.
const SCRIPT_NAME: &CStr = c"<script>";
/// What a module of one file is called.
const MODULE_NAME: &str = "main.js";

/// What to run.
#[derive(Debug, Default)]
pub(crate) struct Program {
    /// Classic scripts, in this order and in one global scope.
    scripts: Vec<String>,
    /// Modules; the entry is evaluated after the scripts.
    files: Option<Files>,
    /// `scriptArgs`.
    arguments: Vec<String>,
    /// The session of a command that runs it, and what for.
    pub(crate) session: Option<(Purpose, Session)>,
}

/// What a command runs a program for, besides itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Its tests (`wapo test`).
    Test,
    /// What a person types (`wapo repl`).
    Prompt,
}

impl Program {
    /// Classic scripts and their arguments.
    pub(crate) fn of_scripts(scripts: Vec<String>, arguments: Vec<String>) -> Self {
        Self {
            scripts,
            files: None,
            arguments,
            session: None,
        }
    }

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
                "-c" => program.scripts.push(value()?),
                "--code-hash" => program.scripts.push(blob(&value()?)?),
                "--module" => {
                    program.files = Some(Files::single(MODULE_NAME, blob(&value()?)?));
                }
                "--program" => program.files = Some(Files::parse(&blob(&value()?)?)?),
                "--test" => {
                    program.session = Some((Purpose::Test, Session::parse(value()?)?));
                }
                "--repl" => {
                    program.session = Some((Purpose::Prompt, Session::parse(value()?)?));
                }
                "--" => program.arguments.extend(arguments.by_ref()),
                other => return Err(format!("unknown argument {other:?}\n{USAGE}")),
            }
        }
        let is_prompt = matches!(program.session, Some((Purpose::Prompt, _)));
        if program.scripts.is_empty() && program.files.is_none() && !is_prompt {
            return Err(format!("no program\n{USAGE}"));
        }
        Ok(program)
    }
}

/// What the arguments may be.
const USAGE: &str = "usage: [-c CODE] [--code-hash HASH] [--module HASH] [--program HASH] \
     [--test OPTIONS | --repl OPTIONS] [-- ARGUMENT ...]";
