//! From the words of the command line to a [`Command`].

use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

use clap::ArgAction;
use clap::CommandFactory;
use clap::FromArgMatches;
use clap::Parser;
use clap::error::ContextKind;
use clap::error::ContextValue;
use clap::error::ErrorKind;

use crate::cli::Command;

/// Containers, images and Compose projects without a daemon.
#[derive(Debug, Parser)]
#[command(name = "coracle", version, about, disable_help_subcommand = true, max_term_width = 100)]
pub struct Invocation {
    /// Keep everything under this directory
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

/// Reads the arguments; called `docker-compose`, `compose` is the first of them.
///
/// # Errors
/// The exit status, after help or what is wrong has been printed.
pub fn read(args: Vec<OsString>) -> Result<Invocation, u8> {
    let mut words = as_compose(args);
    if words.iter().any(|word| truth_of(&word.to_string_lossy()).is_some()) {
        words = without_truths(&whole(), words);
    }
    let parsed = Invocation::command().try_get_matches_from(words.clone()).and_then(|matches| Invocation::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let status = status_of(&error, &words);
        // Help that cannot be written has nobody who would read that it cannot.
        let _ = error.print();
        status
    })
}

/// The help of a command with others below it.
pub fn help_of(name: &str) -> String {
    whole().find_subcommand_mut(name).map(|command| command.render_help().to_string()).unwrap_or_default()
}

/// All commands with all their flags. To parse, a command's flags are made when it is reached: making all takes a millisecond or two.
fn whole() -> clap::Command {
    let mut command = Invocation::command();
    command.build();
    command
}

fn as_compose(mut args: Vec<OsString>) -> Vec<OsString> {
    let name = args.first().map(Path::new).and_then(Path::file_name);
    if name.is_some_and(|name| name == "docker-compose") {
        // Usage is told in the words that work under every name.
        args.splice(0..1, ["coracle".into(), "compose".into()]);
    }
    args
}

/// Docker's exit statuses: 0 for a group of commands without one of them, 125 for a flag that is not known or cannot be read,
/// 1 for the rest, and for all of `compose`.
fn status_of(error: &clap::Error, words: &[OsString]) -> u8 {
    let verb = verb(&Invocation::command(), words);
    let is_compose = matches!(verb, Some("compose" | "up" | "down"));
    let is_run = matches!(verb, Some("run" | "create"));
    let told = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    // What Docker's daemon is the first to look at.
    let is_late = ["--driver", "--restart", "--type"].iter().any(|flag| told.starts_with(flag));
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => 0,
        _ if is_compose => 1,
        ErrorKind::MissingRequiredArgument | ErrorKind::TooFewValues => 1,
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if is_late && !is_run => 1,
        ErrorKind::UnknownArgument if !told.starts_with('-') => 1,
        ErrorKind::UnknownArgument | ErrorKind::InvalidValue | ErrorKind::ValueValidation => 125,
        _ if is_run => 125,
        _ => 1,
    }
}

/// The first command among the words.
fn verb<'a>(command: &clap::Command, words: &'a [OsString]) -> Option<&'a str> {
    let texts: Vec<&str> = words.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    let is_value = |at: usize| takes_value(command, texts[at - 1]);
    let at = (1..texts.len()).find(|at| !texts[*at].starts_with('-') && !is_value(*at))?;
    Some(texts[at])
}

/// Takes `=true` off switches, and switches with `=false` out: the form that Go programs accept.
fn without_truths(command: &clap::Command, args: Vec<OsString>) -> Vec<OsString> {
    let mut here = command;
    let mut kept: Vec<OsString> = Vec::new();
    let mut args = args.into_iter();
    kept.extend(args.next());
    for arg in args.by_ref() {
        let text = arg.to_str().unwrap_or_default().to_owned();
        let is_value = kept.last().and_then(|last| last.to_str()).is_some_and(|last| takes_value(here, last));
        match truth_of(&text).filter(|(flag, _)| !is_value && is_switch(here, flag)) {
            Some((flag, true)) => kept.push(flag.into()),
            Some((flag, false)) => kept.extend(without_last(flag).map(OsString::from)),
            None => kept.push(arg),
        }
        if is_value || text.starts_with('-') {
            continue;
        }
        match here.find_subcommand(&text) {
            Some(next) => here = next,
            // The words after a container's image are its own.
            None if here.get_positionals().any(clap::Arg::is_trailing_var_arg_set) => break,
            None => {}
        }
    }
    kept.extend(args);
    kept
}

/// A flag and its truth, if that is what the word looks like.
fn truth_of(word: &str) -> Option<(&str, bool)> {
    match word.strip_prefix('-').and(word.split_once('='))? {
        (flag, "1" | "t" | "T" | "true" | "TRUE" | "True") => Some((flag, true)),
        (flag, "0" | "f" | "F" | "false" | "FALSE" | "False") => Some((flag, false)),
        _ => None,
    }
}

/// Whether the next word belongs to this flag.
fn takes_value(command: &clap::Command, word: &str) -> bool {
    let is_this = |arg: &&clap::Arg| match word.strip_prefix("--") {
        Some(name) => arg.get_long() == Some(name),
        None => word.starts_with('-') && word.len() > 1 && arg.get_short() == word.chars().last(),
    };
    command.get_arguments().find(is_this).is_some_and(|arg| arg.get_action().takes_values())
}

/// Whether a word is a switch, or several short ones in one word.
fn is_switch(command: &clap::Command, flag: &str) -> bool {
    let is_one = |named: &dyn Fn(&clap::Arg) -> bool| {
        command.get_arguments().any(|arg| named(arg) && matches!(arg.get_action(), ArgAction::SetTrue))
    };
    let has_name =
        |arg: &clap::Arg, name: &str| arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name));
    match flag.strip_prefix("--") {
        Some(name) => is_one(&|arg| has_name(arg, name)),
        None => flag
            .strip_prefix('-')
            .is_some_and(|letters| !letters.is_empty() && letters.chars().all(|letter| is_one(&|arg| arg.get_short() == Some(letter)))),
    }
}

/// What is left of a word of switches when its last one is taken back: of `-qa`, `-q`.
fn without_last(flag: &str) -> Option<&str> {
    let rest = &flag[..flag.len() - flag.chars().next_back().map_or(0, char::len_utf8)];
    (!flag.starts_with("--") && rest.len() > 1).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn every_command_is_well_made() {
        Invocation::command().debug_assert();
    }

    /// A doc comment on a struct of flags that a command takes in would become the command's own.
    #[test]
    fn a_command_keeps_its_own_description() {
        let (plain, whole) = (Invocation::command(), whole());
        for command in plain.get_subcommands() {
            let built = whole.find_subcommand(command.get_name()).unwrap();
            assert_eq!(built.get_about().unwrap().to_string(), command.get_about().unwrap().to_string(), "{}", command.get_name());
        }
        for group in whole.get_subcommands() {
            let shown = group.get_subcommands().filter(|command| !command.is_hide_set());
            let mut told: Vec<String> = shown.map(|command| command.get_about().unwrap().to_string()).collect();
            told.sort();
            assert!(told.windows(2).all(|pair| pair[0] != pair[1]), "{}: {told:?}", group.get_name());
        }
    }

    #[test]
    fn switches_may_be_given_a_truth() {
        let command = whole();
        let table = [
            ("coracle run --rm=true -d busybox x --rm=false", "coracle run --rm -d busybox x --rm=false"),
            ("coracle compose up --build=false --detach=1", "coracle compose up --detach"),
            ("coracle compose up -d=true -V=F", "coracle compose up -d"),
            ("coracle compose ps -qa=false", "coracle compose ps -q"),
            ("coracle compose exec --no-TTY=false -T=true x -T=true", "coracle compose exec -T x -T=true"),
            ("coracle run -e -t=true busybox", "coracle run -e -t=true busybox"),
            ("coracle ps --filter=a=true", "coracle ps --filter=a=true"),
            ("coracle run --name x --rm=1 busybox", "coracle run --name x --rm busybox"),
        ];
        for (given, expected) in table {
            let kept = without_truths(&command, words(given));
            assert_eq!(kept, words(expected), "{given}");
        }
    }

    #[test]
    fn a_container_has_its_own_flags() {
        let invocation = Invocation::try_parse_from(words("coracle run --rm -it busybox sh -c --rm"));
        let Ok(Invocation { command: Command::Run(_), .. }) = invocation else { panic!("{invocation:?}") };
        assert!(Invocation::try_parse_from(words("coracle run --frozen busybox")).is_err());
    }

    #[test]
    fn the_exit_status_of_a_wrong_word_is_dockers() {
        let table = [
            ("coracle run --frozen x", 125),
            ("coracle compose up --frozen", 1),
            ("coracle compose ls --format x", 1),
            ("coracle --root /x up --frozen", 1),
            ("coracle run --frozen busybox compose", 125),
            ("coracle rm", 1),
            ("coracle --help", 0),
            ("coracle run", 1),
            ("coracle version x", 1),
            ("coracle ps --filter x", 125),
            ("coracle inspect --type x y", 1),
            ("coracle volume", 0),
        ];
        for (line, status) in table {
            let error = Invocation::try_parse_from(words(line)).map(|_| ()).unwrap_err();
            assert_eq!(status_of(&error, &words(line)), status, "{line}");
        }
    }
}
