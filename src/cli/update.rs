//! `coracle update`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::each;
use crate::cli::out;
use crate::cli::revive;
use crate::cli::spelling;
use crate::compose::short;
use crate::container;
use crate::container::Amendment;
use crate::container::BlockIo;
use crate::container::Limits;
use crate::container::Restart;
use crate::failure::Failure;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Limit of memory
    #[arg(short, long, value_name = "SIZE", value_parser = spelling::size)]
    memory: Option<u64>,
    /// Limit of memory and swap together; -1 for none
    #[arg(long, value_name = "SIZE", value_parser = spelling::size_or_unlimited, allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Soft limit of memory
    #[arg(long, value_name = "SIZE", value_parser = spelling::size)]
    memory_reservation: Option<u64>,
    /// How many CPUs' time
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["cpu_quota", "cpu_period"])]
    cpus: Option<f64>,
    /// Microseconds of a period that may be used
    #[arg(long, value_name = "NUMBER")]
    cpu_quota: Option<u64>,
    /// Microseconds that a period has
    #[arg(long, value_name = "NUMBER", requires = "cpu_quota", value_parser = clap::value_parser!(u64).range(1..))]
    cpu_period: Option<u64>,
    /// Weight among others
    #[arg(short, long, value_name = "NUMBER")]
    cpu_shares: Option<u64>,
    /// Which CPUs: `0-3,7`
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Which memory nodes: `0,1`
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Weight among others at the disks, 10 to 1000
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(10..=1000))]
    blkio_weight: Option<u16>,
    /// How many processes; -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// What happens when the program ends: no, always, unless-stopped, on-failure or on-failure:COUNT
    #[arg(long, value_name = "POLICY", value_parser = short::restart)]
    restart: Option<Restart>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// The period of the CPU's time, in microseconds, unless another one is given.
const PERIOD: u64 = 100_000;

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let of_quota = self.cpu_quota.map(|quota| quota as f64 / self.cpu_period.unwrap_or(PERIOD) as f64);
        let limits = Limits {
            memory: self.memory,
            memory_reservation: self.memory_reservation,
            memory_swap: self.memory_swap,
            cpus: self.cpus.or(of_quota),
            cpu_shares: self.cpu_shares,
            cpuset: self.cpuset_cpus,
            cpuset_mems: self.cpuset_mems,
            block_io: BlockIo { weight: self.blkio_weight, ..BlockIo::default() },
            pids: self.pids_limit,
            ..Limits::default()
        };
        let amendment = Amendment { limits, restart: self.restart };
        if amendment == Amendment::default() {
            return Err(Failure::new("nothing is to be changed").hint("name a limit, such as `--memory 512m`, or `--restart POLICY`"));
        }
        revive(home);
        each(&self.containers, |name| {
            let warnings = container::update(home, &container::find(home, name)?.id, &amendment)?;
            warnings.iter().for_each(|warning| out::warn(warning));
            Ok(())
        })
    }
}
