//! Which lifted function makes a difference: by leaving functions out.

use std::process::Command;

use forelift_abi::lift::Index;
use forelift_runtime::image::FUNCTIONS_VARIABLE;

use super::{Enabled, LockstepError, target};
use crate::pack::PackedImage;

/// Exit status of a test command that cannot judge.
const CANNOT_JUDGE: i32 = 125;

/// The index of the lifted code of `image`.
///
/// # Errors
/// When there is none.
pub fn index(image: &PackedImage) -> Result<Index, LockstepError> {
    let target = target(image)?;
    let unfit = |why| LockstepError::Unfit(format!("{}: {why}", image.path().display()));
    if image.header.lifted.len == 0 {
        return Err(unfit("nothing is lifted in it: convert it with --lift"));
    }
    postcard::from_bytes(&image.part(image.header.lifted))
        .ok()
        .filter(|index: &Index| index.is_valid(target.guest()))
        .ok_or_else(|| unfit("its index of lifted code is damaged: convert it again"))
}

/// Numbers as ranges, as [`FUNCTIONS_VARIABLE`] takes them.
pub fn list(numbers: impl Iterator<Item = u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let text = |&(from, to): &(u32, u32)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    ranges.iter().map(text).collect::<Vec<_>>().join(",")
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// All is well with all functions in use.
    Nothing,
    /// It goes wrong without any function.
    Elsewhere,
    /// This function makes the difference.
    Function {
        /// Its number.
        number: u32,
        /// Whether it does so alone; else only together with some before it.
        alone: bool,
    },
}

/// Finds the function among `count` that makes the difference: of all the first ones, the least number that
/// are bad together end with it. `is_bad` judges the functions that its argument names.
///
/// # Errors
/// Those of `is_bad`.
pub fn search(
    count: u32,
    is_bad: &mut dyn FnMut(Enabled<'_>) -> Result<bool, LockstepError>,
) -> Result<Found, LockstepError> {
    if !is_bad(&|_| true)? {
        return Ok(Found::Nothing);
    }
    if is_bad(&|_| false)? {
        return Ok(Found::Elsewhere);
    }
    // The first `good` functions are good, the first `bad` ones are bad.
    let (mut good, mut bad) = (0, count);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if is_bad(&|n| n < middle)? { bad = middle } else { good = middle }
    }
    let number = bad - 1;
    Ok(Found::Function { number, alone: is_bad(&|n| n == number)? })
}

/// Whether `command`, as the shell takes it, says that an image is bad with these functions in use:
/// [`FUNCTIONS_VARIABLE`] is in its environment, and `forelift run` passes it on. Status 0 is good, 125
/// cannot be judged, all else is bad, as with `git bisect run`.
///
/// # Errors
/// When the command cannot be run, or cannot judge.
pub fn test(command: &str, functions: &str) -> Result<bool, LockstepError> {
    let fail = |why: String| LockstepError::Unfit(format!("--test {command}: {why}"));
    let status = Command::new("sh")
        .args(["-c", command])
        .env(FUNCTIONS_VARIABLE, functions)
        .status()
        .map_err(|e| fail(e.to_string()))?;
    match status.code() {
        Some(CANNOT_JUDGE) => Err(fail(format!("status {CANNOT_JUDGE}: it cannot judge"))),
        code => Ok(code != Some(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers() {
        assert_eq!(list([].into_iter()), "");
        assert_eq!(list([0, 1, 2, 5, 7, 8].into_iter()), "0-2,5,7-8");
    }

    #[test]
    fn the_culprit_is_found() {
        for count in [1, 2, 3, 100, 1000] {
            for culprit in [0, count / 3, count - 1] {
                let mut asked = 0;
                let found = search(count, &mut |enabled| {
                    asked += 1;
                    Ok(enabled(culprit))
                });
                assert_eq!(found.unwrap(), Found::Function { number: culprit, alone: true });
                assert!(asked <= 14, "{asked}");
            }
        }
        // Two that are bad only together.
        let both = search(50, &mut |enabled| Ok(enabled(7) && enabled(31))).unwrap();
        assert_eq!(both, Found::Function { number: 31, alone: false });
        assert_eq!(search(9, &mut |_| Ok(false)).unwrap(), Found::Nothing);
        assert_eq!(search(9, &mut |_| Ok(true)).unwrap(), Found::Elsewhere);
    }

    #[test]
    fn commands_judge() {
        assert!(!test("test \"$FORELIFT_FUNCTIONS\" = 0-3", "0-3").unwrap());
        assert!(test("exit 3", "").unwrap());
        assert!(test("exit 125", "").is_err());
    }
}
