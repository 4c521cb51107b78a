//! `coracle buildx imagetools`: images as registries have them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::build::Annotation;
use crate::build::AnnotationAt;
use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::progress::Progress;
use crate::cli::progress::Style;
use crate::cli::template::Template;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image::Combined;
use crate::image::Combining;
use crate::image::Seen;
use crate::image::SeenImage;
use crate::image::seen;
use crate::image::seen_images;
use crate::place::Home;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make one image of several that are in registries
    Create(Create),
    /// Show what a registry has under a name
    Inspect(Inspect),
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        match self {
            Command::Create(command) => command.run(home),
            Command::Inspect(command) => command.run(home),
        }
    }
}

#[derive(Debug, Args)]
pub struct Inspect {
    /// A template, such as `{{.Manifest.Digest}}` or `{{json .Provenance}}`
    #[arg(long, conflicts_with = "raw")]
    format: Option<String>,
    /// The bytes as they are
    #[arg(long)]
    raw: bool,
    #[arg(long, hide = true)]
    builder: Option<String>,
    #[arg(value_name = "NAME")]
    name: String,
}

impl Inspect {
    fn run(self, home: &Home) -> Outcome {
        let watch = Progress::new(Style::Quiet).pull("the manifest");
        let found = seen(home, &self.name, &watch)?;
        if self.raw {
            return out::data(&String::from_utf8_lossy(&found.bytes)).map(|()| 0);
        }
        let document: Value = serde_json::from_slice(&found.bytes).doing(|| "cannot understand the manifest")?;
        let Some(format) = self.format else {
            return out::data(&text(&found, &document)).map(|()| 0);
        };
        let images = seen_images(home, &self.name, &watch)?;
        let whole = described(&found, document, &images);
        match format.as_str() {
            "json" => out::line(&whole.to_string())?,
            template => out::line(&Template::parse(template)?.text(&whole)?)?,
        }
        Ok(0)
    }
}

/// As buildx shows it: what the name is, and what it is made of.
fn text(found: &Seen, document: &Value) -> String {
    let mut text = format!("Name:      {}\nMediaType: {}\nDigest:    {}\n", found.name, found.media_type, found.digest);
    let Some(entries) = document["manifests"].as_array() else { return text };
    text += "           \nManifests: \n";
    let parts: Vec<String> = entries.iter().map(|entry| part(found, entry)).collect();
    text + &parts.join("")
}

fn part(found: &Seen, entry: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let base = found.name.split('@').next().unwrap_or_default();
    let platform = ["os", "architecture", "variant"].map(|key| word(&entry["platform"][key]));
    let platform: Vec<&str> = platform.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
    let notes: Vec<(&String, String)> =
        entry["annotations"].as_object().into_iter().flatten().map(|(key, value)| (key, word(value))).collect();
    let width = if notes.is_empty() { 11 } else { 13 };
    let mut lines = vec![("Name:", format!("{base}@{}", word(&entry["digest"]))), ("MediaType:", word(&entry["mediaType"]))];
    if !platform.is_empty() {
        lines.push(("Platform:", platform.join("/")));
    }
    let mut text: String = lines.iter().map(|(title, value)| format!("  {title:<width$}{value}\n")).collect();
    if !notes.is_empty() {
        text += &format!("  {:<width$}\n", "Annotations:");
        let longest = notes.iter().map(|(key, _)| key.len() + 2).max().unwrap_or(0);
        notes.iter().for_each(|(key, value)| text += &format!("    {:<longest$}{value}\n", format!("{key}:")));
    }
    text + &format!("  {:<width$}\n", "")
}

/// The same for templates; of several images each has its platform's name.
fn described(found: &Seen, document: Value, images: &[SeenImage]) -> Value {
    let mut manifest = document;
    manifest["digest"] = json!(found.digest);
    manifest["size"] = json!(found.bytes.len());
    let statement = |image: &SeenImage, kind: &str, name: &str| {
        let about = image.said.iter().find(|(known, _)| known.starts_with(kind));
        about.map(|(_, predicate)| json!({ name: predicate }))
    };
    let each = |of: &dyn Fn(&SeenImage) -> Option<Value>| match images {
        [one] => of(one).unwrap_or(Value::Null),
        several => Value::Object(several.iter().filter_map(|image| Some((image.platform.clone(), of(image)?))).collect::<Map<_, _>>()),
    };
    json!({
        "name": found.name.split(['@']).next().unwrap_or_default(),
        "manifest": manifest,
        "image": each(&|image| Some(image.config.clone())),
        "provenance": each(&|image| statement(image, "https://slsa.dev/provenance/", "SLSA")),
        "sbom": each(&|image| statement(image, "https://spdx.dev/Document", "SPDX")),
    })
}

#[derive(Debug, Args)]
pub struct Create {
    /// The name of the new image
    #[arg(short, long, value_name = "NAME[:TAG]")]
    tag: Vec<String>,
    /// A file with the name of a source in each line
    #[arg(short, long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Keep what the name means already
    #[arg(long)]
    append: bool,
    /// Show the new image and push nothing
    #[arg(long)]
    dry_run: bool,
    /// A note on the index
    #[arg(long, value_name = "[index:]NAME=VALUE")]
    annotation: Vec<String>,
    /// Only images for these
    #[arg(short, long, value_name = "PLATFORM", value_delimiter = ',')]
    platform: Vec<String>,
    /// Of one image alone, make an index all the same
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    prefer_index: bool,
    #[arg(long, hide = true)]
    builder: Option<String>,
    #[arg(long, hide = true, value_parser = Style::read)]
    progress: Option<Style>,
    #[arg(value_name = "SOURCE")]
    sources: Vec<String>,
}

impl Create {
    fn run(self, home: &Home) -> Outcome {
        if self.tag.is_empty() && !self.dry_run {
            let failure = Failure::new("cannot push the image").because("can't push with no tags specified, please set --tag or --dry-run");
            return Err(failure.hint("name it with `-t REGISTRY/NAME:TAG`"));
        }
        let sources = self.sources()?;
        if sources.is_empty() {
            return Err(Failure::new("cannot make an image of nothing").hint("name images that are in registries"));
        }
        let watch = Progress::new(Style::Quiet).pull("the manifest");
        let annotations = annotations(&self.annotation)?;
        let combining = Combining { sources, platforms: self.platform, annotations, copies: !self.prefer_index };
        let combined = Combined::of(home, &combining, &watch)?;
        if self.dry_run {
            return out::line(String::from_utf8_lossy(&combined.bytes).trim_end()).map(|()| 0);
        }
        for tag in &self.tag {
            let digest = combined.push(home, tag)?;
            out::say(&format!("pushed {digest} to {tag}"));
        }
        Ok(0)
    }

    fn sources(&self) -> Result<Vec<String>> {
        let mut sources = if self.append { self.tag.iter().take(1).cloned().collect() } else { Vec::new() };
        for file in &self.file {
            let text = std::fs::read_to_string(file).doing(|| format!("cannot read {}", file.display()))?;
            sources.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        }
        sources.extend(self.sources.iter().cloned());
        Ok(sources)
    }
}

/// Notes are the index's here, as buildx has it; those on other things are refused by name.
fn annotations(texts: &[String]) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for text in texts {
        let cannot = || Failure::new(format!("cannot note `{text}` on the image"));
        let is_placed = text.split(':').next().is_some_and(|front| front.split(',').all(|kind| AnnotationAt::read(kind).is_some()));
        for note in Annotation::read(text).map_err(|reason| cannot().because(reason))? {
            if is_placed && note.at != AnnotationAt::Index {
                return Err(cannot().because("the images themselves stay as they are").hint("write `index:NAME=VALUE`"));
            }
            found.insert(note.key, note.value);
        }
    }
    Ok(found)
}
