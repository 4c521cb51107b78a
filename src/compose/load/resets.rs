//! The tags `!reset` and `!override`, and merge keys: a raw document becomes a plain tree and a list of the places
//! that its tags clear in what earlier files said.

use super::node::Map;
use super::node::Mark;
use super::node::Node;
use super::node::Path;
use super::node::Value;
use super::session::Fault;
use super::session::Session;
use super::yaml::MERGE;

/// The places that the tags of a document clear.
#[derive(Debug, Clone, Default)]
pub(super) struct Resets(Vec<Vec<String>>);

/// Takes the tags and merge keys out of a document.
pub(super) fn resolve(session: &Session<'_>, document: &mut Node) -> Resets {
    let mut resets = Resets::default();
    resets.visit(session, document, Path::ROOT);
    resets
}

impl Resets {
    /// Whether the value goes.
    fn visit(&mut self, session: &Session<'_>, node: &mut Node, path: Path<'_>) -> bool {
        if node.mark != Mark::Plain {
            self.0.push(path.names());
        }
        if node.mark == Mark::Reset {
            return true;
        }
        match &mut node.value {
            Value::List(items) => {
                let mut index = 0;
                items.retain_mut(|item| {
                    index += 1;
                    !self.visit(session, item, path.item(index - 1))
                });
            }
            Value::Map(map) => self.visit_map(session, map, path),
            _ => {}
        }
        false
    }

    fn visit_map(&mut self, session: &Session<'_>, map: &mut Map, path: Path<'_>) {
        let merged = map.remove(MERGE);
        map.retain(|key, entry| !self.visit(session, &mut entry.node, path.key(key)));
        let Some(mut merged) = merged else { return };
        if self.visit(session, &mut merged.node, path) {
            return;
        }
        let at = merged.key_at;
        let sources = match merged.node.value {
            Value::List(items) => items,
            _ => vec![merged.node],
        };
        for source in sources {
            let Value::Map(source) = source.value else {
                session.report(Fault::new(at, "`<<` merges mappings only").hint("give it an alias of a mapping, or a list of them"));
                continue;
            };
            // What the mapping says itself stays.
            *map = std::mem::take(map).joined(source, |_, own, _| own);
        }
    }

    /// Clears in `target` what the tags name.
    pub(super) fn clear(&self, target: &mut Map) {
        if !self.0.is_empty() {
            self.clear_in(target, Path::ROOT);
        }
    }

    fn clear_in(&self, target: &mut Map, path: Path<'_>) {
        target.retain(|key, entry| {
            let here = path.key(key);
            if self.0.iter().any(|names| here.is(names)) {
                return false;
            }
            if let Value::Map(inner) = &mut entry.node.value {
                self.clear_in(inner, here);
            }
            true
        });
    }
}
