//! Runs the public cases of the Compose oracle in this process.

use std::collections::BTreeMap;
use std::fs;
use std::panic;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value as Json;

use crate::compose::ConfigFlags;
use crate::compose::Sources;
use crate::compose::Surroundings;
use crate::compose::config_in;
use crate::compose::load_in;
use crate::failure::Failure;

/// How many of the public cases agree; to be raised, never lowered.
const AGREEING: usize = 1079;

/// The oracle's cases, if this is a workshop that has them.
fn cases() -> Vec<Json> {
    let places = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|above| above.join("shared/oracle/compose/public"));
    let Some(place) = places.into_iter().find(|place| place.is_dir()) else { return Vec::new() };
    let files = fs::read_dir(place)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    files
        .flat_map(|file| fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Json>>())
        .collect()
}

fn texts(value: &Json) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
}

struct Case<'c> {
    case: &'c Json,
    root: PathBuf,
}

impl Case<'_> {
    fn here(&self, text: &str) -> String {
        text.replace("${ROOT}", self.root.to_str().unwrap())
    }

    fn lay_out(&self) -> PathBuf {
        let project = self.root.join("w1/w2/w3").join(self.case["project_dir"].as_str().unwrap());
        fs::create_dir_all(self.root.join("home")).unwrap();
        fs::create_dir_all(&project).unwrap();
        for (name, text) in self.case["in"].as_object().unwrap() {
            let file = project.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text.as_str().unwrap()).unwrap();
        }
        for directory in texts(&self.case["mkdirs"]) {
            fs::create_dir_all(project.join(directory)).unwrap();
        }
        project
    }

    fn surroundings(&self, project: &Path) -> Surroundings {
        let directory = project.join(self.case["cwd"].as_str().unwrap_or("."));
        let directory = fs::canonicalize(directory).unwrap();
        let mut variables = BTreeMap::from([
            ("PATH".to_owned(), "/usr/bin".to_owned()),
            ("HOME".to_owned(), self.root.join("home").display().to_string()),
            ("PWD".to_owned(), directory.display().to_string()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ]);
        for (name, value) in self.case["env"].as_object().into_iter().flatten() {
            variables.insert(name.clone(), self.here(value.as_str().unwrap()));
        }
        let input = self.case["stdin"].as_str().map(|file| fs::read(project.join(file)).unwrap());
        Surroundings { directory, variables, input: Some(input.unwrap_or_default()) }
    }

    /// The command line, or nothing if it holds a flag that there is not.
    fn command(&self) -> Option<(Sources, ConfigFlags)> {
        let mut sources = Sources { files: texts(&self.case["files"]), ..Sources::default() };
        let mut flags = ConfigFlags::default();
        let words = [texts(&self.case["global_args"]), texts(&self.case["config_args"])].concat();
        let mut words = words.iter().map(|word| self.here(word));
        while let Some(word) = words.next() {
            match word.as_str() {
                "-p" | "--project-name" => sources.project_name = words.next(),
                "--profile" => sources.profiles.extend(words.next()),
                "--env-file" => sources.env_files.extend(words.next()),
                "--project-directory" => sources.project_directory = words.next().map(PathBuf::from),
                "--format" => flags.format = words.next()?,
                "--services" => flags.services = true,
                "--volumes" => flags.volumes = true,
                "--networks" => flags.networks = true,
                "--images" => flags.images = true,
                "--profiles" => flags.profiles = true,
                "--environment" => flags.environment = true,
                "--variables" => flags.variables = true,
                "--no-interpolate" => flags.no_interpolate = true,
                "--no-normalize" | "--compatibility" => flags.no_normalize = true,
                "--no-path-resolution" => flags.no_path_resolution = true,
                "--no-consistency" => flags.no_consistency = true,
                "--no-env-resolution" => flags.no_env_resolution = true,
                "--all-resources" => sources.all_resources = true,
                "-q" | "--quiet" => {}
                flag if flag.starts_with('-') => return None,
                service => flags.only.push(service.to_owned()),
            }
        }
        Some((sources, flags))
    }

    fn agrees(&self, result: &Result<String, Failure>) -> bool {
        self.agrees_with(self.case, result) || self.case.get("v5").is_some_and(|other| self.agrees_with(other, result))
    }

    fn agrees_with(&self, wanted: &Json, result: &Result<String, Failure>) -> bool {
        let Ok(text) = result else { return wanted["rc"] != 0 };
        let text = text.replace(self.root.to_str().unwrap(), "${ROOT}");
        let lines = |text: &str| {
            let mut lines: Vec<String> =
                text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|line| !line.is_empty()).collect();
            lines.sort();
            lines
        };
        wanted["rc"] == 0
            && match self.case["compare"].as_str() {
                Some("json") => serde_json::from_str::<Json>(&text).is_ok_and(|found| found == wanted["expected"]),
                _ => lines(&text) == lines(wanted["expected_text"].as_str().unwrap()),
            }
    }
}

fn run(case: &Json) -> Result<(), String> {
    let root = tempfile::tempdir().unwrap();
    let case = Case { case, root: fs::canonicalize(root.path()).unwrap() };
    let surroundings = case.surroundings(&case.lay_out());
    let Some((sources, flags)) = case.command() else { return Ok(()) };
    let result = config_in(&surroundings, &sources, &flags).map(|printed| printed.text);
    if result.is_ok() && flags == (ConfigFlags { format: "json".to_owned(), ..ConfigFlags::default() }) {
        load_in(&surroundings, &sources).map_err(|failure| format!("`load` refuses what `config` prints: {failure}"))?;
    }
    if case.agrees(&result) { Ok(()) } else { Err(result.unwrap_or_else(|failure| failure.to_string())) }
}

#[test]
fn the_public_cases_of_the_oracle_agree_and_none_panics() {
    let cases = cases();
    let mut agreeing = 0;
    for case in &cases {
        let name = format!("{}/{}", case["category"].as_str().unwrap(), case["id"].as_str().unwrap());
        match panic::catch_unwind(|| run(case)) {
            Ok(Ok(())) => agreeing += 1,
            Ok(Err(found)) => eprintln!("{name} differs: {found}"),
            Err(_) => panic!("{name} panics"),
        }
    }
    assert!(cases.is_empty() || agreeing >= AGREEING, "{agreeing} of {} cases agree", cases.len());
}
