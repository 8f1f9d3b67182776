//! Help, reference and completions.

use crate::process::Home;

const COMMANDS: [&str; 12] =
    ["up", "apply", "get", "describe", "delete", "logs", "events", "top", "drain", "stop", "completions", "version"];

#[test]
fn help_names_every_command_and_every_exit_code() {
    let home = Home::new();
    let help = home.run(&["--help"]).ok();
    for word in COMMANDS {
        assert!(help.contains(&format!("\n  {word}")), "{word} is missing in:\n{help}");
    }
    for code in ["0", "1", "2", "3", "4", "5", "6", "130"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("{code} "))), "exit code {code} is missing in:\n{help}");
    }
    let nothing = home.run(&[]);
    assert_eq!(nothing.code, 2);
    assert!(nothing.err.contains("Usage: berth"), "{nothing:?}");
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let home = Home::new();
    for command in COMMANDS {
        let help = home.run(&[command, "--help"]).ok();
        assert!(help.contains("Example") && help.contains(&format!("\n  berth {command}")), "{help}");
        assert!(!help.contains('\x1b'), "colors without a terminal: {help}");
    }
}

/// L63: what docs/cli.md says is what the command line is. `BLESS=1` writes it anew.
#[test]
fn l63_the_reference_in_docs_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    let markdown = berth_cli::reference::markdown();
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs")).unwrap();
        std::fs::write(path, &markdown).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == markdown, "docs/cli.md isn't current: run `BLESS=1 cargo test -p berth-cli l63`");
}

#[test]
fn completions_are_there_for_every_shell() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = home.run(&["completions", shell]).ok();
        assert!(script.contains("berth") && script.contains("http-addr"), "{shell}");
    }
    let said = home.run(&["completions", "csh"]);
    assert_eq!(said.code, 2);
}

#[test]
fn a_command_that_does_not_exist_is_refused_with_the_one_that_was_meant() {
    let said = Home::new().run(&["aply"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(said.err.contains("'apply'"), "{}", said.err);
}
