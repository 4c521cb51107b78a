//! Hooks: commands that go with the start or stop of a container. Each runs in a process of ours of its own, because who makes
//! processes in a container must have one thread, and who carries out a plan has several.

use std::ffi::OsString;
use std::io::Read;
use std::io::Write;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

use super::Exec;
use super::Hook;
use super::exec::exec;
use super::streams;

/// How a command line says that a process is to run a hook.
const HOOK: &str = "@hook";

/// So many lines of the output of a hook that failed are shown.
const SHOWN: usize = 5;

/// Runs a hook in a running container and waits for its end.
///
/// # Errors
/// It could not be run, or did not end with 0.
pub fn run_hook(home: &Home, id: &str, hook: &Hook) -> Result<()> {
    let what = || format!("cannot run the hook `{}`", hook.command.join(" "));
    let job = serde_json::to_vec(hook).doing(what)?;
    // By way of /proc, or a binary that was replaced meanwhile would not be found.
    let mut command = Command::new("/proc/self/exe");
    command.arg(HOOK).arg(home.root()).arg(home.run()).arg(id);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().doing(what)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A process that ended early says why on its standard error.
        let _ = stdin.write_all(&job);
    }
    let told = child.wait_with_output().doing(what)?;
    if told.status.success() {
        return Ok(());
    }
    let mut failure = Failure::new(what()).because(format!("it ended with {}", told.status));
    let output = String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned();
    let lines: Vec<&str> = output.lines().collect();
    for line in &lines[lines.len().saturating_sub(SHOWN)..] {
        failure = failure.because(line);
    }
    Err(failure)
}

/// Plays the role: runs the hook that standard input describes, and ends as it does.
pub(super) fn role(args: &[OsString]) -> Option<ExitCode> {
    let [_, name, root, run, id] = args else { return None };
    if name != HOOK {
        return None;
    }
    let outcome = read().and_then(|hook| carry_out(&Home::at(root, run), &id.to_string_lossy(), hook));
    Some(match outcome {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(failure) => {
            let _ = streams::write(2, failure.to_string().as_bytes());
            ExitCode::from(failure.status())
        }
    })
}

fn read() -> Result<Hook> {
    let mut text = Vec::new();
    std::io::stdin().lock().read_to_end(&mut text).doing(|| "cannot read the hook")?;
    serde_json::from_slice(&text).doing(|| "cannot read the hook")
}

fn carry_out(home: &Home, id: &str, hook: Hook) -> Result<i32> {
    let Hook { command, user, privileged, working_dir, env } = hook;
    exec(home, id, &Exec { args: command, env, user, working_dir, privileged, ..Exec::default() })
}
