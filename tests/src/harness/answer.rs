//! What a program that has ended said.

use std::process::Output;

use serde_json::Value;

/// Exit code, standard output and standard error of a program.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The command line, for messages.
    pub line: String,
    /// The exit code; 128 plus its number when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Answer {
    /// From what `std` collected.
    #[must_use]
    pub fn new(line: String, output: &Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let status = output.status;
        let code = status.code().or_else(|| status.signal().map(|n| 128 + n));
        Self {
            line,
            code: code.unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output of a success.
    ///
    /// # Panics
    /// When it failed.
    #[must_use]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self}");
        self.out
    }

    /// Standard output of a success, as JSON.
    ///
    /// # Panics
    /// When it failed, or printed something else.
    #[must_use]
    pub fn json(self) -> Value {
        let text = self.clone().ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// Standard error of a failure with this exit code.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[must_use]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self}");
        self.err
    }

    /// A failure with this exit code whose message holds all these texts and a next step.
    ///
    /// # Panics
    /// When it ended otherwise or says something else.
    pub fn refuses(self, code: i32, texts: &[&str]) {
        self.says(code, &[texts, &["hint: "]].concat());
    }

    /// A failure with this exit code whose message holds all these texts.
    ///
    /// # Panics
    /// When it ended otherwise or says something else.
    pub fn says(self, code: i32, texts: &[&str]) {
        let shown = self.to_string();
        let message = self.fails(code);
        for text in texts {
            assert!(message.contains(text), "{text:?} is not in it: {shown}");
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            line,
            code,
            out,
            err,
        } = self;
        write!(
            f,
            "`{line}` ended with {code}\n--- stdout\n{out}\n--- stderr\n{err}"
        )
    }
}
