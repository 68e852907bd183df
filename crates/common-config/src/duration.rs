//! Lengths of time as the documented services write them.

use std::time::Duration;

/// Reads `30s`, `15m`, `12h`, `7d`, also in words (`2 days`). A bare number is refused: the documented services read
/// it as milliseconds, which nobody who writes `3600` means.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let secs = match unit.trim() {
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => {
            return Some(Duration::from_millis(number));
        }
        "s" | "sec" | "secs" | "second" | "seconds" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" => 60,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 604_800,
        _ => return None,
    };
    number.checked_mul(secs).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_needed() {
        assert_eq!(parse("15m"), Some(Duration::from_mins(15)));
        assert_eq!(parse("2 days"), Some(Duration::from_hours(48)));
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
        for text in [
            "3600",
            "",
            "m",
            "-1s",
            "1.5h",
            "1y",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
