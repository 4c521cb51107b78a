//! What a build says of itself: from what it was made, and how. SLSA's predicate with BuildKit's keys.
//!
//! Follows <https://github.com/moby/buildkit/blob/v0.26.0/solver/llbsolver/provenance/types/types.go>. BuildKit's own
//! graph of operations (`llbDefinition`) is not ours to give; `max` has the Dockerfile and all that was asked for.

use std::collections::BTreeMap;

use base64::Engine;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::build::Context;
use crate::build::outputs::Detail;
use crate::build::outputs::Provenance;
use crate::build::outputs::ProvenanceForm;
use crate::build::platform::Platform;
use crate::build::whole::Scene;
use crate::image::Statement;
use crate::state;

/// Something that a build reads: its address, an algorithm and a digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Material {
    pub uri: String,
    pub digest: Option<(&'static str, String)>,
}

impl Material {
    fn json(&self) -> Value {
        let mut keys = json!({ "uri": self.uri });
        if let Some((algorithm, digest)) = &self.digest {
            keys["digest"] = json!({ *algorithm: digest });
        }
        keys
    }
}

/// Something that is said of a result, and the file it is said in beside a result that is files.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub file: String,
    pub statement: Statement,
}

/// Says it; `begun` is RFC 3339.
pub(super) fn said(scene: &Scene<'_>, provenance: &Provenance, of: (&[Material], &str)) -> Said {
    Said { file: "provenance.json".to_owned(), statement: statement(scene, provenance, of) }
}

fn statement(scene: &Scene<'_>, provenance: &Provenance, (materials, begun): (&[Material], &str)) -> Statement {
    let materials: Value = materials.iter().map(Material::json).collect();
    let (request, is_whole) = request(scene, provenance.detail);
    let id = &state::random_hex()[..25];
    let ended = crate::units::now();
    let source = match provenance.detail {
        Detail::Min => json!({}),
        Detail::Max => json!({ "source": { "infos": [source(scene)] } }),
    };
    let is_complete = !matches!(scene.wanted.context, Context::Directory(_) | Context::Input);
    match provenance.form {
        ProvenanceForm::V1 => {
            let predicate = json!({
                "buildDefinition": {
                    "buildType": "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md",
                    "externalParameters": { "configSource": config_source(scene, "path"), "request": request },
                    "internalParameters": { "builderPlatform": Platform::ours().text() },
                    "resolvedDependencies": materials,
                },
                "runDetails": {
                    "builder": { "id": provenance.builder },
                    "metadata": {
                        "invocationId": id,
                        "startedOn": begun,
                        "finishedOn": ended,
                        "buildkit_metadata": source,
                        "buildkit_reproducible": provenance.is_reproducible,
                        "buildkit_completeness": { "request": is_whole, "resolvedDependencies": is_complete },
                    },
                },
            });
            Statement { kind: "https://slsa.dev/provenance/v1".to_owned(), predicate }
        }
        ProvenanceForm::V02 => {
            let predicate = json!({
                "builder": { "id": provenance.builder },
                "buildType": "https://mobyproject.org/buildkit@v1",
                "materials": materials,
                "invocation": {
                    "configSource": config_source(scene, "entryPoint"),
                    "parameters": request,
                    "environment": { "platform": Platform::ours().text() },
                },
                "metadata": {
                    "buildInvocationID": id,
                    "buildStartedOn": begun,
                    "buildFinishedOn": ended,
                    "completeness": { "parameters": is_whole, "environment": true, "materials": is_complete },
                    "reproducible": provenance.is_reproducible,
                    "https://mobyproject.org/buildkit@v1#metadata": source,
                },
            });
            Statement { kind: "https://slsa.dev/provenance/v0.2".to_owned(), predicate }
        }
    }
}

fn config_source(scene: &Scene<'_>, path: &str) -> Value {
    let name = scene.ground.source.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut keys = json!({ path: name });
    if let Context::Remote(address) = &scene.wanted.context {
        keys["uri"] = json!(address);
    }
    keys
}

/// What was asked for, and whether all of it is said. Values of secrets are nowhere; their names are only in the long form.
fn request(scene: &Scene<'_>, detail: Detail) -> (Value, bool) {
    let wanted = scene.wanted;
    let mut keys = json!({ "frontend": "dockerfile.v0" });
    if matches!(wanted.context, Context::Directory(_)) {
        keys["locals"] = json!([{ "name": "context" }, { "name": "dockerfile" }]);
    }
    let mut arguments: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in crate::build::values::build_args(wanted) {
        arguments.insert(format!("build-arg:{name}"), value);
    }
    arguments.extend(wanted.labels.iter().map(|(name, value)| (format!("label:{name}"), value.clone())));
    arguments.extend(wanted.contexts.iter().map(|(name, place)| (format!("context:{name}"), place.clone())));
    arguments.extend(wanted.target.iter().map(|target| ("target".to_owned(), target.clone())));
    if detail == Detail::Min {
        let hides = !arguments.is_empty() || !wanted.secrets.is_empty() || !wanted.ssh.is_empty();
        return (keys, !hides);
    }
    if !arguments.is_empty() {
        keys["args"] = json!(arguments);
    }
    let list = |ids: Vec<&String>| -> Value { ids.iter().map(|id| json!({ "id": id, "optional": true })).collect() };
    if !wanted.secrets.is_empty() {
        keys["secrets"] = list(wanted.secrets.keys().collect());
    }
    if !wanted.ssh.is_empty() {
        keys["ssh"] = list(wanted.ssh.keys().collect());
    }
    (keys, true)
}

fn source(scene: &Scene<'_>) -> Value {
    let mut info = Map::new();
    info.insert("filename".to_owned(), json!(scene.ground.source.file.file_name().unwrap_or_default().to_string_lossy()));
    info.insert("language".to_owned(), json!("Dockerfile"));
    info.insert("data".to_owned(), json!(base64::engine::general_purpose::STANDARD.encode(&scene.ground.text)));
    Value::Object(info)
}
