//! `--change` of `commit` and `import`: instructions that only change the configuration.

use std::collections::BTreeMap;

use crate::build::dockerfile;
use crate::build::dockerfile::instruction::Instruction;
use crate::build::dockerfile::instruction::Kind;
use crate::build::dockerfile::source::Source;
use crate::build::evaluate;
use crate::build::evaluate::Evaluated;
use crate::build::evaluate::Setting;
use crate::build::lint;
use crate::build::lint::Lint;
use crate::build::values::Variables;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image::ImageConfig;

/// What may stand there, as Docker has it.
const ALLOWED: &str = "CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR";

/// See [`super::changed`].
pub(super) fn changed(config: &ImageConfig, changes: &[String]) -> Result<ImageConfig> {
    if changes.is_empty() {
        return Ok(config.clone());
    }
    // A stage to stand in; the changes' own lines begin with the second.
    let text = format!("FROM scratch\n{}\n", changes.join("\n"));
    let source = Source::new("--change", &text);
    let several = |faults| Failure::several("cannot use the changes", faults);
    let file = dockerfile::read(&source, &text).map_err(several)?;
    let commands = match &file.stages[..] {
        [only] => &only.commands,
        _ => return Err(Failure::new("cannot use the changes").because("FROM is no change")),
    };
    let refused = commands
        .iter()
        .filter(|command| !is_allowed(command))
        .map(|command| source.fault(command.start(), "this instruction is no change").hint(format!("changes are {ALLOWED}")));
    let refused: Vec<Failure> = refused.collect();
    if !refused.is_empty() {
        return Err(several(refused));
    }
    let (build_args, globals) = (BTreeMap::new(), Variables::default());
    let setting = Setting {
        source: &source,
        escape: file.escape,
        build_args: &build_args,
        globals: &globals,
        proxies: Vec::new(),
        host_network: false,
        insecure: false,
        lint: &Lint::new(&source, lint::Config::default()),
        ignored: None,
    };
    let had_path = |config: &ImageConfig| config.config.env.iter().flatten().any(|line| line.starts_with("PATH="));
    let says_path = changes.iter().any(|change| change.contains("PATH"));
    let begin = Evaluated::image(config);
    let triggers = config.config.on_build.clone();
    let done = evaluate::evaluate(&setting, begin, commands, &BTreeMap::new()).map_err(several)?;
    let mut changed = ImageConfig { history: config.history.clone(), created: config.created.clone(), ..done.config };
    if !had_path(config) && !says_path {
        // A build gives every stage a PATH; a change does not.
        let env = changed.config.env.take().unwrap_or_default();
        let env: Vec<String> = env.into_iter().filter(|line| !line.starts_with("PATH=")).collect();
        changed.config.env = (config.config.env.is_some() || !env.is_empty()).then_some(env);
    }
    if let Some(triggers) = triggers {
        changed.config.on_build.get_or_insert_default().splice(0..0, triggers);
    }
    Ok(changed)
}

fn is_allowed(command: &Instruction) -> bool {
    !matches!(command.kind, Kind::From(_) | Kind::Arg(_) | Kind::Run(_) | Kind::Transfer(_) | Kind::Shell(_) | Kind::Maintainer(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(changes: &[&str]) -> Result<ImageConfig> {
        let changes: Vec<String> = changes.iter().map(|text| (*text).to_owned()).collect();
        let mut config = ImageConfig::default();
        config.config.on_build = Some(vec!["RUN first".to_owned()]);
        changed(&config, &changes)
    }

    #[test]
    fn each_change_is_an_instruction_and_leaves_the_rest_alone() {
        let config =
            change(&["CMD [\"/bin/x\", \"y\"]", "ENV A=1", "ENV B=\"$A 2\"", "expose 80", "WORKDIR /srv", "ONBUILD RUN second"]).unwrap();
        assert_eq!(config.config.cmd.as_deref(), Some(&["/bin/x".to_owned(), "y".to_owned()][..]));
        assert_eq!(config.config.env.as_deref(), Some(&["A=1".to_owned(), "B=1 2".to_owned()][..]));
        assert!(config.config.exposed_ports.unwrap().contains_key("80/tcp"));
        assert_eq!(config.config.working_dir, "/srv");
        assert_eq!(config.config.on_build.unwrap(), ["RUN first", "RUN second"]);
        assert!(config.history.is_empty());
    }

    #[test]
    fn what_makes_a_layer_is_refused() {
        for bad in ["RUN true", "COPY a b", "FROM x", "NONSENSE", "ADD a b"] {
            assert!(change(&[bad]).is_err(), "{bad}");
        }
    }
}
