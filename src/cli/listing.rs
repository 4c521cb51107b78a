//! `--format` of the listing commands: a table, JSON by lines, or a template.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Map;
use serde_json::Value;

use crate::cli::out;
use crate::cli::table::Table;
use crate::cli::template::Template;
use crate::failure::Result;
use crate::units;

/// One row, by Docker's field names.
pub type Row = Map<String, Value>;

/// What can be listed of a kind of thing.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// Every field with its heading.
    pub headings: &'static [(&'static str, &'static str)],
    /// The fields of the plain table.
    pub usual: &'static [&'static str],
}

/// Prints rows as `--format` says: `table`, `table {{.A}}\t{{.B}}`, `json`, a template, or None for the usual table.
///
/// # Errors
/// A template that cannot be understood.
pub fn print(rows: &[Row], columns: Columns, format: Option<&str>) -> Result<()> {
    out::data(&text(rows, columns, format)?)
}

/// What [`print()`] prints.
///
/// # Errors
/// As [`print()`].
pub fn text(rows: &[Row], columns: Columns, format: Option<&str>) -> Result<String> {
    match format.map(str::trim).unwrap_or("table") {
        "" | "table" => Ok(usual(rows, columns)),
        "json" | "{{json .}}" => Ok(rows.iter().map(|row| format!("{}\n", sorted(row))).collect()),
        format => match format.strip_prefix("table ") {
            Some(template) => set(rows, columns, template),
            None => {
                let template = Template::parse(format)?;
                rows.iter().map(|row| Ok(format!("{}\n", template.text_of_struct(&with_all(row, columns))?))).collect()
            }
        },
    }
}

fn usual(rows: &[Row], columns: Columns) -> String {
    let mut table = Table::new();
    table.row(columns.usual.iter().map(|field| heading(columns, field)));
    for row in rows {
        table.row(columns.usual.iter().map(|field| cell(row, field)));
    }
    table.text()
}

fn set(rows: &[Row], columns: Columns, template: &str) -> Result<String> {
    let template = Template::parse(template)?;
    let headings: Row = columns.headings.iter().map(|(field, heading)| ((*field).to_owned(), (*heading).into())).collect();
    let mut table = Table::new();
    table.tabbed(&template.headings(&Value::Object(headings))?);
    for row in rows {
        table.tabbed(&template.text_of_struct(&with_all(row, columns))?);
    }
    Ok(table.text())
}

/// A row with every field that the kind of thing has, whether anything is known of it or not.
fn with_all(row: &Row, columns: Columns) -> Value {
    let mut all = row.clone();
    for (field, _) in columns.headings {
        all.entry(*field).or_insert_with(|| "".into());
    }
    Value::Object(all)
}

fn heading(columns: Columns, field: &str) -> &'static str {
    columns.headings.iter().find(|(known, _)| *known == field).map_or("", |(_, heading)| heading)
}

fn cell(row: &Row, field: &str) -> String {
    match row.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// One line of JSON, its keys in the order that Go writes a map.
fn sorted(row: &Row) -> Value {
    let mut pairs: Vec<_> = row.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    Value::Object(pairs.into_iter().collect())
}

/// One condition of `--filter`: `status=running`.
#[derive(Debug, Clone)]
pub struct Filter {
    pub key: String,
    pub value: String,
}

/// Reads a `--filter`.
///
/// # Errors
/// It has no `=`.
pub fn filter(text: &str) -> Result<Filter, String> {
    let (key, value) = text.split_once('=').ok_or("a filter is NAME=VALUE")?;
    Ok(Filter { key: key.trim().to_lowercase(), value: value.trim().to_owned() })
}

/// Whether any of several filters of one key holds, or there is none of that key.
pub fn holds(filters: &[Filter], key: &str, matches: impl Fn(&str) -> bool) -> bool {
    let mut of_key = filters.iter().filter(|filter| filter.key == key).peekable();
    of_key.peek().is_none() || of_key.any(|filter| matches(&filter.value))
}

/// The truth of a filter such as `dangling=`, in the words Docker takes.
pub fn truth(value: &str) -> Option<bool> {
    match value {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// Refuses a filter whose value is no truth.
///
/// # Errors
/// Names it.
pub fn only_truths(filters: &[Filter], key: &str) -> Result<()> {
    match filters.iter().find(|filter| filter.key == key && truth(&filter.value).is_none()) {
        None => Ok(()),
        Some(bad) => Err(crate::failure::Failure::new(format!("cannot filter by `{key}={}`", bad.value))
            .hint(format!("write `{key}=true` or `{key}=false`"))),
    }
}

/// Refuses filters that a command does not know.
///
/// # Errors
/// Names the first unknown one and those that are known.
pub fn only_known(filters: &[Filter], known: &[&str]) -> Result<()> {
    match filters.iter().find(|filter| !known.contains(&filter.key.as_str())) {
        None => Ok(()),
        Some(filter) => Err(crate::failure::Failure::new(format!("cannot filter by `{}`", filter.key))
            .hint(format!("known filters are {}", known.join(", ")))),
    }
}

/// Whether a name is meant by a `name=` filter: by a regular expression that fits any part of it, or letter by letter.
pub fn has_name(wanted: &str, name: &str) -> bool {
    wanted == name || Regex::new(wanted).is_ok_and(|wanted| wanted.is_match(name))
}

/// Whether labels have `name` or `name=value`.
pub fn has_label<'a>(wanted: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => lookup(name) == Some(value),
        None => lookup(wanted).is_some(),
    }
}

/// What the filters of a prune say: `until=`, `label=`, `label!=`.
#[derive(Debug, Default)]
pub struct Sieve<'a> {
    until: Option<u64>,
    filters: &'a [Filter],
}

impl<'a> Sieve<'a> {
    /// # Errors
    /// A filter that is not known, or says no point in time.
    pub fn of(filters: &'a [Filter], known: &[&str]) -> Result<Sieve<'a>> {
        only_known(filters, known)?;
        let until = filters.iter().filter(|filter| filter.key == "until").map(|filter| units::moment(&filter.value));
        Ok(Sieve { until: until.collect::<Result<Vec<_>>>()?.into_iter().min(), filters })
    }

    /// Whether something of this age and with these labels may go.
    pub fn passes(&self, created: &str, labels: &BTreeMap<String, String>) -> bool {
        let is_old = self.until.is_none_or(|until| units::moment(created).unwrap_or_default() < until);
        let of_labels = self.filters.iter().filter(|filter| matches!(filter.key.as_str(), "label" | "label!"));
        is_old
            && of_labels.into_iter().all(|filter| {
                let has = has_label(&filter.value, |name| labels.get(name).map(String::as_str));
                has == (filter.key == "label")
            })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: Columns = Columns { headings: &[("ID", "CONTAINER ID"), ("Names", "NAMES")], usual: &["ID", "Names"] };

    fn rows() -> Vec<Row> {
        let row = json!({"Names": "web-1", "ID": "0123456789ab"});
        vec![row.as_object().cloned().unwrap_or_default()]
    }

    #[test]
    fn each_format_prints_what_docker_prints() {
        let table = [
            (None, "CONTAINER ID   NAMES\n0123456789ab   web-1\n"),
            (Some("json"), "{\"ID\":\"0123456789ab\",\"Names\":\"web-1\"}\n"),
            (Some("{{.Names}}"), "web-1\n"),
            (Some("table {{.Names}}\\t{{.ID}}"), "NAMES     CONTAINER ID\nweb-1     0123456789ab\n"),
        ];
        for (format, expected) in table {
            assert_eq!(text(&rows(), COLUMNS, format).unwrap(), expected, "{format:?}");
        }
    }

    #[test]
    fn a_name_is_filtered_by_an_expression() {
        for (wanted, fits) in [("web", true), ("^web", false), ("-1$", true), ("w.b", true), ("shop-web-1", true), ("we(", false)] {
            assert_eq!(has_name(wanted, "shop-web-1"), fits, "{wanted}");
        }
    }

    #[test]
    fn filters_of_one_key_are_alternatives() {
        let filters = vec![filter("status=running").unwrap(), filter("status=paused").unwrap()];
        assert!(holds(&filters, "status", |value| value == "paused"));
        assert!(!holds(&filters, "status", |value| value == "exited"));
        assert!(holds(&filters, "name", |_| false));
        assert!(only_known(&filters, &["name"]).is_err());
    }
}
