//! YAML text -> documents as trees with places. Aliases are expanded under a budget, merge keys and the tags
//! `!reset` and `!override` are left for [`super::resets`].

use std::collections::HashMap;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use saphyr_parser::Event;
use saphyr_parser::Parser;
use saphyr_parser::ScalarStyle;
use saphyr_parser::ScanError;
use saphyr_parser::Span as Range;
use saphyr_parser::Tag;

use super::mend;
use super::mend::Mender;
use super::node::Entry;
use super::node::Map;
use super::node::Mark;
use super::node::Node;
use super::node::Span;
use super::node::Value;
use super::scalar;
use super::session::Fault;
use super::session::MOST_VALUES;
use super::session::Session;
use super::tabs::Tabs;

/// The key under which a merge (`<<`) waits; no key of a file can hold a zero byte.
pub(super) const MERGE: &str = "\0<<";

/// Deeper nesting than this is no Compose file.
const DEEPEST: usize = 128;

/// How much aliases and anchors may add to a document, in values (one per 64 bytes of text).
const ALIAS_BUDGET: usize = 200_000;

/// A list or mapping that is still open.
struct Frame {
    at: Span,
    anchor: usize,
    mark: Mark,
    weight: usize,
    open: Open,
}

/// Where its items or entries begin among those that wait, and the key that has no value yet.
enum Open {
    List(usize),
    Map(usize, Option<(Rc<str>, Span)>),
}

struct Builder<'s, 'e> {
    session: &'s Session<'e>,
    file: u32,
    mender: &'s Mender<'s>,
    frames: Vec<Frame>,
    /// Those of all open lists and mappings, one behind the other, so that each is made once and in its size.
    items: Vec<Node>,
    entries: Vec<(Rc<str>, Entry)>,
    anchors: HashMap<usize, (Node, usize)>,
    added: usize,
    documents: Vec<Node>,
    /// The last line, if no line break ends it, and how many characters the text has.
    unended: Option<(&'s str, usize)>,
}

/// Reads all documents of a text. What is wrong with it is reported to the session; `None` if it cannot be used.
pub(super) fn parse(session: &Session<'_>, file: u32, text: &str) -> Option<Vec<Node>> {
    if let Some(at) = control(text, file) {
        session.report(
            Fault::new(at, "the file is not YAML")
                .because("a control character stands in it")
                .hint("take it out, or write it as an escape in double quotes"),
        );
        return None;
    }
    let mut mender = Mender::new(text);
    loop {
        let source = mender.source();
        match read(session, file, &source, &mender) {
            Ok(documents) => return documents,
            Err(error) if mender.mend(&error) => {}
            Err(error) => {
                refuse(session, (file, text, &mender), &error);
                return None;
            }
        }
    }
}

fn read<'s>(session: &'s Session<'_>, file: u32, text: &'s str, mender: &'s Mender<'_>) -> Result<Option<Vec<Node>>, ScanError> {
    let mut builder = Builder {
        session,
        file,
        mender,
        frames: Vec::new(),
        items: Vec::new(),
        entries: Vec::new(),
        anchors: HashMap::new(),
        added: 0,
        documents: Vec::new(),
        unended: text.rsplit('\n').next().filter(|line| !line.is_empty()).map(|line| (line, text.chars().count())),
    };
    let mut parser = Parser::new_from_str(text);
    let mut tabs = Tabs::new(text);
    while let Some(next) = parser.next_event() {
        let (event, range) = next?;
        tabs.see(&event, range);
        if builder.take(event, range).is_none() {
            return Ok(None);
        }
    }
    if let Some((line, column)) = tabs.refused() {
        let at = Span { file, line: line as u32, column: mender.column(line, column), width: 1 };
        session.report(Fault::new(at, "the file is not YAML").because(TAB.0).hint(TAB.1));
        return Ok(None);
    }
    Ok(Some(builder.documents))
}

/// Where the first character stands that no YAML can hold.
fn control(text: &str, file: u32) -> Option<Span> {
    let is_control =
        |char: char| matches!(char, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}');
    // Nearly all texts are without any, which their bytes tell faster.
    if !text.bytes().any(|byte| (byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')) || byte == 0x7f || byte == 0xc2) {
        return None;
    }
    let place = text.find(is_control)?;
    let line = text[..place].rsplit('\n').next().unwrap_or_default();
    let number = text[..place].matches('\n').count() + 1;
    Some(Span { file, line: number as u32, column: line.chars().count() as u32 + 1, width: 1 })
}

/// What the parser says of a `:` that makes no key.
const SECOND_COLON: &str = "mapping values are not allowed in this context";

/// What is wrong with a line before which a `:` is missing, or which stands too far right.
const GOES_ON: (&str, &str) = (
    "this line goes on with the text of the line before",
    "begin it in the column of the keys around it, or write `:` behind the line before",
);

/// What is wrong with a tab, and what to do.
const TAB: (&str, &str) = ("a tab stands where only blanks can", "indent with blanks");

fn refuse(session: &Session<'_>, (file, text, mender): (u32, &str, &Mender<'_>), error: &ScanError) {
    let place = error.marker();
    let at = Span { file, line: place.line() as u32, column: mender.column(place.line(), place.col()), width: 1 };
    // A second `:` of one line is something else than a line that goes on with the text of the one before.
    let line: String = text.lines().nth(place.line().saturating_sub(1)).unwrap_or_default().chars().take(place.col()).collect();
    let goes_on = error.info() == SECOND_COLON
        && !line.contains(": ")
        && !line.contains(['{', '[', '"', '\''])
        && !line.trim_start().starts_with("- ");
    let (reason, hint) = if goes_on { GOES_ON } else { explained(error.info()) };
    let fault = Fault::new(at, "the file is not YAML").because(reason);
    session.report(if hint.is_empty() { fault } else { fault.hint(hint) });
}

/// The parser's reason in other words, and what to do.
fn explained(info: &str) -> (&str, &'static str) {
    match info {
        _ if info.contains("tab") => TAB,
        "while parsing node, found unknown anchor" => {
            ("the alias names no anchor", "write the anchor (`&name`) before the alias (`*name`)")
        }
        "while parsing a block mapping, did not find expected key" => {
            ("there is no key where one is expected", "keys of one mapping begin in the same column")
        }
        "while parsing a block collection, did not find expected '-' indicator" => {
            ("a list goes on with something else than an item", "each item begins with `- ` in the same column")
        }
        "while scanning a quoted scalar, found unexpected end of stream" => ("a quote is not closed", "close it with the same quote"),
        "while parsing a flow sequence, expected ',' or ']'" => {
            ("a list in brackets is not closed", "write `,` between its items and `]` at its end")
        }
        "while parsing a flow mapping, did not find expected ',' or '}'" => {
            ("a mapping in braces is not closed", "write `,` between its entries and `}` at its end")
        }
        SECOND_COLON => ("there is a second `:` where only one can be", "write a text with `: ` in it in quotes"),
        "simple key expected" | "simple key expect ':'" => ("a key without a `:` behind it", "write `key: value`"),
        "invalid trailing content after double-quoted scalar" => ("something follows the closing quote", "write the whole value in quotes"),
        _ => (info, ""),
    }
}

impl Builder<'_, '_> {
    /// Takes one event; `None` ends the reading.
    fn take(&mut self, event: Event<'_>, range: Range) -> Option<()> {
        let at = self.span(range);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let text = self.unbroken(&text, style, range);
                let plain_key = self.expects_key() && style == ScalarStyle::Plain && tag.is_none();
                let value = value(text, style, tag.as_deref()).unwrap_or_else(|wanted| {
                    self.session.report(Fault::new(at, format!("`{text}` is not {wanted}, as its tag says")));
                    Value::Text(Rc::from(text))
                });
                let node = Node { value, at, mark: mark(tag.as_deref()) };
                let weight = 1 + text.len() / 64;
                self.spend(weight, at)?;
                if plain_key && text == "<<" {
                    self.key(Rc::from(MERGE), at);
                } else if self.expects_key() {
                    self.scalar_key(&node, text);
                    self.anchor(anchor, &node, weight)?;
                } else {
                    self.anchor(anchor, &node, weight)?;
                    self.place(node, weight);
                }
            }
            Event::Alias(anchor) => self.alias(anchor, at)?,
            Event::SequenceStart(anchor, tag) => self.open(Open::List(self.items.len()), (anchor, tag.as_deref()), at)?,
            Event::MappingStart(anchor, tag) => self.open(Open::Map(self.entries.len(), None), (anchor, tag.as_deref()), at)?,
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            _ => {}
        }
        Some(())
    }

    /// The text without the line break that the parser adds to a `|` or `>` at the end of a file that ends without one.
    fn unbroken<'v>(&self, value: &'v str, style: ScalarStyle, range: Range) -> &'v str {
        let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        let (Some((last, end)), Some(shorter)) = (self.unended.filter(|_| is_block), value.strip_suffix('\n')) else { return value };
        let own = shorter.rsplit('\n').next().unwrap_or_default();
        let is_own = if last.trim().is_empty() { shorter.is_empty() || !own.is_empty() && own.trim().is_empty() } else { true };
        if is_own && range.end.index() >= end { shorter } else { value }
    }

    fn span(&self, range: Range) -> Span {
        let width = if range.end.line() == range.start.line() { range.end.index().saturating_sub(range.start.index()) } else { usize::MAX };
        let line = range.start.line();
        let column = self.mender.column(line, range.start.col());
        Span { file: self.file, line: line as u32, column, width: u32::try_from(width).unwrap_or(u32::MAX) }
    }

    fn expects_key(&self) -> bool {
        matches!(self.frames.last(), Some(Frame { open: Open::Map(_, None), .. }))
    }

    fn scalar_key(&mut self, node: &Node, text: &str) {
        if node.as_text().is_none() {
            let fault = Fault::new(node.at, format!("key `{text}` is {}, not text", node.value.kind()));
            self.session.report(fault.hint(format!("write it in quotes: \"{text}\"")));
        }
        self.key(Rc::from(text), node.at);
    }

    fn key(&mut self, key: Rc<str>, at: Span) {
        if let Some(Frame { open: Open::Map(_, waiting), .. }) = self.frames.last_mut() {
            *waiting = Some((key, at));
        }
    }

    fn open(&mut self, open: Open, (anchor, tag): (usize, Option<&Tag>), at: Span) -> Option<()> {
        if self.frames.len() >= DEEPEST {
            self.session.report(Fault::new(at, format!("values are nested more than {DEEPEST} deep")));
            return None;
        }
        if self.expects_key() {
            self.session.report(Fault::new(at, "a list or mapping cannot be a key"));
            return None;
        }
        self.spend(1, at)?;
        self.frames.push(Frame { at, anchor, mark: mark(tag), weight: 1, open });
        Some(())
    }

    /// Counts values towards what a project may have.
    fn spend(&self, weight: usize, at: Span) -> Option<()> {
        let is_enough = self.session.spend(weight);
        if !is_enough {
            self.session.report(Fault::new(at, format!("the project has more than {MOST_VALUES} values")));
        }
        is_enough.then_some(())
    }

    fn close(&mut self) -> Option<()> {
        let frame = self.frames.pop()?;
        let value = match frame.open {
            Open::List(start) => Value::List(self.items.drain(start..).collect()),
            Open::Map(start, _) => Value::Map(Map::of(self.entries.drain(start..).collect(), |key, first, second| {
                let fault = Fault::new(second.key_at, format!("key `{}` is given twice in one mapping", key.trim_start_matches('\0')));
                self.session.report(fault.hint(format!("join it with the one on line {}, or remove one of them", first.key_at.line)));
            })),
        };
        let node = Node { value, at: frame.at, mark: frame.mark };
        self.anchor(frame.anchor, &node, frame.weight)?;
        self.place(node, frame.weight);
        Some(())
    }

    fn anchor(&mut self, anchor: usize, node: &Node, weight: usize) -> Option<()> {
        if anchor != 0 {
            self.add(weight, node.at)?;
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        Some(())
    }

    /// Counts what an anchor or alias copies, before it is copied.
    fn add(&mut self, weight: usize, at: Span) -> Option<()> {
        self.added += weight;
        if self.added > ALIAS_BUDGET {
            let fault = Fault::new(at, "aliases make the file far larger than it is written");
            self.session.report(fault.hint("write the values out, or name them less often"));
            return None;
        }
        Some(())
    }

    fn alias(&mut self, anchor: usize, at: Span) -> Option<()> {
        let Some(weight) = self.anchors.get(&anchor).map(|(_, weight)| *weight) else {
            self.session.report(Fault::new(at, "the alias stands inside the value it names").hint("a value cannot contain itself"));
            return None;
        };
        self.add(weight, at)?;
        let node = self.anchors.get(&anchor)?.0.clone();
        if self.expects_key() {
            let text = node.value.to_string();
            self.scalar_key(&node, &text);
        } else {
            self.place(node, weight);
        }
        Some(())
    }

    fn place(&mut self, node: Node, weight: usize) {
        let Some(frame) = self.frames.last_mut() else {
            self.documents.push(node);
            return;
        };
        frame.weight += weight;
        match &mut frame.open {
            Open::List(_) => self.items.push(node),
            Open::Map(_, waiting) => self.entries.extend(waiting.take().map(|(key, key_at)| (key, Entry { key_at, node }))),
        }
    }
}

fn mark(tag: Option<&Tag>) -> Mark {
    match tag {
        Some(tag) if tag.handle == "!" && tag.suffix == "reset" => Mark::Reset,
        Some(tag) if tag.handle == "!" && tag.suffix == "override" => Mark::Override,
        _ => Mark::Plain,
    }
}

/// What a scalar means; the kind it should be by its tag, if it is not.
fn value(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, &'static str> {
    let plain = || if style == ScalarStyle::Plain { scalar::resolve(&mend::restored(text)) } else { Value::Text(Rc::from(text)) };
    let Some(tag) = tag else { return Ok(plain()) };
    if !tag.is_yaml_core_schema() {
        // Also behind `!override`: a scalar with a tag that YAML does not know is text.
        return Ok(Value::Text(Rc::from(text)));
    }
    let resolved = scalar::resolve(text);
    match (tag.suffix.as_str(), &resolved) {
        ("null", Value::Null)
        | ("bool", Value::Bool(_))
        | ("int", Value::Int(_))
        | ("float", Value::Float(_))
        | ("timestamp", Value::Date(_)) => Ok(resolved),
        ("float", Value::Int(number)) => Ok(Value::Float(*number as f64)),
        ("null", _) => Err("nothing"),
        ("bool", _) => Err("`true` or `false`"),
        ("int", _) => Err("a whole number"),
        ("float", _) => Err("a number"),
        ("timestamp", _) => Err("a date"),
        ("binary", _) => {
            let compact: String = text.split_whitespace().collect();
            let bytes = STANDARD.decode(compact).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            bytes.map(|text| Value::Text(Rc::from(text))).ok_or("text in base64")
        }
        _ => Ok(Value::Text(Rc::from(text))),
    }
}
