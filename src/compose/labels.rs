//! The labels that docker compose writes, and the names it gives.

use std::collections::BTreeMap;

use crate::compose::model::Project;
use crate::compose::model::Service;

pub const PROJECT: &str = "com.docker.compose.project";
pub const SERVICE: &str = "com.docker.compose.service";
pub const NUMBER: &str = "com.docker.compose.container-number";
pub const ONE_OFF: &str = "com.docker.compose.oneoff";
pub const CONFIG_HASH: &str = "com.docker.compose.config-hash";
pub const IMAGE: &str = "com.docker.compose.image";
pub const DEPENDS_ON: &str = "com.docker.compose.depends_on";
pub const REPLACE: &str = "com.docker.compose.replace";
pub const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
pub const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
pub const NETWORK: &str = "com.docker.compose.network";
pub const VOLUME: &str = "com.docker.compose.volume";
pub const VERSION: &str = "com.docker.compose.version";
pub const ENVIRONMENT_FILE: &str = "com.docker.compose.project.environment_file";
pub const SLUG: &str = "com.docker.compose.slug";

/// The name of a service's container: its own, or `project-service-1`.
pub fn container_name(project: &Project, service: (&str, &Service), number: u32) -> String {
    let between = project.separator;
    service.1.container_name.clone().unwrap_or_else(|| format!("{}{between}{}{between}{number}", project.name, service.0))
}

/// What a container says that takes the place of another one: the other's name without the project.
pub fn replaced((name, service): (&str, &Service), number: u32) -> String {
    service.container_name.clone().unwrap_or_else(|| format!("{name}-{number}"))
}

/// The name of the image a service runs: its own, or `project-service` for one that is built.
pub fn image_name(project: &Project, service: (&str, &Service)) -> String {
    service.1.image.clone().unwrap_or_else(|| format!("{}{}{}", project.name, project.separator, service.0))
}

/// `redis:service_started:false,db:service_healthy:true`
pub fn depends_on(service: &Service) -> String {
    let words = service.depends_on.iter().map(|(name, dependency)| format!("{name}:{}:{}", dependency.condition, dependency.restart));
    words.collect::<Vec<_>>().join(",")
}

/// The services that a container's `depends_on` label names.
pub fn depended_on(label: &str) -> Vec<String> {
    label.split(',').filter_map(|word| word.split(':').next()).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Those of them with whose restart the container restarts too.
pub fn restarted_with(label: &str) -> Vec<String> {
    let restarts = |word: &&str| word.rsplit(':').next() == Some("true");
    label.split(',').filter(restarts).filter_map(|word| word.split(':').next()).map(str::to_owned).collect()
}

/// The labels that everything of a project carries.
pub fn of_project(project: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(PROJECT.to_owned(), project.to_owned()), (VERSION.to_owned(), env!("CARGO_PKG_VERSION").to_owned())])
}

/// The labels of a container besides its number and hash.
pub fn of_service(project: &Project, service: (&str, &Service)) -> BTreeMap<String, String> {
    let files: Vec<_> = project.files.iter().map(|file| file.display().to_string()).collect();
    let mut labels = service.1.labels.clone();
    labels.extend(of_project(&project.name));
    labels.extend([
        (SERVICE.to_owned(), service.0.to_owned()),
        (ONE_OFF.to_owned(), "False".to_owned()),
        (DEPENDS_ON.to_owned(), depends_on(service.1)),
        (WORKING_DIR.to_owned(), project.directory.display().to_string()),
        (CONFIG_FILES.to_owned(), files.join(",")),
    ]);
    labels
}
