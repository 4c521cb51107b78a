//! Reading logs that were written as the supervisor writes them.

use std::fs;
use std::io::Write;

use super::*;

/// A container's directory with a log, written stretch by stretch as the supervisor does.
struct Written {
    _root: tempfile::TempDir,
    home: Home,
    id: String,
    ends: [u64; 2],
    time: u64,
}

impl Written {
    fn new() -> Written {
        let root = tempfile::tempdir().unwrap();
        let home = Home::at(root.path(), root.path().join("run"));
        let id = "a".repeat(64);
        fs::create_dir_all(home.container(&id)).unwrap();
        Written { _root: root, home, id, ends: [0; 2], time: 0 }
    }

    fn add(&mut self, stream: u8, text: &str) {
        let append = |path: PathBuf, bytes: &[u8]| {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
            file.write_all(bytes).unwrap();
        };
        append(log_files::stream_path(&self.home, &self.id, stream), text.as_bytes());
        let end = &mut self.ends[usize::from(stream - 1)];
        *end += text.len() as u64;
        self.time += 10;
        let stretch = Stretch { time: self.time, end: *end, stream };
        append(log_files::index_path(&self.home, &self.id), &stretch.encode());
    }

    fn open(&self, range: LogRange) -> Logs {
        logs(&self.home, &self.id, range).unwrap()
    }
}

fn rest(logs: &mut Logs) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(line) = logs.next().unwrap() {
        lines.push(format!("{}@{} {}", line.stream, line.time, String::from_utf8(line.bytes).unwrap().escape_debug()));
    }
    lines
}

#[test]
fn lines_are_put_together_from_stretches_of_both_streams() {
    let mut log = Written::new();
    log.add(1, "one\ntw");
    log.add(2, "bad");
    log.add(1, "o\nthree\nfo");
    log.add(2, " news\n");
    let mut logs = log.open(LogRange::default());
    assert_eq!(rest(&mut logs), ["1@10 one\\n", "1@30 two\\n", "1@30 three\\n", "2@40 bad news\\n", "1@30 fo"]);
    log.add(1, "ur\n");
    assert_eq!(rest(&mut logs), ["1@50 ur\\n"]);
}

#[test]
fn a_tail_counts_lines_of_both_streams() {
    let mut log = Written::new();
    log.add(1, "a\nb\n");
    log.add(2, "x\ny");
    log.add(1, "c\nd\n");
    log.add(2, "z\n");
    let tail = |lines| rest(&mut log.open(LogRange { tail: Some(lines), ..LogRange::default() }));
    assert!(tail(0).is_empty());
    assert_eq!(tail(1), ["2@40 yz\\n"]);
    assert_eq!(tail(2), ["1@30 d\\n", "2@40 yz\\n"]);
    assert_eq!(tail(3), ["1@30 c\\n", "1@30 d\\n", "2@40 yz\\n"]);
    assert_eq!(tail(4).len(), 4);
    assert_eq!(tail(6).len(), 6);
    assert_eq!(tail(7).len(), 6);
}

#[test]
fn an_unfinished_line_counts_in_a_tail() {
    let mut log = Written::new();
    log.add(1, "a\nb\nprompt> ");
    assert_eq!(rest(&mut log.open(LogRange { tail: Some(1), ..LogRange::default() })), ["1@10 prompt> "]);
    assert_eq!(rest(&mut log.open(LogRange { tail: Some(2), ..LogRange::default() })), ["1@10 b\\n", "1@10 prompt> "]);
}

#[test]
fn since_and_until_bound_the_lines() {
    let mut log = Written::new();
    log.add(1, "a\n");
    log.add(1, "b\n");
    log.add(2, "c\n");
    let range = LogRange { since: Some(20), until: Some(20), tail: None };
    assert_eq!(rest(&mut log.open(range)), ["1@20 b\\n"]);
}

#[test]
fn a_very_long_line_comes_in_parts() {
    let mut log = Written::new();
    log.add(1, &"x".repeat(150_000));
    log.add(1, "\n");
    let mut logs = log.open(LogRange::default());
    let lengths: Vec<usize> = std::iter::from_fn(|| logs.next().unwrap()).map(|line| line.bytes.len()).collect();
    assert_eq!(lengths, [65_536, 65_536, 18_929]);
}

#[test]
fn a_log_that_is_not_there_yet_can_be_followed() {
    let mut log = Written::new();
    let mut logs = log.open(LogRange::default());
    assert!(rest(&mut logs).is_empty());
    logs.wait(Duration::from_secs(5)).unwrap();
    let writer = std::thread::spawn(move || {
        log.add(1, "late\n");
        log
    });
    let mut lines = rest(&mut logs);
    while lines.is_empty() {
        logs.wait(Duration::from_secs(5)).unwrap();
        lines = rest(&mut logs);
    }
    assert_eq!(lines, ["1@10 late\\n"]);
    drop(writer.join().unwrap());
}

/// A container that ran with `--rm` is removed while its last words are being read.
#[test]
fn a_log_can_be_read_after_its_container_is_gone() {
    let mut log = Written::new();
    log.add(1, "last words\n");
    let mut logs = log.open(LogRange::default());
    fs::remove_dir_all(log.home.container(&log.id)).unwrap();
    assert_eq!(rest(&mut logs), ["1@10 last words\\n"]);
    logs.wait(Duration::from_secs(5)).unwrap();
}
