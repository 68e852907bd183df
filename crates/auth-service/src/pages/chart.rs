//! Charts, worked out: where bars, lines and words stand. Whole numbers throughout; templates only write them down.

use std::borrow::Borrow;

use super::frame::Frame;

/// The picture, in its own units: `viewBox="0 0 3600 1700"`.
const LEFT: u64 = 420;
const RIGHT: u64 = 3_570;
const TOP: u64 = 110;
const BOTTOM: u64 = 1_430;

/// Where the words to the left of the lines end.
pub(super) const TICK_X: u64 = LEFT - 50;

/// Lines above the ground, at most.
const STEPS_MAX: u128 = 4;

/// The least that is seen of a bar that stands for something.
const HEIGHT_MIN: u64 = 14;

/// A bar of a row of a table is so long at most.
const SHARE: u64 = 1_000;

/// Between the thousands of a number, in every language (SI): a narrow space that does not break.
const BETWEEN_THOUSANDS: char = '\u{202f}';

/// Bars side by side, from left to right.
#[derive(Clone, Debug, Default)]
pub(super) struct Chart {
    pub(super) bars: Vec<Bar>,
    pub(super) ticks: Vec<Tick>,
    pub(super) labels: Vec<Label>,
}

/// What stands for one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) value: u64,
    pub(super) x: u64,
    pub(super) y: u64,
    pub(super) width: u64,
    pub(super) height: u64,
}

/// A line across, and how much it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    pub(super) y: u64,
    pub(super) text: String,
}

/// A word below the bars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) x: u64,
    /// `start`, `middle` or `end`.
    pub(super) anchor: &'static str,
    pub(super) text: String,
}

impl Chart {
    /// A bar for each of these values.
    pub(super) fn new(points: Vec<(String, u64)>) -> Self {
        let largest = points.iter().map(|(_, value)| *value).max().unwrap_or(0);
        let (step, steps) = scale(largest);
        let top = step * steps;
        let ticks = (0..=steps).map(|number| Tick {
            y: BOTTOM - height(number * step, top),
            text: short(number * step),
        });
        let count = u64::try_from(points.len()).unwrap_or(u64::MAX);
        let at = |index: u64| LEFT + (RIGHT - LEFT) * index / count.max(1);
        let bars: Vec<Bar> = (0..)
            .zip(points)
            .map(|(index, (name, value))| {
                let slot = at(index + 1) - at(index);
                let gap = slot / 5;
                let height = match height(u128::from(value), top) {
                    _ if value == 0 => 0,
                    height => height.max(HEIGHT_MIN),
                };
                Bar {
                    name,
                    value,
                    x: at(index) + gap / 2,
                    y: BOTTOM - height,
                    width: (slot - gap).max(1),
                    height,
                }
            })
            .collect();
        Self {
            labels: labels(&bars),
            ticks: ticks.collect(),
            bars,
        }
    }

    /// What all bars come to.
    pub(super) fn total(&self) -> u64 {
        self.bars
            .iter()
            .fold(0, |total, bar| total.saturating_add(bar.value))
    }

    /// The same in a sentence, for those who do not see it.
    pub(super) fn told(&self, f: &Frame) -> String {
        let (Some(first), Some(last)) = (self.bars.first(), self.bars.last()) else {
            return String::new();
        };
        // The latest of those that are equal.
        let highest = self.bars.iter().max_by_key(|bar| bar.value);
        match highest.filter(|bar| bar.value > 0) {
            None => f.fill("chart.nothing", &[&first.name, &last.name]),
            Some(highest) => {
                let (total, most) = (figure(self.total()), figure(highest.value));
                let parts = [&first.name, &last.name, &total, &most, &highest.name];
                f.fill("chart.told", &parts.map(String::as_str))
            }
        }
    }
}

/// How far apart the lines are and how many there are above the ground: steps of 1, 2 or 5 and noughts, as few as reach.
fn scale(largest: u64) -> (u128, u128) {
    let largest = u128::from(largest);
    let mut power = 1;
    loop {
        for digit in [1, 2, 5] {
            let step = digit * power;
            if step * STEPS_MAX >= largest {
                return (step, largest.div_ceil(step).max(1));
            }
        }
        power *= 10;
    }
}

/// How high a value stands where `top` reaches to the top.
fn height(value: u128, top: u128) -> u64 {
    let height = value * u128::from(BOTTOM - TOP) / top.max(1);
    u64::try_from(height).unwrap_or(BOTTOM - TOP)
}

/// Below the first, the middle and the last bar, as far as there is room.
fn labels(bars: &[Bar]) -> Vec<Label> {
    let label = |bar: &Bar, anchor| Label {
        x: match anchor {
            "start" => bar.x,
            "end" => bar.x + bar.width,
            _ => bar.x + bar.width / 2,
        },
        anchor,
        text: bar.name.clone(),
    };
    match bars {
        [] => Vec::new(),
        [only] => vec![label(only, "middle")],
        [first, .., last] => {
            let middle = (bars.len() > 4).then(|| label(&bars[bars.len() / 2], "middle"));
            let ends = [label(first, "start"), label(last, "end")];
            ends.into_iter().chain(middle).collect()
        }
    }
}

/// A number in few characters: `1.5k`, `20M`.
fn short(value: u128) -> String {
    let units = [
        (1_000_000_000_000, "T"),
        (1_000_000_000, "G"),
        (1_000_000, "M"),
        (1_000, "k"),
    ];
    let Some((unit, letter)) = units.into_iter().find(|(unit, _)| value >= *unit) else {
        return value.to_string();
    };
    let (whole, tenth) = (value / unit, value % unit * 10 / unit);
    if tenth == 0 {
        format!("{whole}{letter}")
    } else {
        format!("{whole}.{tenth}{letter}")
    }
}

/// A whole number as people read it.
pub(super) fn figure(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(BETWEEN_THOUSANDS);
        }
        text.push(digit);
    }
    text
}

/// What is counted is never below nought; what says so counts for nothing.
pub(super) fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

impl Frame {
    /// A number, for templates.
    #[expect(clippy::unused_self, reason = "templates reach what they show by methods")]
    pub(super) fn number(&self, value: impl Borrow<u64>) -> String {
        figure(*value.borrow())
    }

    /// The same of a count of another service.
    pub(super) fn whole(&self, value: impl Borrow<i64>) -> String {
        self.number(count(*value.borrow()))
    }
}

/// How long the bar of a row is, of a thousand, where `largest` has all of it.
pub(super) fn share(value: u64, largest: u64) -> u64 {
    let share = u128::from(value) * u128::from(SHARE) / u128::from(largest.max(1));
    u64::try_from(share).unwrap_or(SHARE).min(SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[u64]) -> Chart {
        let points = values.iter().enumerate();
        Chart::new(
            points
                .map(|(day, value)| (format!("day {day}"), *value))
                .collect(),
        )
    }

    #[test]
    fn nothing_has_a_ground_and_no_bars() {
        let empty = chart(&[]);
        assert!(empty.bars.is_empty() && empty.labels.is_empty());
        assert_eq!(empty.total(), 0);
        assert_eq!(empty.ticks.first().unwrap().y, BOTTOM);
    }

    #[test]
    fn noughts_are_flat_and_still_have_a_scale() {
        let flat = chart(&[0, 0, 0]);
        assert!(flat.bars.iter().all(|bar| bar.height == 0 && bar.y == BOTTOM));
        let texts: Vec<_> = flat.ticks.iter().map(|tick| tick.text.as_str()).collect();
        assert_eq!(texts, ["0", "1"]);
    }

    #[test]
    fn one_value_fills_the_height_and_stays_inside() {
        let one = chart(&[4]);
        let bar = &one.bars[0];
        assert_eq!((bar.y, bar.height), (TOP, BOTTOM - TOP));
        assert!(bar.x >= LEFT && bar.x + bar.width <= RIGHT);
        assert_eq!((one.labels.len(), one.labels[0].anchor), (1, "middle"));
    }

    #[test]
    fn bars_stand_side_by_side_and_no_higher_than_the_last_line() {
        for count in [2, 5, 30, 366] {
            let values: Vec<u64> = (0..count).map(|day| day * 37 % 101).collect();
            let chart = chart(&values);
            let highest = chart.ticks.last().unwrap().y;
            assert_eq!((chart.ticks[0].y, highest), (BOTTOM, TOP));
            for pair in chart.bars.windows(2) {
                assert!(pair[0].x + pair[0].width <= pair[1].x, "{pair:?}");
            }
            assert!(
                chart
                    .bars
                    .iter()
                    .all(|bar| bar.y >= highest && bar.x + bar.width <= RIGHT),
                "{count}"
            );
        }
    }

    #[test]
    fn a_little_beside_very_much_is_seen() {
        let chart = chart(&[1, 1_000_000]);
        assert_eq!(chart.bars[0].height, HEIGHT_MIN);
        assert_eq!(chart.bars[0].y + chart.bars[0].height, BOTTOM);
    }

    #[test]
    fn the_largest_numbers_there_are_do_not_overflow() {
        let chart = chart(&[u64::MAX, u64::MAX, 0]);
        assert!(chart.bars[0].y >= TOP && chart.bars[0].height > (BOTTOM - TOP) / 2);
        assert_eq!(chart.total(), u64::MAX);
        assert_eq!(share(u64::MAX, u64::MAX), SHARE);
        assert_eq!(share(u64::MAX, 1), SHARE);
    }

    #[test]
    fn lines_stand_at_round_numbers() {
        for (largest, step, steps) in [
            (0, 1, 1),
            (1, 1, 1),
            (4, 1, 4),
            (5, 2, 3),
            (9, 5, 2),
            (21, 10, 3),
            (100, 50, 2),
            (1_001, 500, 3),
        ] {
            assert_eq!(scale(largest), (step, steps), "{largest}");
        }
    }

    #[test]
    fn numbers_are_short_on_lines_and_whole_in_words() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1k"),
            (1_500, "1.5k"),
            (2_000_000, "2M"),
            (1_500_000_000, "1.5G"),
        ] {
            assert_eq!(short(value), text);
        }
        assert_eq!(figure(0), "0");
        assert_eq!(figure(987), "987");
        assert_eq!(figure(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!((share(1, 4), share(0, 0)), (250, 0));
    }
}
