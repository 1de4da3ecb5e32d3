//! What a person types at the prompt, or a pipe brings: one text at a time, which may
//! have several lines.

use std::fs;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::line::Effect;
use super::screen::Screen;
use crate::folders;
use crate::script;

/// What stands before the first line of a text, and before the others.
const PROMPTS: [&str; 2] = ["> ", "… "];
/// Lines that are remembered from session to session.
const HISTORY_MAX: usize = 1_000;

/// What was typed.
pub(super) enum Typed {
    Text(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D, or the end of the pipe.
    End,
}

/// Where texts come from. Everything here blocks.
pub(super) enum Input {
    Terminal(Screen, History),
    Pipe,
}

impl Input {
    /// Opens standard input.
    pub(super) fn open(screen: &Screen) -> Self {
        match io::stdin().is_terminal() {
            true => Self::Terminal(screen.clone(), History::load()),
            false => Self::Pipe,
        }
    }

    /// Whether a person sees what is asked for.
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(..))
    }

    /// Waits for the next text.
    ///
    /// # Errors
    ///
    /// The terminal or the pipe fails.
    pub(super) fn next(&mut self) -> Result<Typed> {
        match self {
            Self::Terminal(screen, history) => {
                from_terminal(screen, history).context("cannot read from the terminal")
            }
            Self::Pipe => from_pipe().context("cannot read standard input"),
        }
    }
}

fn from_terminal(screen: &Screen, history: &mut History) -> io::Result<Typed> {
    let mut text = String::new();
    loop {
        let prompt = PROMPTS[usize::from(!text.is_empty())];
        match screen.type_line(prompt, &history.lines)? {
            Effect::Done(line) => {
                history.add(&line);
                text.push_str(&line);
                if !is_unfinished(&text) {
                    return Ok(Typed::Text(text));
                }
                text.push('\n');
            }
            Effect::End => return Ok(Typed::End),
            _ => return Ok(Typed::Interrupt),
        }
    }
}

/// Lines until they are a whole text, or the pipe ends.
fn from_pipe() -> io::Result<Typed> {
    let mut text = String::new();
    let mut stdin = io::stdin().lock();
    loop {
        if stdin.read_line(&mut text)? == 0 {
            return Ok(match text.is_empty() {
                true => Typed::End,
                false => Typed::Text(text),
            });
        }
        if !is_unfinished(&text) {
            return Ok(Typed::Text(text));
        }
    }
}

/// Whether more has to come: commands of the prompt are whole at once.
fn is_unfinished(text: &str) -> bool {
    !text.trim_start().starts_with('.') && script::is_unfinished(text)
}

/// Lines that were typed, also in other sessions.
pub(super) struct History {
    lines: Vec<String>,
    file: Option<PathBuf>,
}

impl History {
    fn load() -> Self {
        let file = folders::state().map(|folder| folder.join("repl-history"));
        let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok());
        let lines = text.iter().flat_map(|text| text.lines()).map(str::to_owned);
        Self {
            lines: lines.collect(),
            file,
        }
    }

    /// Adds a line. A file that cannot be written costs the history only.
    fn add(&mut self, line: &str) {
        if line.trim().is_empty() || self.lines.last().is_some_and(|last| last == line) {
            return;
        }
        self.lines.push(line.to_owned());
        let surplus = self.lines.len().saturating_sub(HISTORY_MAX);
        self.lines.drain(..surplus);
        let _ = self.save();
    }

    fn save(&self) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        // It may have secrets in it.
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(file)?;
        file.write_all((self.lines.join("\n") + "\n").as_bytes())
    }
}
