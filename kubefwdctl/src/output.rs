//! Everything that is printed: data on standard output in the chosen format, notes and errors on standard error.

pub(crate) mod changes;
pub(crate) mod listing;
pub(crate) mod rows;
pub(crate) mod table;
pub(crate) mod units;

use std::io::{self, IsTerminal as _, Write};

use clap::ValueEnum;
use kubefwd_model::text::printable;
use serde::Serialize;

use crate::error::CliError;

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns
    #[default]
    Table,
    /// More columns
    Wide,
    /// The objects of the REST API; one per line when watching
    Json,
    /// The same as YAML; one document per object when watching
    Yaml,
    /// Keys only
    Name,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set; also elsewhere if CLICOLOR_FORCE is
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Where and how to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) format: Format,
    coloured_stdout: bool,
    coloured_stderr: bool,
    notes: bool,
    warnings: bool,
}

impl Output {
    /// Decides from the options and the two streams. Notes are for people: on a terminal, or with `verbose`.
    pub(crate) fn new(format: Format, color: ColorChoice, quiet: bool, verbose: bool) -> Self {
        let stderr_is_terminal = io::stderr().is_terminal();
        let variable = |name: &str| std::env::var(name).ok();
        Self {
            format,
            coloured_stdout: coloured(color, io::stdout().is_terminal(), variable),
            coloured_stderr: coloured(color, stderr_is_terminal, variable),
            notes: !quiet && (verbose || stderr_is_terminal),
            warnings: !quiet,
        }
    }

    /// Whether tables are coloured.
    pub(crate) fn is_coloured(&self) -> bool {
        self.coloured_stdout
    }

    /// Whether the format is one for people.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// Whether to confirm changes in words: in formats for people, unless `--quiet` was given.
    pub(crate) fn confirms(&self) -> bool {
        self.is_table() && self.warnings
    }

    /// Whether the format is one for programs.
    pub(crate) fn is_structured(&self) -> bool {
        matches!(self.format, Format::Json | Format::Yaml)
    }

    /// Confirms what was done to each of these: in words for people, as keys for `-o name`.
    pub(crate) fn confirm(&self, keys: &[impl AsRef<str>], done: &str) -> Result<(), CliError> {
        let done = match self.format {
            Format::Name => "",
            _ if self.confirms() => done,
            _ => return Ok(()),
        };
        let lines = keys.iter().map(|key| format!("{}{done}\n", key.as_ref()));
        self.data(&lines.collect::<String>())
    }

    /// Prints data and flushes, so that a reader sees each change as it happens.
    pub(crate) fn data(&self, text: &str) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }

    /// Prints a value that stands alone.
    pub(crate) fn value<T: Serialize>(&self, value: &T) -> Result<(), CliError> {
        let text = match self.format {
            Format::Yaml => yaml(value)?,
            Format::Table | Format::Wide | Format::Json | Format::Name => pretty_json(value)?,
        };
        self.data(&text)
    }

    /// Prints one of a series of values: a line of JSON, or a YAML document.
    pub(crate) fn item<T: Serialize>(&self, value: &T) -> Result<(), CliError> {
        let text = match self.format {
            Format::Yaml => format!("---\n{}", yaml(value)?),
            Format::Table | Format::Wide | Format::Json | Format::Name => {
                let json = serde_json::to_string(value).map_err(io::Error::from)?;
                json + "\n"
            }
        };
        self.data(&text)
    }

    /// Prints a note that helps a person and that no program needs.
    pub(crate) fn note(&self, text: &str) {
        if self.notes {
            to_stderr(&format!("{}\n", printable(text)));
        }
    }

    /// Prints a warning.
    pub(crate) fn warning(&self, text: &str, hint: &str) {
        if !self.warnings {
            return;
        }
        let label = if self.coloured_stderr {
            "\x1b[1;33mwarning:\x1b[0m"
        } else {
            "warning:"
        };
        let hint = match hint {
            "" => String::new(),
            hint => format!("  hint: {}\n", printable(hint)),
        };
        to_stderr(&format!("{label} {}\n{hint}", printable(text)));
    }

    /// Reports an error.
    pub(crate) fn error(&self, error: &CliError) {
        if !error.is_silent() {
            to_stderr(&error.render(self.coloured_stderr));
        }
    }
}

fn to_stderr(text: &str) {
    // There is nowhere left to report a failure.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

fn pretty_json<T: Serialize>(value: &T) -> Result<String, CliError> {
    let json = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
    Ok(json + "\n")
}

fn yaml<T: Serialize>(value: &T) -> Result<String, CliError> {
    Ok(yaml_serde::to_string(value).map_err(io::Error::other)?)
}

/// The conventions of no-color.org and bixense.com/clicolors.
fn coloured(
    choice: ColorChoice,
    terminal: bool,
    variable: impl Fn(&str) -> Option<String>,
) -> bool {
    let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if set("NO_COLOR") => false,
        ColorChoice::Auto
            if variable("CLICOLOR_FORCE").is_some_and(|v| !v.is_empty() && v != "0") =>
        {
            true
        }
        ColorChoice::Auto => terminal && variable("TERM").is_none_or(|term| term != "dumb"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_conventions() {
        let environment = |pairs: &'static [(&str, &str)]| {
            move |name: &str| {
                let found = pairs.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            }
        };
        let auto = ColorChoice::Auto;
        assert!(coloured(auto, true, environment(&[])));
        assert!(!coloured(auto, false, environment(&[])));
        assert!(!coloured(auto, true, environment(&[("NO_COLOR", "1")])));
        assert!(coloured(auto, true, environment(&[("NO_COLOR", "")])));
        assert!(coloured(
            auto,
            false,
            environment(&[("CLICOLOR_FORCE", "1")])
        ));
        assert!(!coloured(
            auto,
            false,
            environment(&[("CLICOLOR_FORCE", "0")])
        ));
        assert!(!coloured(auto, true, environment(&[("TERM", "dumb")])));
        let both = &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")];
        assert!(!coloured(auto, true, environment(both)));
        assert!(coloured(ColorChoice::Always, false, environment(both)));
        assert!(!coloured(ColorChoice::Never, true, environment(&[])));
    }
}
