//! Flags of Docker's that are for other systems, or long gone; and which streams are shown.

use clap::Args;
use clap::ValueEnum;

use crate::cli::out;
use crate::failure::Failure;
use crate::failure::Result;

#[derive(Debug, Args)]
pub struct RareOptions {
    /// Show only these of the program's streams
    #[arg(short, long, value_enum, ignore_case = true)]
    attach: Vec<Stream>,
    /// Images are known by their digests, and by nobody's signature
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    disable_content_trust: Option<bool>,
    #[arg(long, hide = true)]
    cpu_count: Option<i64>,
    #[arg(long, hide = true)]
    cpu_percent: Option<i64>,
    #[arg(long, hide = true)]
    io_maxbandwidth: Option<String>,
    #[arg(long, hide = true)]
    io_maxiops: Option<u64>,
    #[arg(long, hide = true)]
    kernel_memory: Option<String>,
    #[arg(long, hide = true)]
    use_api_socket: bool,
    /// Only `local`
    #[arg(long, value_name = "NAME")]
    volume_driver: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

impl RareOptions {
    /// Which of the three streams are shown, if only some are.
    pub fn attached(&self) -> Option<[bool; 3]> {
        let all = [Stream::Stdin, Stream::Stdout, Stream::Stderr];
        (!self.attach.is_empty()).then(|| all.map(|stream| self.attach.contains(&stream)))
    }

    /// Says what is not carried out.
    ///
    /// # Errors
    /// What a container would be wrong without.
    pub fn check(&self) -> Result<()> {
        if self.use_api_socket {
            return Err(Failure::new("cannot carry out `--use-api-socket`").because("there is no daemon, and so no socket of one"));
        }
        if let Some(driver) = self.volume_driver.as_deref().filter(|driver| !matches!(*driver, "" | "local")) {
            return Err(
                Failure::new(format!("there is no volume driver `{driver}`")).hint("leave `--volume-driver` out: there is one, `local`")
            );
        }
        let of_windows = [
            ("cpu-count", self.cpu_count.is_some_and(|count| count != 0)),
            ("cpu-percent", self.cpu_percent.is_some_and(|percent| percent != 0)),
            ("io-maxbandwidth", self.io_maxbandwidth.is_some()),
            ("io-maxiops", self.io_maxiops.is_some_and(|count| count != 0)),
        ];
        for (flag, _) in of_windows.iter().filter(|(_, is_given)| *is_given) {
            out::warn(&format!("`--{flag}` is not carried out: it is for Windows"));
        }
        if self.kernel_memory.is_some() {
            out::warn("`--kernel-memory` is not carried out: the kernel has given that limit up");
        }
        Ok(())
    }
}
