//! `--health-cmd` and its like.

use clap::Args;

use crate::cli::spelling;
use crate::container::Wanted;
use crate::image::Healthcheck;

#[derive(Debug, Args)]
pub struct HealthOptions {
    /// Command that finds out whether the container is well
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,
    /// Time between two checks
    #[arg(long, value_name = "DURATION", value_parser = spelling::nanoseconds)]
    health_interval: Option<i64>,
    /// How long a check may take
    #[arg(long, value_name = "DURATION", value_parser = spelling::nanoseconds)]
    health_timeout: Option<i64>,
    /// Time in which failures do not count yet
    #[arg(long, value_name = "DURATION", value_parser = spelling::nanoseconds)]
    health_start_period: Option<i64>,
    /// Time between two checks while it starts
    #[arg(long, value_name = "DURATION", value_parser = spelling::nanoseconds)]
    health_start_interval: Option<i64>,
    /// How many failures in a row make it unhealthy
    #[arg(long, value_name = "NUMBER")]
    health_retries: Option<i64>,
    /// Leave the image's health check out
    #[arg(long, conflicts_with = "health_cmd")]
    no_healthcheck: bool,
}

impl HealthOptions {
    /// Writes the flags over the image's health check.
    pub fn apply(&self, wanted: &mut Wanted) {
        if self.no_healthcheck {
            wanted.healthcheck = None;
            return;
        }
        let mut check = wanted.healthcheck.take().unwrap_or_default();
        if let Some(command) = &self.health_cmd {
            check.test = vec!["CMD-SHELL".to_owned(), command.clone()];
        }
        check.interval = self.health_interval.or(check.interval);
        check.timeout = self.health_timeout.or(check.timeout);
        check.start_period = self.health_start_period.or(check.start_period);
        check.start_interval = self.health_start_interval.or(check.start_interval);
        check.retries = self.health_retries.or(check.retries);
        wanted.healthcheck = (check != Healthcheck::default()).then_some(check);
    }
}
