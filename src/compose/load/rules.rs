//! Rules for places of the tree: found by the last name of a path, since every value of a project is asked for one.

use super::node::Path;

/// What is to be done at the places that patterns name: names with dots between, `*` for any one, `[]` for an item.
pub(super) struct Rules<T> {
    /// The names of each pattern from the last one up, in the order of the last ones.
    known: Vec<(Vec<&'static str>, T)>,
}

impl<T: Copy> Rules<T> {
    pub(super) fn new(rules: &[(&'static str, T)]) -> Rules<T> {
        let mut known: Vec<(Vec<&str>, T)> = rules.iter().map(|(pattern, rule)| (pattern.rsplit('.').collect(), *rule)).collect();
        known.sort_by_key(|(names, _)| names[0]);
        Rules { known }
    }

    /// The rule for the place that a path leads to.
    pub(super) fn of(&self, path: Path<'_>) -> Option<T> {
        [path.name(), "*"].into_iter().find_map(|last| {
            let start = self.known.partition_point(|(names, _)| names[0] < last);
            let same = self.known[start..].iter().take_while(|(names, _)| names[0] == last);
            same.clone().find(|(names, _)| path.matches(names)).map(|(_, rule)| *rule)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_for_paths_of_its_depth_only() {
        let rules = Rules::new(&[("services.*.ports.[]", 1), ("services.*.ulimits.*", 2), ("services.*.ulimits.*.hard", 3), ("ports", 4)]);
        let services = Path::ROOT.key("services");
        let web = services.key("web");
        let (ports, ulimits) = (web.key("ports"), web.key("ulimits"));
        let nofile = ulimits.key("nofile");
        assert_eq!(rules.of(ports.item(0)), Some(1));
        assert_eq!(rules.of(nofile), Some(2));
        assert_eq!(rules.of(nofile.key("hard")), Some(3));
        assert_eq!(rules.of(nofile.key("soft")), None);
        assert_eq!(rules.of(ports), None);
        assert_eq!(rules.of(Path::ROOT.key("ports")), Some(4));
    }
}
