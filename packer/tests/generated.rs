//! What is made from the command line's description: completions and manual pages.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
};

const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "elvish", "powershell"];

fn forelift(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_forelift")).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that the help lists.
fn commands() -> Vec<String> {
    let help = forelift(&["--help"]);
    let lines =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // Deeper ones go on with a description.
    let names =
        lines.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_string).collect()
}

/// The long options that a command's help describes.
fn options(command: &str) -> BTreeSet<String> {
    let help = forelift(&[command, "--help"]);
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = lines.flat_map(|line| line.split([' ', ',', '='])).filter(|word| word.starts_with("--"));
    words.map(str::to_string).collect()
}

/// Whether there is such a program here.
fn has(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn accepts(program: &str, args: &[&str], file: &Path) {
    let output = Command::new(program).args(args).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{program}: {said}");
}

#[test]
fn completions_know_every_command_and_option() {
    let dir = tempfile::tempdir().unwrap();
    let commands = commands();
    assert!(["convert", "run", "completions"].iter().all(|name| commands.iter().any(|c| c == name)));
    assert!(!commands.iter().any(|name| name == "man"), "for packagers only");
    for shell in SHELLS {
        let script = forelift(&["completions", shell]);
        let file = dir.path().join(shell);
        fs::write(&file, &script).unwrap();
        for command in &commands {
            assert!(script.contains(command.as_str()), "{shell}: no {command}");
            for option in options(command) {
                // fish's form has no dashes.
                assert!(script.contains(option.trim_start_matches('-')), "{shell}: no {option}");
            }
        }
        if has(shell) && ["bash", "zsh", "fish"].contains(&shell) {
            accepts(shell, &["-n"], &file);
        }
    }
    let output = Command::new(env!("CARGO_BIN_EXE_forelift")).args(["completions", "tcsh"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("bash") && said.contains("zsh"), "{said}");
}

/// What bash offers for the last of these words. (`compopt` works only where somebody types.)
fn completed(script: &Path, dir: &Path, words: &[&str]) -> Vec<String> {
    let list: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let ask = format!(
        "source {}; compopt() {{ :; }}; COMP_WORDS=({}); COMP_CWORD={}; \
         $(complete -p forelift | sed 's/.*-F \\([^ ]*\\) .*/\\1/') forelift '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        list.join(" "),
        words.len() - 1,
        words[words.len() - 1],
        words[words.len() - 2],
    );
    let output = Command::new("bash").args(["--norc", "-c", &ask]).current_dir(dir).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_string).collect()
}

#[test]
fn bash_completes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let script = dir.join("script");
    let text = forelift(&["completions", "bash"]);
    assert!(text.contains("-o default"), "files where nothing else is offered");
    fs::write(&script, text).unwrap();
    fs::write(dir.join("image.wasm"), b"").unwrap();
    for (words, offered) in [
        (&["forelift", "conv"][..], &["convert"][..]),
        (&["forelift", "co"], &["completions", "convert", "compile"]),
        (&["forelift", "run", "--env"], &["--env", "--env-file"]),
        (&["forelift", "convert", "--snapshot", ""], &["ready", "none"]),
        (&["forelift", "run", "--engine", "i"], &["interp"]),
        (&["forelift", "convert", "--kernel", "im"], &["image.wasm"]),
        (&["forelift", "run", "--env-file", "im"], &["image.wasm"]),
        // Nothing of the command's own: bash completes files then.
        (&["forelift", "run", "im"], &[""]),
        (&["forelift", "completions", "z"], &["zsh"]),
    ] {
        let got: BTreeSet<String> = completed(&script, dir, words).into_iter().collect();
        let expected: BTreeSet<String> = offered.iter().map(ToString::to_string).collect();
        assert_eq!(got, expected, "{words:?}");
    }
}

/// A page as a reader sees it, without bold and underlined letters, its words apart by single spaces.
fn rendered(page: &Path) -> String {
    let output = Command::new("groff")
        .args(["-man", "-Tascii", "-P-cbou", "-ww"])
        .arg(page)
        .env("MANWIDTH", "100")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", page.display());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn manual_pages_say_what_the_help_says() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("share/man/man1");
    assert_eq!(forelift(&["man", out.to_str().unwrap()]), "");
    let names = |dir: &Path| -> BTreeSet<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut expected: BTreeSet<String> =
        commands().iter().map(|command| format!("forelift-{command}.1")).collect();
    expected.insert("forelift.1".into());
    assert_eq!(names(&out), expected);
    let can_render = has("groff");
    for command in commands() {
        let path = out.join(format!("forelift-{command}.1"));
        let page = fs::read_to_string(&path).unwrap();
        assert!(page.contains(".SH EXAMPLES"), "{command}");
        for option in options(&command) {
            assert!(page.contains(&option.replace('-', "\\-")), "{command}: no {option}");
        }
        if can_render {
            let text = rendered(&path);
            assert!(text.contains(&format!("forelift {command}")), "{text}");
            let examples = text.split("EXAMPLES").nth(1).unwrap();
            assert!(examples.lines().any(|l| l.trim_start().starts_with("forelift ")), "{text}");
        }
    }
    let page = fs::read_to_string(out.join("forelift.1")).unwrap();
    for word in [".SH FILES", ".SH ENVIRONMENT", "FORELIFT_ASSETS", "share/forelift", "forelift\\-convert(1)"]
    {
        assert!(page.contains(word), "no {word}: {page}");
    }
    // Written again, over what is there; and an error names the place.
    forelift(&["man", out.to_str().unwrap()]);
    assert_eq!(names(&out), expected);
    let output = Command::new(env!("CARGO_BIN_EXE_forelift")).args(["man", "/dev/null/x"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && said.contains("/dev/null/x") && said.lines().count() == 1,
        "{said}"
    );
}
