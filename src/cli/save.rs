//! `coracle save`

use std::fs;
use std::fs::File;
use std::io::BufWriter;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::out;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Write to this file, not to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only if it is for `linux/arm64`
    #[arg(long)]
    platform: Option<String>,
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

const BUFFER: usize = 1 << 20;

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let save = |out: &mut dyn Write| image::save(home, &self.images, self.platform.as_deref(), out);
        match &self.output {
            Some(path) => to_file(path, |out| save(out))?,
            None if out::is_terminal() => {
                let failure = Failure::new("cannot save to a terminal").because("the archive is not text");
                return Err(failure.hint("use the -o flag or redirect"));
            }
            None => save(&mut BufWriter::with_capacity(BUFFER, out::pipe()))?,
        }
        Ok(0)
    }
}

/// Lets `write` fill a file that has its name only when it is whole.
///
/// # Errors
/// The file cannot be made; what `write` says. Then what was there before is still there.
pub fn to_file(path: &Path, write: impl FnOnce(&mut (dyn Write + Send)) -> Result<()>) -> Result<()> {
    let cannot = || format!("cannot write `{}`", path.display());
    // A pipe or a device is no file to be replaced.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let file = File::options().write(true).open(path).doing(cannot)?;
        return write(&mut BufWriter::with_capacity(BUFFER, file));
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let draft = path.with_file_name(name);
    let file = File::create(&draft).doing(cannot)?;
    let mut buffered = BufWriter::with_capacity(BUFFER, file);
    let written = write(&mut buffered).and_then(|()| buffered.flush().doing(cannot));
    let placed = written.and_then(|()| fs::rename(&draft, path).doing(cannot));
    if placed.is_err() {
        let _ = fs::remove_file(&draft);
    }
    placed
}
