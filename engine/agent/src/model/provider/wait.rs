//! How long a provider wants to be left alone, from the headers of its answer. Dates are measured against the date of
//! the same answer, so that no clock of ours is asked. Nothing is capped here: that is for whoever waits.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::HeaderMap;

/// The longest wait that is believed: nobody means more, and none overflows a clock.
const LONGEST: Duration = Duration::from_hours(24 * 31);

/// Ways to say when a limit ends, with the header that says what is left of it.
const RESETS: [(&str, &str); 6] = [
    ("anthropic-ratelimit-requests-reset", "anthropic-ratelimit-requests-remaining"),
    ("anthropic-ratelimit-tokens-reset", "anthropic-ratelimit-tokens-remaining"),
    ("anthropic-ratelimit-input-tokens-reset", "anthropic-ratelimit-input-tokens-remaining"),
    ("anthropic-ratelimit-output-tokens-reset", "anthropic-ratelimit-output-tokens-remaining"),
    ("x-ratelimit-reset-requests", "x-ratelimit-remaining-requests"),
    ("x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens"),
];

/// What the provider asks for. `Retry-After` wins; of the resets, the last of those limits that are used up counts,
/// and if none is said to be, the first of all.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let now = text("date").and_then(date);
    if let Some(wait) = text("retry-after-ms").and_then(|millis| seconds(millis, 0.001)) {
        return Some(wait);
    }
    if let Some(wait) =
        text("retry-after").and_then(|said| seconds(said, 1.0).or_else(|| Some(until(date(said)?, now?))))
    {
        return Some(wait);
    }
    let stated = |(reset, left): &(&str, &str)| {
        let said = text(reset)?;
        let wait = match said.parse::<Timestamp>() {
            Ok(when) => until(when, now?),
            Err(_) => span(said)?,
        };
        Some((wait, text(left) == Some("0")))
    };
    let resets: Vec<(Duration, bool)> = RESETS.iter().filter_map(stated).collect();
    let used_up = resets.iter().filter(|(_, used_up)| *used_up).map(|(wait, _)| *wait).max();
    used_up.or_else(|| resets.iter().map(|(wait, _)| *wait).min())
}

fn seconds(said: &str, unit: f64) -> Option<Duration> {
    let number: f64 = said.parse().ok()?;
    Duration::try_from_secs_f64(number * unit).ok().map(|wait| wait.min(LONGEST))
}

fn date(said: &str) -> Option<Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    PARSER.parse_timestamp(said).ok()
}

/// What is past is no wait.
fn until(when: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(when.duration_since(now)).unwrap_or_default().min(LONGEST)
}

/// `6m0s`, `1h2m3.5s`, `17ms`, or bare seconds.
fn span(said: &str) -> Option<Duration> {
    let mut rest = said;
    let mut whole = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let unit = match unit {
            "d" => 86_400.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" | "" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        whole = whole.checked_add(seconds(number, unit)?)?;
        rest = next;
    }
    (!said.is_empty()).then_some(whole.min(LONGEST))
}
