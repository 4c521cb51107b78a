//! `coracle cp`

use std::fs::File;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::revive;
use crate::container;
use crate::container::Links;
use crate::container::Owners;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::units;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    manner: Manner,
    /// Say nothing of what was copied
    #[arg(short, long)]
    quiet: bool,
    /// CONTAINER:PATH, a path of the host, or `-` for a tar archive on standard input
    source: String,
    /// The same, or `-` for a tar archive on standard output
    #[arg(value_name = "DESTINATION")]
    target: String,
}

// How files are copied.
#[derive(Debug, Clone, Copy, Args)]
pub struct Manner {
    /// Keep owners and groups by their numbers
    #[arg(short, long)]
    archive: bool,
    /// Copy what a symbolic link leads to
    #[arg(short = 'L', long)]
    follow_link: bool,
}

/// One end of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Absolute.
    Host(String),
    /// Name and path.
    Container(String, String),
    /// Standard input or output.
    Stream,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let ends = (End::read(&self.source)?, End::read(&self.target)?);
        revive(home);
        let name = match (&ends.0, &ends.1) {
            (End::Container(name, _), End::Container(..)) => {
                return Err(Failure::new(format!("cannot copy from `{name}`"))
                    .because("copying between containers is not supported")
                    .hint("copy to the host first, or pipe one `cp … -` into another"));
            }
            (End::Container(name, _), _) | (_, End::Container(name, _)) => name,
            _ => return Err(Failure::new("must specify at least one container source").hint("write CONTAINER:PATH for one of the two")),
        };
        let found = container::find(home, name)?;
        let copied = self.manner.copy(home, &found.id, (&ends.0, &ends.1))?;
        if let Some(bytes) = copied.filter(|_| !self.quiet && out::is_terminal()) {
            out::say(&format!("Successfully copied {} to {}", units::size_text(bytes), self.target));
        }
        Ok(0)
    }
}

impl End {
    /// Reads an end as Docker does: a path that begins with `/` or `.` is the host's, whatever colons are in it.
    ///
    /// # Errors
    /// It is empty.
    pub fn read(text: &str) -> Result<End> {
        if text.is_empty() {
            return Err(Failure::new("cannot copy nothing").because("source and destination must not be empty"));
        }
        if text == "-" {
            return Ok(End::Stream);
        }
        match text.split_once(':').filter(|(name, _)| !text.starts_with('/') && !name.starts_with('.')) {
            Some((name, path)) => Ok(End::Container(name.to_owned(), path.to_owned())),
            None => host_path(text).map(End::Host),
        }
    }
}

/// An absolute path with the end that was typed, for that says what is meant.
fn host_path(text: &str) -> Result<String> {
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    let here = std::env::current_dir().doing(|| "cannot find out where we are")?;
    let here = here.to_str().ok_or_else(|| Failure::new("cannot name this directory").because("its path is not UTF-8"))?;
    Ok(format!("{}/{text}", here.trim_end_matches('/')))
}

impl Manner {
    /// Copies between a container and the host or our own streams; says how many bytes, if that is known.
    ///
    /// # Errors
    /// What cannot be copied.
    pub fn copy(self, home: &Home, id: &str, ends: (&End, &End)) -> Result<Option<u64>> {
        let links = if self.follow_link { Links::Followed } else { Links::Kept };
        let owners = if self.archive { Owners::Kept } else { Owners::Ours };
        match ends {
            (End::Container(_, from), End::Host(to)) => container::copy_out(home, id, (from, to), (links, owners)).map(Some),
            (End::Host(from), End::Container(_, to)) => container::copy_in(home, id, (from, to), links).map(Some),
            (End::Container(_, from), _) => {
                if out::is_terminal() {
                    return Err(Failure::new("cannot write an archive to a terminal").hint("send it to a file or another program"));
                }
                container::pack(home, id, (from, links), &mut out::raw()?).map(|()| None)
            }
            (_, End::Container(_, to)) => {
                let input = rustix::io::dup(rustix::stdio::stdin()).map_err(std::io::Error::from);
                let mut input = File::from(input.doing(|| "cannot read standard input")?);
                container::unpack(home, id, to, &mut input).map(|()| None)
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_containers_or_the_hosts() {
        let container = |name: &str, path: &str| End::Container(name.to_owned(), path.to_owned());
        assert_eq!(End::read("web:/etc").unwrap(), container("web", "/etc"));
        assert_eq!(End::read("web:a:b").unwrap(), container("web", "a:b"));
        assert_eq!(End::read("/a:b").unwrap(), End::Host("/a:b".to_owned()));
        assert!(matches!(End::read("./a:b").unwrap(), End::Host(path) if path.ends_with("/./a:b")));
        assert!(matches!(End::read("dir/.").unwrap(), End::Host(path) if path.ends_with("/dir/.")));
        assert_eq!(End::read("-").unwrap(), End::Stream);
        assert!(End::read("").is_err());
    }
}
