//! Whether a container is well: what its checks have found.

use serde::{Deserialize, Serialize};

/// `containers/ID/health.json`, in docker's form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// What the checks come to.
    pub status: HealthStatus,
    /// How many have failed one after the other.
    pub failing_streak: u32,
    /// The last five, the newest last.
    pub log: Vec<Check>,
}

/// docker's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthStatus {
    /// None has succeeded yet.
    #[default]
    Starting,
    /// The last one succeeded.
    Healthy,
    /// Too many have failed one after the other.
    Unhealthy,
}

impl HealthStatus {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What happens to a container that is not well (`--health-on-failure`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnUnhealthy {
    /// Nothing.
    #[default]
    None,
    /// It is killed; its restart policy goes on from there.
    Kill,
    /// It is stopped and started again.
    Restart,
    /// It is stopped.
    Stop,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Check {
    /// RFC 3339 time.
    pub start: String,
    /// RFC 3339 time.
    pub end: String,
    /// The command's exit status; -1 where it took too long or could not be started.
    pub exit_code: i32,
    /// What it wrote, 4096 bytes at most.
    pub output: String,
}

impl Health {
    /// Takes a check in: `retries` failures one after the other make a container unhealthy;
    /// `counts` is false for failures while it still starts.
    pub fn add(&mut self, check: Check, retries: u32, counts: bool) {
        if check.exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else if counts || self.status != HealthStatus::Starting {
            self.failing_streak += 1;
            if self.failing_streak >= retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        self.log.push(check);
        let old = self.log.len().saturating_sub(5);
        self.log.drain(..old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(exit_code: i32) -> Check {
        Check { start: String::new(), end: String::new(), exit_code, output: String::new() }
    }

    #[test]
    fn failures_count_once_it_has_started() {
        let mut health = Health::default();
        for _ in 0..9 {
            health.add(check(1), 2, false);
        }
        assert_eq!((health.status, health.failing_streak), (HealthStatus::Starting, 0));
        assert_eq!(health.log.len(), 5);
        health.add(check(0), 2, false);
        assert_eq!(health.status, HealthStatus::Healthy);
        health.add(check(1), 2, false);
        assert_eq!(health.status, HealthStatus::Healthy);
        health.add(check(-1), 2, false);
        assert_eq!((health.status, health.failing_streak), (HealthStatus::Unhealthy, 2));
    }
}
