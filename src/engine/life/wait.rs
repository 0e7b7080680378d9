//! `wait`: for the end of a container, or for what else may become of it.

use std::str::FromStr;
use std::time::Duration;

use crate::container::{HealthStatus, Record, Status};
use crate::engine::{Engine, Error};

/// What `wait --condition` waits for (podman's words).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Made, and not started.
    Created,
    /// Its first process runs.
    Running,
    /// Paused.
    Paused,
    /// Ended.
    Exited,
    /// Well by its health checks.
    Healthy,
    /// Not well by its health checks.
    Unhealthy,
}

/// A text that is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no condition is called {0:?}: there are created, running, paused, exited, healthy, unhealthy"
)]
pub struct UnknownCondition(String);

impl FromStr for Condition {
    type Err = UnknownCondition;

    fn from_str(text: &str) -> Result<Self, UnknownCondition> {
        match text {
            "created" => Ok(Self::Created),
            "running" => Ok(Self::Running),
            "paused" => Ok(Self::Paused),
            "exited" | "stopped" => Ok(Self::Exited),
            "healthy" => Ok(Self::Healthy),
            "unhealthy" => Ok(Self::Unhealthy),
            _ => Err(UnknownCondition(text.to_owned())),
        }
    }
}

/// How often is looked whether a condition has come.
const LOOK: Duration = Duration::from_millis(20);

impl Engine {
    /// Waits for the end of a container's present run; the exit code. Of one that does not run it
    /// is the last one's.
    pub fn wait(&self, query: &str) -> Result<u8, Error> {
        let record = self.container_named(query)?;
        if !matches!(record.status(), Status::Running | Status::Paused) {
            return Ok(record.code());
        }
        let code = self.containers.waiter(&record)?.wait(None)?;
        Ok(code.unwrap_or_default())
    }

    /// Waits until one of these holds; the exit code where it has ended by then.
    pub fn wait_for(&self, query: &str, conditions: &[Condition]) -> Result<Option<u8>, Error> {
        // By its ID: it may be renamed meanwhile.
        let id = self.container_named(query)?.id;
        loop {
            let record = self.container_named(&id)?;
            let status = record.status();
            for condition in conditions {
                if self.holds(*condition, &record, status)? {
                    let ended = matches!(status, Status::Stopped(_));
                    return Ok(ended.then(|| record.code()));
                }
            }
            std::thread::sleep(LOOK);
        }
    }

    fn holds(&self, condition: Condition, record: &Record, status: Status) -> Result<bool, Error> {
        let is_well = |wanted: HealthStatus| -> Result<bool, Error> {
            let health = self.health(record)?;
            Ok(status == Status::Running && health.is_some_and(|health| health.status == wanted))
        };
        match condition {
            Condition::Created => Ok(status == Status::Created),
            Condition::Running => Ok(status == Status::Running),
            Condition::Paused => Ok(status == Status::Paused),
            Condition::Exited => Ok(matches!(status, Status::Stopped(_))),
            Condition::Healthy => is_well(HealthStatus::Healthy),
            Condition::Unhealthy => is_well(HealthStatus::Unhealthy),
        }
    }
}
