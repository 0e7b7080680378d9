//! Durations as Go writes them.

use std::time::Duration;

use super::Invalid;

/// `90s`, `1m30s`, `1.5h`, `100ms`, `0` (Go's `time.ParseDuration`, without a sign).
pub fn duration(text: &str) -> Result<Duration, Invalid> {
    let invalid = || Invalid::new(format!("invalid duration {text:?}: want 30s, 1m30s or 500ms"));
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut all = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
        let (digits, behind) = rest.split_at(number);
        let unit = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(invalid()),
        };
        let digits: f64 = digits.parse().map_err(|_| invalid())?;
        let part = Duration::try_from_secs_f64(digits * seconds).map_err(|_| invalid())?;
        all = all.checked_add(part).ok_or_else(invalid)?;
        rest = behind;
    }
    if text.is_empty() { Err(invalid()) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, ms) in [
            ("0", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("1h0m0.5s", 3_600_500),
        ] {
            assert_eq!(duration(text).expect(text), Duration::from_millis(ms), "{text}");
        }
        for bad in ["", "30", "s", "1x", "-1s", "1s2", "1..5s", "1e99h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
