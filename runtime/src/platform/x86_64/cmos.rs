//! The real-time clock's registers (Motorola MC146818A data sheet): the time of day, read-only. It is the
//! host's clock, never shows an update in progress, and has no memory besides.

/// Seconds in a day.
const DAY: u64 = 86_400;

fn bcd(n: u64) -> u8 {
    (n / 10 % 10 * 16 + n % 10) as u8
}

/// Year, month (1-12) and day (1-31) of a day since 1970-01-01 in the Gregorian calendar, by counting years
/// that begin in March.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, of_month)
}

/// What register `index` shows at `seconds` since 1970-01-01T00:00Z.
pub(crate) fn read(index: u8, seconds: u64) -> u8 {
    let (days, second) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = date(days);
    match index {
        0 => bcd(second % 60),
        2 => bcd(second / 60 % 60),
        4 => bcd(second / 3600),
        // 1970-01-01 was a Thursday, and Sunday is 1.
        6 => bcd((days + 4) % 7 + 1),
        7 => bcd(day),
        8 => bcd(month),
        9 => bcd(year % 100),
        // A: divider running, no update in progress. B: 24 hours, BCD. D: the battery is good.
        0xa => 0x26,
        0xb => 0x02,
        0xd => 0x80,
        0x32 => bcd(year / 100),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day() {
        let all = |seconds| [0x32, 9, 8, 7, 6, 4, 2, 0].map(|index| read(index, seconds));
        assert_eq!(all(0), [0x19, 0x70, 1, 1, 5, 0, 0, 0]);
        // 2024-02-29T23:59:58Z, a Thursday.
        assert_eq!(all(1_709_251_198), [0x20, 0x24, 2, 0x29, 5, 0x23, 0x59, 0x58]);
        assert_eq!(all(1_709_251_200), [0x20, 0x24, 3, 1, 6, 0, 0, 0]);
        // 2000-12-31, 2100-03-01.
        assert_eq!(all(978_220_800), [0x20, 0, 0x12, 0x31, 1, 0, 0, 0]);
        assert_eq!(all(4_107_542_400), [0x21, 0, 3, 1, 2, 0, 0, 0]);
        assert_eq!([0xa, 0xb, 0xc, 0xd].map(|r| read(r, 0)), [0x26, 2, 0, 0x80]);
        read(9, u64::MAX);
    }
}
