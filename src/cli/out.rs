//! Writes to standard output and error: data on the one, talk on the other.

use std::fs::File;
use std::io;
use std::io::IsTerminal;
use std::io::Write;

use crate::failure::Doing;
use crate::failure::Result;

/// Writes data to standard output. A reader that went away (`| head`) is no failure.
///
/// # Errors
/// Standard output cannot be written, such as a full disk.
pub fn data(text: &str) -> Result<()> {
    bytes(text.as_bytes()).map(|_| ())
}

/// Writes one line of data to standard output.
///
/// # Errors
/// As [`data`].
pub fn line(text: &str) -> Result<()> {
    data(&format!("{text}\n"))
}

/// Writes what a prune has removed, a line each below a heading; nothing if nothing was.
///
/// # Errors
/// As [`data`].
pub fn told(heading: &str, removed: &[&str]) -> Result<()> {
    if removed.is_empty() {
        return Ok(());
    }
    data(&format!("{heading}\n{}\n\n", removed.join("\n")))
}

/// Whether the one who reads our output is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    There,
    Gone,
}

/// Writes bytes to standard output and says whether anybody still reads.
///
/// # Errors
/// As [`data`].
pub fn bytes(bytes: &[u8]) -> Result<Reader> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        written => written.doing(|| "cannot write to standard output").map(|()| Reader::There),
    }
}

/// Standard output for bytes that another room writes.
pub fn pipe() -> impl Write {
    io::stdout().lock()
}

/// Standard output for bytes that another thread writes; nothing must be waiting to be written.
///
/// # Errors
/// It is closed.
pub fn raw() -> Result<File> {
    let copy = rustix::io::dup(rustix::stdio::stdout()).map_err(io::Error::from);
    copy.map(File::from).doing(|| "cannot write to standard output")
}

/// Says something on standard error; that nobody listens is no failure.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Warns on standard error.
pub fn warn(text: &str) {
    say(&format!("warning: {text}"));
}

/// Asks for a "y" on the terminal, as `rm` and `prune` do.
///
/// # Errors
/// Standard input cannot be read.
pub fn confirmed(question: &str) -> Result<bool> {
    let _ = write!(io::stderr().lock(), "{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).doing(|| "cannot read the answer")?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Whether standard output is a terminal.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard error is a terminal, where progress is shown.
pub fn talks_to_terminal() -> bool {
    io::stderr().is_terminal()
}
