//! The container's environment, from files and from the command line, as docker takes it.

use std::{env, fs, io, path::PathBuf};

use thiserror::Error;

/// Why there is no environment.
#[derive(Debug, Error)]
pub enum EnvironmentError {
    /// It is no variable.
    #[error("`{word}` is no environment variable: use NAME=VALUE")]
    Word {
        /// What was given.
        word: String,
    },
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of a file is no variable.
    #[error("{path}: {source}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<EnvironmentError>,
    },
}

/// The variables of `files`, then of `words`: NAME=VALUE, or NAME to pass on this process's own. The last one
/// of a name counts.
///
/// # Errors
/// See [`EnvironmentError`].
pub fn environment(files: &[PathBuf], words: &[String]) -> Result<Vec<(String, String)>, EnvironmentError> {
    let mut out = Vec::new();
    for path in files {
        let text = fs::read_to_string(path)
            .map_err(|source| EnvironmentError::File { path: path.clone(), source })?;
        for line in text.lines().map(str::trim_start).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            add(line, &mut out)
                .map_err(|error| EnvironmentError::Line { path: path.clone(), source: Box::new(error) })?;
        }
    }
    for word in words {
        add(word, &mut out)?;
    }
    Ok(out)
}

fn add(word: &str, out: &mut Vec<(String, String)>) -> Result<(), EnvironmentError> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_string())),
        None => (word, env::var(word).ok()),
    };
    if name.is_empty() || word.contains('\0') {
        return Err(EnvironmentError::Word { word: word.into() });
    }
    // As docker: a name that is not set here is not passed on.
    if let Some(value) = value {
        out.retain(|(n, _)| n != name);
        out.push((name.to_string(), value));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_of_a_name_counts() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("env");
        fs::write(&file, "# comment\nA=1\n\n  B=x y\nFORELIFT_TEST_UNSET\n").unwrap();
        let words = ["A=2".to_string(), "C=".to_string(), "D=a=b".to_string()];
        let pair = |n: &str, v: &str| (n.to_string(), v.to_string());
        assert_eq!(
            environment(&[file], &words).unwrap(),
            [pair("B", "x y"), pair("A", "2"), pair("C", ""), pair("D", "a=b")]
        );
        assert!(matches!(environment(&[], &["=x".into()]), Err(EnvironmentError::Word { .. })));
        assert!(matches!(environment(&["/no/such".into()], &[]), Err(EnvironmentError::File { .. })));
    }

    #[test]
    fn a_bad_line_names_its_file() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("env");
        fs::write(&file, "=1\n").unwrap();
        let error = environment(std::slice::from_ref(&file), &[]).unwrap_err();
        let expected = format!("{}: `=1` is no environment variable: use NAME=VALUE", file.display());
        assert_eq!(error.to_string(), expected);
    }
}
