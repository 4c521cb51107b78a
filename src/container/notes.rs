//! Containers in the journal: what happens to them, with what others filter by.

use crate::journal;
use crate::net;
use crate::place::Home;

use super::Container;

/// Writes down what has happened to a container.
pub(super) fn note(home: &Home, container: &Container, action: &str, more: &[(&str, String)]) {
    let mut attributes = container.wanted.labels.clone();
    attributes.insert("image".to_owned(), container.wanted.image.clone());
    attributes.insert("name".to_owned(), container.name.clone());
    attributes.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    journal::note(home, "container", action, (&container.id, attributes));
}

/// Writes down that a container has come onto a network or left it.
pub(super) fn note_network(home: &Home, container: &Container, action: &str, network: &str) {
    // One that cannot be found any more is known by its name.
    let id = net::find(home, network).ok().flatten().map_or_else(|| network.to_owned(), |found| found.id);
    let attributes = [("container", container.id.as_str()), ("name", network), ("type", "bridge")];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    journal::note(home, "network", action, (&id, attributes));
}
