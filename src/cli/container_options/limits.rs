//! `--memory`, `--cpus`, `--blkio-weight` and their like.

use clap::Args;

use crate::cli::spelling;
use crate::compose::short;
use crate::container::BlockIo;
use crate::container::Limits;
use crate::container::Wanted;
use crate::failure::Failure;
use crate::failure::Result;

#[derive(Debug, Args)]
pub struct LimitOptions {
    /// Limit of memory
    #[arg(short, long, value_name = "SIZE", value_parser = spelling::size)]
    memory: Option<u64>,
    /// Limit of memory and swap together; -1 for none
    #[arg(long, value_name = "SIZE", value_parser = spelling::size_or_unlimited, allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Soft limit of memory
    #[arg(long, value_name = "SIZE", value_parser = spelling::size)]
    memory_reservation: Option<u64>,
    /// 0 to 100: how eagerly memory is swapped out; -1 leaves it to the kernel
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..=100))]
    memory_swappiness: Option<i64>,
    /// How many CPUs' time
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<f64>,
    /// Weight among others
    #[arg(short, long, value_name = "NUMBER")]
    cpu_shares: Option<u64>,
    /// The period of the quota, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// A CPU's time in each period, in microseconds
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// The period of the time for real-time programs, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<u64>,
    /// Real-time programs' time in each of their periods, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_runtime: Option<i64>,
    /// Which CPUs: `0-3,7`
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Which memory nodes
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// How many processes; -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// -1000 to 1000: who is killed first when memory is short
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    oom_score_adj: Option<i32>,
    /// Let programs wait for memory instead of killing one
    #[arg(long)]
    oom_kill_disable: bool,
    /// Weight among others on block devices, 10 to 1000
    #[arg(long, value_name = "NUMBER", value_parser = spelling::weight)]
    blkio_weight: Option<u16>,
    /// The same for one device
    #[arg(long, value_name = "PATH:NUMBER", value_parser = spelling::device_weight)]
    blkio_weight_device: Vec<(String, u16)>,
    /// Bytes a second that are read from a device
    #[arg(long, value_name = "PATH:SIZE", value_parser = spelling::device_rate)]
    device_read_bps: Vec<(String, u64)>,
    /// Bytes a second that are written to a device
    #[arg(long, value_name = "PATH:SIZE", value_parser = spelling::device_rate)]
    device_write_bps: Vec<(String, u64)>,
    /// Reads a second from a device
    #[arg(long, value_name = "PATH:NUMBER", value_parser = spelling::device_rate)]
    device_read_iops: Vec<(String, u64)>,
    /// Writes a second to a device
    #[arg(long, value_name = "PATH:NUMBER", value_parser = spelling::device_rate)]
    device_write_iops: Vec<(String, u64)>,
    /// Limit of a process: nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = spelling::ulimit)]
    ulimit: Vec<(String, u64, u64)>,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE", value_parser = spelling::size)]
    shm_size: Option<u64>,
    /// Make the control group below this one
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<String>,
}

impl LimitOptions {
    /// Writes the flags into `wanted`.
    ///
    /// # Errors
    /// Limits that contradict each other.
    pub fn apply(self, wanted: &mut Wanted) -> Result<()> {
        wanted.limits = Limits {
            memory: self.memory,
            memory_reservation: self.memory_reservation,
            memory_swap: self.memory_swap,
            cpus: self.cpus,
            cpu_shares: self.cpu_shares,
            cpu_period: self.cpu_period,
            cpu_quota: self.cpu_quota,
            cpu_rt_period: self.cpu_rt_period,
            cpu_rt_runtime: self.cpu_rt_runtime,
            cpuset: self.cpuset_cpus,
            cpuset_mems: self.cpuset_mems,
            swappiness: self.memory_swappiness.and_then(|number| u64::try_from(number).ok()),
            oom_kill_disable: self.oom_kill_disable,
            pids: self.pids_limit,
            oom_score_adj: self.oom_score_adj,
            block_io: BlockIo {
                weight: self.blkio_weight,
                weight_device: self.blkio_weight_device,
                read_bps: self.device_read_bps,
                write_bps: self.device_write_bps,
                read_iops: self.device_read_iops,
                write_iops: self.device_write_iops,
            },
        };
        short::check_cpus(&wanted.limits).map_err(|reason| Failure::new("cannot limit the CPUs").because(reason))?;
        if let Some(parent) = &self.cgroup_parent {
            short::cgroup_parent(parent)
                .map_err(|reason| Failure::new(format!("cannot use `--cgroup-parent {parent}`")).because(reason))?;
        }
        wanted.cgroup_parent = self.cgroup_parent;
        wanted.ulimits = self.ulimit;
        wanted.shm_size = self.shm_size;
        Ok(())
    }
}
