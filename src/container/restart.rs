//! What happens when a container ends by itself.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `--restart`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Nothing.
    #[default]
    No,
    /// It is started again when it failed.
    OnFailure {
        /// So often at most; without end where nothing is said.
        most: Option<u32>,
    },
    /// It is started again.
    Always,
    /// The same, but not at boot where a user had stopped it.
    UnlessStopped,
}

/// A text that `--restart` does not take: docker's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRestart(String);

impl Restart {
    /// docker's name of the policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure { .. } => "on-failure",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
        }
    }

    /// The most restarts after failures, 0 for no end (docker's `MaximumRetryCount`).
    pub fn most(self) -> u32 {
        if let Self::OnFailure { most: Some(most) } = self { most } else { 0 }
    }

    /// Whether a container that ended by itself with `code` is started again, after `restarts`.
    pub fn wants(self, code: u8, restarts: u32) -> bool {
        match self {
            Self::No => false,
            Self::OnFailure { most } => code != 0 && most.is_none_or(|most| restarts < most),
            Self::Always | Self::UnlessStopped => true,
        }
    }

    /// How long to wait before the next start: docker's 100 ms, doubled each time, a minute at
    /// most; from the beginning after a run of ten seconds.
    pub fn pause(before: Option<Duration>, ran: Duration) -> Duration {
        const FIRST: Duration = Duration::from_millis(100);
        match before {
            Some(before) if ran < Duration::from_secs(10) => {
                (before * 2).min(Duration::from_secs(60))
            }
            _ => FIRST,
        }
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnFailure { most: Some(most) } => write!(f, "on-failure:{most}"),
            other => f.write_str(other.name()),
        }
    }
}

impl FromStr for Restart {
    type Err = InvalidRestart;

    fn from_str(text: &str) -> Result<Self, InvalidRestart> {
        let (name, count) = text.split_once(':').map_or((text, None), |(n, c)| (n, Some(c)));
        let policy = match name {
            "" | "no" => Self::No,
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            "on-failure" => {
                let most = count.map(str::parse::<u32>).transpose().map_err(|_| {
                    InvalidRestart("maximum retry count must be an integer".to_owned())
                })?;
                // docker's 0 is no end.
                return Ok(Self::OnFailure { most: most.filter(|most| *most > 0) });
            }
            _ => {
                return Err(InvalidRestart(format!(
                    "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', \
                     'on-failure', or 'unless-stopped'"
                )));
            }
        };
        match count {
            None => Ok(policy),
            Some(_) => Err(InvalidRestart(format!(
                "invalid restart policy: maximum retry count cannot be used with '{name}'"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_dockers() {
        for text in ["no", "always", "unless-stopped", "on-failure", "on-failure:3"] {
            assert_eq!(text.parse::<Restart>().expect("a policy").to_string(), text);
        }
        for bad in ["sometimes", "always:3", "on-failure:x", "no:1"] {
            assert!(bad.parse::<Restart>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_failure_is_tried_again_so_often() {
        let policy = Restart::OnFailure { most: Some(2) };
        assert!(policy.wants(1, 1) && !policy.wants(1, 2) && !policy.wants(0, 0));
        assert!(Restart::Always.wants(0, 1000) && !Restart::No.wants(1, 0));
    }

    #[test]
    fn pauses_grow_and_begin_again() {
        let short = Duration::ZERO;
        let first = Restart::pause(None, short);
        assert_eq!(Restart::pause(Some(first), short), first * 2);
        assert_eq!(Restart::pause(Some(first * 500), short), Duration::from_secs(60));
        assert_eq!(Restart::pause(Some(first * 8), Duration::from_secs(11)), first);
    }
}
