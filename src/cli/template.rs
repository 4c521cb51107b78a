//! Go's templates, as far as `--format` needs them: `{{.Names}}`, `{{json .}}`, `{{range .Mounts}}{{.Source}}{{end}}`.
//!
//! Parsed once into nodes, then carried out over JSON values. A field that is not there prints `<no value>`.

mod eval;
mod fields;
mod functions;
mod parse;

use serde_json::Value;

use crate::failure::Failure;
use crate::failure::Result;

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Template {
    nodes: Vec<Node>,
}

/// A piece of a template.
#[derive(Debug, Clone)]
enum Node {
    Text(String),
    Print(Pipe),
    /// `{{$name := pipe}}`
    Set(String, Pipe),
    If(Pipe, Vec<Node>, Vec<Node>),
    With(Pipe, Vec<Node>, Vec<Node>),
    Range(Range, Vec<Node>, Vec<Node>),
}

/// `{{range $key, $value := pipe}}`
#[derive(Debug, Clone)]
struct Range {
    key: Option<String>,
    value: Option<String>,
    over: Pipe,
}

/// Commands, each getting the result of the one before as its last argument.
type Pipe = Vec<Vec<Term>>;

/// One word of a command.
#[derive(Debug, Clone)]
enum Term {
    /// `.A.B`; without names it is the dot itself.
    Field(Vec<String>),
    /// `$name.A.B`; the name is empty for `$`.
    Variable(String, Vec<String>),
    Constant(Value),
    /// A function's name.
    Word(String),
    /// `(pipe).A`
    Group(Pipe, Vec<String>),
}

/// What the value of a template is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Anything: what is not there prints `<no value>`.
    Map,
    /// A struct of Docker's: it is a failure to ask for a field that is not there.
    Struct,
    /// The headings of a table, which functions leave alone.
    Heading,
}

impl Template {
    /// Reads a template; `\t` and `\n` written as two characters are what they mean, as Docker reads them.
    ///
    /// # Errors
    /// What is wrong with it, in Go's words where there are any.
    pub fn parse(text: &str) -> Result<Template> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let nodes = parse::parse(&text).map_err(|reason| bad(&reason))?;
        Ok(Template { nodes })
    }

    /// The text for one value.
    ///
    /// # Errors
    /// An unknown function, or one given what it cannot take.
    pub fn text(&self, dot: &Value) -> Result<String> {
        eval::text(&self.nodes, dot, Manner::Map).map_err(|reason| bad(&reason))
    }

    /// The same for what Docker keeps in a struct: a field that is not there is refused.
    ///
    /// # Errors
    /// As [`Template::text`], and a field that is not there.
    pub fn text_of_struct(&self, dot: &Value) -> Result<String> {
        eval::text(&self.nodes, dot, Manner::Struct).map_err(|reason| bad(&reason))
    }

    /// The same for the headings of a table.
    ///
    /// # Errors
    /// As [`Template::text`].
    pub fn headings(&self, dot: &Value) -> Result<String> {
        eval::text(&self.nodes, dot, Manner::Heading).map_err(|reason| bad(&reason))
    }
}

fn bad(reason: &str) -> Failure {
    Failure::new("cannot understand the template of `--format`").because(reason)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_print_what_go_prints() {
        let dot = json!({
            "Names": "web-1", "Id": 7, "On": true, "None": null,
            "Mounts": [{"Source": "/a"}, {"Source": "/b"}],
            "Net": {"back": {"IP": "10.0.0.2"}, "front": {"IP": "10.0.1.2"}},
            "Labels": {"com.x": "y"},
        });
        let table = [
            ("{{.Names}}", "web-1"),
            ("a {{ .Id }} b", "a 7 b"),
            ("{{json .Names}}", "\"web-1\""),
            ("{{json .Labels}}", "{\"com.x\":\"y\"}"),
            ("{{range .Mounts}}{{.Source}};{{end}}", "/a;/b;"),
            ("{{range $name, $net := .Net}}{{$name}}={{$net.IP}} {{end}}", "back=10.0.0.2 front=10.0.1.2 "),
            ("{{if .On}}yes{{else}}no{{end}}", "yes"),
            ("{{if eq .Names \"db\"}}yes{{else if .On}}maybe{{else}}no{{end}}", "maybe"),
            ("{{index .Labels \"com.x\"}}", "y"),
            ("{{.Names | upper | printf \"%s!\"}}", "WEB-1!"),
            ("{{len .Mounts}}", "2"),
            ("{{(index .Mounts 1).Source}}", "/b"),
            ("{{with .Net.back}}{{.IP}}{{$.Names}}{{end}}", "10.0.0.2web-1"),
            ("x  {{- .Id -}}  y", "x7y"),
            ("{{.None}}", "<nil>"),
            ("{{.Nothing}}", "<no value>"),
            ("{{.Mounts}}", "[map[Source:/a] map[Source:/b]]"),
            ("{{.Names}}\\t{{.Id}}", "web-1\t7"),
            ("{{not .On}} {{and .On .Id}} {{or .None .Id}}", "false 7 7"),
            ("{{slice .Names 0 3}} {{join (split .Names \"-\") \"+\"}}", "web web+1"),
            ("{{pad .Names 1 2}}|{{title .Names}}|{{len .None}}", " web-1  |Web-1|0"),
            ("{{/* nothing */}}{{println .Id}}", "7\n"),
            ("{{printf \"%5s|%-5s|%03d|%q|%x|%v|%.2f\" \"r\" \"l\" 7 \"q\" 255 true .Id}}", "    r|l    |007|\"q\"|ff|true|7.00"),
            ("{{printf \"%d %s\" .Names}}", "%!d(string=web-1) %!s(MISSING)"),
            ("{{pad .Names 1 2}}|{{title \"ab cd\"}}|{{html \"<a>\"}}|{{urlquery \"a b&\"}}", " web-1  |Ab Cd|&lt;a&gt;|a+b%26"),
            ("[{{index .Labels \"none\"}}] {{.Labels.none}}", "[] <no value>"),
            ("{{and .None .None.Further}}|{{or .Id .None.Further}}", "<nil>|7"),
        ];
        for (template, expected) in table {
            let text = Template::parse(template).and_then(|template| template.text(&dot));
            assert_eq!(text.unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn a_field_that_a_struct_has_not_is_refused() {
        let dot = json!({
            "State": {"Status": "running"},
            "Config": {"Labels": {"a": "b"}, "Entrypoint": null, "Cmd": ["x"]},
            "NetworkSettings": {"Networks": {"back": {"IPAddress": "10.0.0.2"}}},
        });
        let table = [
            ("{{.State.Status}} {{.State.Health}} {{.Config.Entrypoint}} {{json .Config.Entrypoint}}", Some("running <nil> [] null")),
            ("{{.Config.User}}|{{.Config.Env}}|{{.Config.Volumes}}|{{.Config.Healthcheck}}|{{.Variant}}", Some("|[]|map[]|<nil>|")),
            ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", Some("none")),
            ("{{and .State.Health (eq .State.Health.Status \"healthy\")}}", Some("<nil>")),
            ("{{.Config.Labels.c}} {{index .Config.Labels \"c\"}}.", Some("<no value> .")),
            ("{{range .NetworkSettings.Networks}}{{.IPAddress}} {{$.State.Status}}{{end}}", Some("10.0.0.2 running")),
            ("{{.State.Health.Status}}", None),
            ("{{.Stat}}", None),
            ("{{.State.Nonsense}}", None),
            ("{{.State.Status.Further}}", None),
            ("{{.NetworkSettings.Networks.front.IPAddress}}", None),
        ];
        for (template, expected) in table {
            let text = Template::parse(template).and_then(|template| template.text_of_struct(&dot));
            assert_eq!(text.ok().as_deref(), expected, "{template}");
        }
    }

    #[test]
    fn headings_are_left_alone() {
        let dot = json!({"Names": "NAMES"});
        let template = Template::parse("{{lower .Names}} {{json .Names}} {{.Label \"com.example.some_thing\"}}").unwrap();
        assert_eq!(template.headings(&dot).unwrap(), "NAMES NAMES some thing");
    }

    #[test]
    fn a_broken_template_is_refused() {
        for template in ["{{.Names", "{{if .X}}", "{{end}}", "{{frobnicate .}}", "{{if false}}{{frobnicate}}{{end}}", "{{\"a}}"] {
            let outcome = Template::parse(template).and_then(|template| template.text(&json!({})));
            assert!(outcome.is_err(), "{template}");
        }
    }
}
