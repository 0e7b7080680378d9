//! The flags that say how a container lives: restarts, health checks, logs, its end.

use std::path::PathBuf;
use std::time::Duration;

use super::super::Error;
use super::super::parse::{self, decimal_size};
use super::run::from_here;
use super::stop::parse_signal;
use crate::engine::container::{LogConfig, LogDriver, OnUnhealthy, Restart};
use crate::engine::{HealthRequest, RunRequest};

/// Restarts, health checks, logs.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Lifecycle {
    /// Start the container again when it ends: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<Restart>,
    /// Seconds between `stop`'s signal and SIGKILL; -1 to wait for ever [default: 10]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    stop_timeout: Option<i64>,
    /// Remove a container that has the name first
    #[arg(long)]
    replace: bool,
    /// Run this with the container's shell to find out whether it is well; none for no check
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,
    /// Time between health checks [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    health_interval: Option<Duration>,
    /// Time that a health check may take [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    health_timeout: Option<Duration>,
    /// Time at the start in which failed health checks do not count
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    health_start_period: Option<Duration>,
    /// Time between health checks in that time [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    health_start_interval: Option<Duration>,
    /// So many failed checks one after the other make the container unhealthy [default: 3]
    #[arg(long, value_name = "N")]
    health_retries: Option<u32>,
    /// Do this with an unhealthy container: none, kill, restart, stop [default: none]
    #[arg(long, value_name = "ACTION", value_parser = on_unhealthy)]
    health_on_failure: Option<OnUnhealthy>,
    /// Make no health checks, whatever the image says
    #[arg(long)]
    no_healthcheck: bool,
    /// Keep what the container writes: json-file, journald or none
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<LogDriver>,
    /// Set an option of the log: max-size=20m, max-file=5; tag=TEXT for journald; labels=NAME,… and
    /// env=NAME,… for what is to go with every line
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse::pair)]
    log_opt: Vec<(String, String)>,
    /// Kill the container when it has run for so many seconds; 0 for never
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Stop the container with this signal
    #[arg(long, value_name = "SIGNAL", value_parser = parse_signal)]
    stop_signal: Option<i32>,
    /// Write the container's ID to a file that must not be there yet
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
    /// Write the pid of the container's first process to a file, at each start
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// Write the pid of the coracle that stays with the container to a file
    #[arg(long, value_name = "FILE")]
    conmon_pidfile: Option<PathBuf>,
    /// Start these containers first
    #[arg(long, value_name = "CONTAINER", value_delimiter = ',')]
    requires: Vec<String>,
}

impl Lifecycle {
    /// Fills in the request.
    pub(super) fn apply(&self, request: &mut RunRequest) -> Result<(), Error> {
        request.restart = self.restart.unwrap_or_default();
        if request.remove && request.restart != Restart::No {
            return Err(Error::usage(
                "conflicting options: cannot specify both --restart and --rm",
            ));
        }
        request.stop_timeout_s = self.stop_timeout;
        request.replace = self.replace;
        request.timeout = self.timeout.filter(|seconds| *seconds > 0).map(Duration::from_secs);
        request.cidfile.clone_from(&self.cidfile);
        request.pid_file = self.pidfile.as_deref().map(from_here).transpose()?;
        request.keeper_pid_file = self.conmon_pidfile.as_deref().map(from_here).transpose()?;
        request.requires.clone_from(&self.requires);
        request.container.stop_signal = self.stop_signal;
        request.health = HealthRequest {
            command: self.health_cmd.clone(),
            none: self.no_healthcheck,
            interval: self.health_interval,
            timeout: self.health_timeout,
            start_period: self.health_start_period,
            start_interval: self.health_start_interval,
            retries: self.health_retries,
            on_failure: self.health_on_failure.unwrap_or_default(),
        };
        request.health.check().map_err(|error| Error::usage(error.to_string()))?;
        request.log = log(self.log_driver, &self.log_opt)?;
        Ok(())
    }
}

fn on_unhealthy(text: &str) -> Result<OnUnhealthy, String> {
    match text {
        "none" => Ok(OnUnhealthy::None),
        "kill" => Ok(OnUnhealthy::Kill),
        "restart" => Ok(OnUnhealthy::Restart),
        "stop" => Ok(OnUnhealthy::Stop),
        _ => Err(format!("{text:?} is none of none, kill, restart and stop")),
    }
}

fn log(driver: Option<LogDriver>, options: &[(String, String)]) -> Result<LogConfig, Error> {
    let mut config = LogConfig { driver: driver.unwrap_or_default(), ..LogConfig::default() };
    let files = config.driver == LogDriver::JsonFile;
    for (name, value) in options {
        let invalid = |why: String| Error::usage(format!("--log-opt {name}={value}: {why}"));
        match &name[..] {
            "max-size" if files && value == "-1" => config.max_size = None,
            "max-size" if files => {
                let size = decimal_size(value).map_err(|error| invalid(error.0))?;
                config.max_size = Some(size).filter(|size| *size > 0);
                if config.max_size.is_none() {
                    return Err(invalid("want a positive size, or -1 for no limit".to_owned()));
                }
            }
            "max-file" if files => {
                let count = value.parse().ok().filter(|count| *count > 0);
                config.max_file =
                    count.ok_or_else(|| invalid("want a positive number".to_owned()))?;
            }
            "tag" if config.driver == LogDriver::Journald && !value.contains("{{") => {
                config.tag = Some(value.clone());
            }
            "labels" if config.driver != LogDriver::None => config.labels = listed(value),
            "env" if config.driver != LogDriver::None => config.env = listed(value),
            _ => {
                return Err(Error::usage(format!(
                    "unknown log opt '{name}' for {} log driver",
                    config.driver
                )));
            }
        }
    }
    Ok(config)
}

fn listed(names: &str) -> Vec<String> {
    names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_options_go_with_their_driver() {
        let options = |all: &[(&str, &str)]| -> Vec<(String, String)> {
            all.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let config =
            log(None, &options(&[("max-size", "10k"), ("max-file", "3")])).expect("options");
        assert_eq!((config.max_size, config.max_file), (Some(10_000), 3));
        assert_eq!(log(None, &options(&[("max-size", "-1")])).expect("options").max_size, None);
        for bad in
            [("max-size", "0"), ("max-file", "0"), ("max-file", "x"), ("tag", "x"), ("x", "y")]
        {
            assert!(log(None, &options(&[bad])).is_err(), "{bad:?}");
        }
        assert!(log(Some(LogDriver::None), &options(&[("max-size", "1m")])).is_err());
        assert!(log(Some(LogDriver::None), &options(&[("labels", "a")])).is_err());
        let listed = log(None, &options(&[("labels", "a, b"), ("env", "C,")])).expect("options");
        assert_eq!((listed.labels, listed.env), (vec!["a".into(), "b".into()], vec!["C".into()]));
        assert!(log(Some(LogDriver::Journald), &options(&[("tag", "web")])).is_ok());
    }
}
