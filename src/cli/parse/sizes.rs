//! Sizes with units.

use super::Invalid;

/// A number of bytes: `64m`, `1.5GiB`, `512k`, `1024`; units are powers of 1024, as docker's are.
pub fn size(text: &str) -> Result<u64, Invalid> {
    let invalid = || {
        Invalid::new(format!(
            "invalid size {text:?}: want a number and b, k, m, g or t, such as 64m"
        ))
    };
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err(invalid()),
    };
    let unit = 1_u64 << shift;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit).ok_or_else(invalid);
    }
    let (whole, fraction) = number.split_once('.').ok_or_else(invalid)?;
    let whole: u64 = whole.parse().map_err(|_| invalid())?;
    // Nine digits are exact enough, and cannot overflow.
    let fraction = &fraction[..fraction.len().min(9)];
    let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| invalid())?);
    let fraction: u128 = fraction.parse().map_err(|_| invalid())?;
    let part = u64::try_from(u128::from(unit) * fraction / scale).map_err(|_| invalid())?;
    whole.checked_mul(unit).and_then(|whole| whole.checked_add(part)).ok_or_else(invalid)
}

/// The same in powers of 1000, as docker reads the sizes of logs.
pub fn decimal_size(text: &str) -> Result<u64, Invalid> {
    let binary = size(text)?;
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim();
    let power = match unit.chars().next().map(|letter| letter.to_ascii_lowercase()) {
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some('p') => 5,
        _ => 0,
    };
    let (thousands, powers) = (1000_u128.pow(power), 1024_u128.pow(power));
    let decimal = (u128::from(binary) * thousands + powers / 2) / powers;
    u64::try_from(decimal).map_err(|_| Invalid::new(format!("invalid size {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_binary() {
        assert_eq!(size("64m"), Ok(64 << 20));
        assert_eq!(size("1.5GiB"), Ok(3 << 29));
        assert_eq!(size("1024"), Ok(1024));
        assert_eq!(size("0"), Ok(0));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "m", "-1", "1x", "1.2.3", "99999999999999999999", "20000p"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn decimal_sizes_are_decimal() {
        for (text, bytes) in [("10m", 10_000_000), ("1.5k", 1500), ("7", 7), ("1g", 1_000_000_000)]
        {
            assert_eq!(decimal_size(text).expect(text), bytes);
        }
    }
}
