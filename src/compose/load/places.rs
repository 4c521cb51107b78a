//! Where the attributes of services stand, for what is found wrong with them later.

use std::collections::BTreeMap;

use crate::failure::Spot;

use super::node::Map;
use super::node::Node;
use super::node::Span;
use super::session::Session;
use super::session::Text;

/// The places of the attributes of all services (`web.restart`); of one that has parts, the place of its name.
#[derive(Debug, Clone, Default)]
pub struct Places {
    spans: BTreeMap<String, Span>,
    texts: Vec<Text>,
}

impl Places {
    pub(super) fn of(session: &Session<'_>, tree: &Map) -> Places {
        let entries = |section: &str| tree.get(section).and_then(Node::as_map).into_iter().flat_map(Map::iter);
        let attributes = entries("services").flat_map(|(name, service)| {
            let attributes = service.node.as_map().into_iter().flat_map(Map::iter);
            attributes.map(move |(key, entry)| {
                let has_parts = entry.node.as_map().is_some() || entry.node.as_list().is_some();
                ([&**name, ".", &**key].concat(), if has_parts { entry.key_at } else { entry.node.at })
            })
        });
        // Of networks only what the normal form leaves out.
        let options = entries("networks").filter_map(|(name, network)| {
            let options = network.node.as_map()?.get("ipam")?.as_map()?.get("options")?;
            Some((format!("network {name}.ipam.options"), options.at))
        });
        let spans = attributes.chain(options).filter(|(_, at)| at.line > 0).collect();
        Places { spans, texts: session.texts() }
    }

    /// Whether a file says this.
    pub fn has(&self, name: &str) -> bool {
        self.spans.contains_key(name)
    }

    /// Where a file says this.
    pub fn spot(&self, name: &str) -> Option<Spot> {
        let at = self.spans.get(name)?;
        Some(self.texts.get(at.file as usize)?.spot(*at))
    }
}
