//! Registries that misbehave, played by a thread: who is shown what, and what is done after a cut.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;

use super::*;

/// A request as it came.
#[derive(Debug, Clone)]
struct Asked {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Answers every request on a port of its own; remembers what was asked.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// `answer` writes the whole answer; the connection is closed after it.
    fn start(answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (mut connection, log, answer) = (connection.unwrap(), Arc::clone(&log), Arc::clone(&answer));
                thread::spawn(move || {
                    let Some(request) = read(&mut connection) else { return };
                    lock(&log).push(request.clone());
                    answer(&request, &mut connection);
                });
            }
        });
        Server { address, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        lock(&self.asked).clone()
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint { registry: self.address.clone(), repository: "a/b".to_owned(), trust: Trust::Loopback }
    }
}

fn read(connection: &mut TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut asked = Asked { line: line.trim_end().trim_end_matches(" HTTP/1.1").to_owned(), headers, body: Vec::new() };
    if let Some(length) = asked.header("content-length").and_then(|length| length.parse::<u64>().ok()) {
        reader.by_ref().take(length).read_to_end(&mut asked.body).ok()?;
    } else if asked.header("transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = u64::from_str_radix(size.trim(), 16).ok()?;
            reader.by_ref().take(size).read_to_end(&mut asked.body).ok()?;
            reader.read_line(&mut String::new()).ok()?;
            if size == 0 {
                break;
            }
        }
    }
    Some(asked)
}

fn reply(to: &mut TcpStream, status: &str, headers: &[&str], body: &[u8]) {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let _ = write!(to, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    let _ = to.write_all(body);
}

fn session() -> (tempfile::TempDir, Session) {
    let directory = tempfile::tempdir().unwrap();
    let session = Session::begin(&Home::at(directory.path().join("root"), directory.path().join("run"))).unwrap();
    (directory, session)
}

fn remote<'a>(session: &'a Session, server: &Server, access: Access, login: Login) -> Remote<'a> {
    Remote::with_login(session, &server.endpoint(), Protocol::Http, access, login).unwrap()
}

fn password() -> Login {
    Login::Password { user: "me".to_owned(), password: "secret".to_owned() }
}

fn index() -> &'static [u8] {
    br#"{"schemaVersion":2,"manifests":[]}"#
}

fn download(remote: &Remote<'_>, blob: &[u8]) -> Answer<Vec<u8>> {
    let mut download = Download::new(remote, Digest::of(blob), blob.len() as u64);
    let mut bytes = Vec::new();
    while let Some(chunk) = download.next_chunk()? {
        bytes.extend_from_slice((*chunk).as_ref());
    }
    Ok(bytes)
}

/// A registry that wants a token, and the giver of tokens at the same host.
fn with_tokens(asked: &Asked, to: &mut TcpStream) {
    if asked.line.contains("/token") {
        return reply(to, "200 OK", &[], br#"{"token":"good","expires_in":300}"#);
    }
    if asked.header("authorization") == Some("Bearer good") {
        return reply(to, "200 OK", &[], index());
    }
    let host = asked.header("host").unwrap();
    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"s\"");
    reply(to, "401 Unauthorized", &[&challenge], b"");
}

#[test]
fn a_password_is_traded_for_a_token_once() {
    let server = Server::start(with_tokens);
    let (_directory, session) = session();
    let remote = remote(&session, &server, Access::Push, password());
    assert_eq!(remote.manifest("1").unwrap(), index());
    assert_eq!(remote.manifest("2").unwrap(), index());
    let asked = server.asked();
    let lines: Vec<_> = asked.iter().map(|asked| asked.line.as_str()).collect();
    let token = "GET /token?service=s&scope=repository%3Aa%2Fb%3Apull%2Cpush&account=me";
    assert_eq!(lines, ["GET /v2/a/b/manifests/1", token, "GET /v2/a/b/manifests/1", "GET /v2/a/b/manifests/2"]);
    assert_eq!(asked[1].header("authorization"), Some("Basic bWU6c2VjcmV0"));
    assert!(
        asked
            .iter()
            .filter(|asked| !asked.line.contains("/token"))
            .all(|asked| asked.header("authorization") != Some("Basic bWU6c2VjcmV0"))
    );
}

#[test]
fn an_identity_token_is_sent_as_a_form() {
    let server = Server::start(with_tokens);
    let (_directory, session) = session();
    remote(&session, &server, Access::Pull, Login::Identity("id".to_owned())).manifest("1").unwrap();
    let form = String::from_utf8(server.asked()[1].body.clone()).unwrap();
    assert_eq!(server.asked()[1].line, "POST /token");
    assert_eq!(form, "grant_type=refresh_token&refresh_token=id&client_id=coracle&scope=repository%3Aa%2Fb%3Apull&service=s");
}

#[test]
fn a_login_is_not_shown_to_a_stranger_who_gives_tokens() {
    let stranger = Server::start(|_, to| reply(to, "200 OK", &[], br#"{"token":"good"}"#));
    let realm = stranger.address.replace("127.0.0.1", "localhost");
    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{realm}/token\"");
    let server = Server::start(move |_, to| reply(to, "401 Unauthorized", &[&challenge], b""));
    let (_directory, session) = session();
    let trouble = remote(&session, &server, Access::Pull, password()).manifest("1").unwrap_err();
    assert!(trouble.kind == Kind::Denied && trouble.text.contains("is not shown to `localhost:"), "{}", trouble.text);
    assert!(stranger.asked().is_empty());
}

#[test]
fn a_redirect_gets_neither_token_nor_password() {
    let blob = vec![7u8; 5000];
    let copy = blob.clone();
    let elsewhere = Server::start(move |_, to| reply(to, "200 OK", &[], &copy));
    let location = format!("Location: http://{}/there", elsewhere.address.replace("127.0.0.1", "localhost"));
    let server = Server::start(move |asked, to| match asked.header("authorization") {
        Some("Basic bWU6c2VjcmV0") => reply(to, "307 Temporary Redirect", &[&location], b""),
        _ => reply(to, "401 Unauthorized", &["WWW-Authenticate: Basic realm=\"x\""], b""),
    });
    let (_directory, session) = session();
    assert_eq!(download(&remote(&session, &server, Access::Pull, password()), &blob).unwrap(), blob);
    assert_eq!(elsewhere.asked().len(), 1);
    assert_eq!(elsewhere.asked()[0].header("authorization"), None);
}

#[test]
fn a_busy_registry_is_asked_again_when_it_says() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |_, to| match count.fetch_add(1, Ordering::Relaxed) {
        0 => reply(to, "429 Too Many Requests", &["Retry-After: 1"], b""),
        1 => reply(to, "503 Service Unavailable", &[], b"busy"),
        _ => reply(to, "200 OK", &[], index()),
    });
    let (_directory, session) = session();
    let begun = std::time::Instant::now();
    remote(&session, &server, Access::Pull, Login::Anonymous).manifest("1").unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "it was asked again before it wanted to be");
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn a_manifest_announced_as_something_else_is_refused() {
    let kind = format!("Content-Type: {}", manifest::OCI_MANIFEST);
    let server = Server::start(move |_, to| reply(to, "200 OK", &[&kind], index()));
    let (_directory, session) = session();
    let trouble = remote(&session, &server, Access::Pull, Login::Anonymous).manifest("1").unwrap_err();
    assert_eq!(trouble.kind, Kind::Mismatch, "{}", trouble.text);
}

/// Sends what a range asks for.
fn send_range(asked: &Asked, to: &mut TcpStream, blob: &[u8]) {
    let Some(range) = asked.header("range").and_then(|range| range.strip_prefix("bytes=")) else {
        return reply(to, "200 OK", &["Accept-Ranges: bytes"], blob);
    };
    let (start, end) = range.split_once('-').unwrap();
    let (start, end) = (start.parse::<usize>().unwrap(), end.parse().unwrap_or(blob.len() - 1));
    let part = format!("Content-Range: bytes {start}-{end}/{}", blob.len());
    reply(to, "206 Partial Content", &[&part], &blob[start..=end]);
}

#[test]
fn a_cut_blob_is_gone_on_with() {
    let blob: Vec<u8> = (0..100_000u32).map(|number| number as u8).collect();
    let (copy, count) = (blob.clone(), AtomicUsize::new(0));
    let server = Server::start(move |asked, to| match count.fetch_add(1, Ordering::Relaxed) {
        0 => {
            let _ = write!(to, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", copy.len());
            let _ = to.write_all(&copy[..40_000]);
        }
        // It claims to have begun where it was asked to, which would go unseen but for the digest.
        _ => send_range(asked, to, &copy),
    });
    let (_directory, session) = session();
    assert!(download(&remote(&session, &server, Access::Pull, Login::Anonymous), &blob).unwrap() == blob);
    let asked = server.asked();
    assert_eq!((asked.len(), asked[1].header("range")), (2, Some("bytes=40000-")));
}

/// Begins a blob and then sends nothing more, for as long as anybody may wait.
fn stall(to: &mut TcpStream, head: &str, sent: &[u8]) {
    let _ = write!(to, "HTTP/1.1 {head}\r\n\r\n");
    let _ = to.write_all(sent);
    let _ = to.read(&mut [0; 1]);
}

#[test]
fn a_blob_that_stalls_is_asked_for_again_from_there() {
    let blob: Vec<u8> = (0..100_000u32).map(|number| number as u8).collect();
    let (copy, count) = (blob.clone(), AtomicUsize::new(0));
    let server = Server::start(move |asked, to| match count.fetch_add(1, Ordering::Relaxed) {
        0 => stall(to, &format!("200 OK\r\nContent-Length: {}", copy.len()), &copy[..40_000]),
        _ => send_range(asked, to, &copy),
    });
    let (_directory, session) = session();
    assert!(download(&remote(&session, &server, Access::Pull, Login::Anonymous), &blob).unwrap() == blob);
    let asked = server.asked();
    assert_eq!((asked.len(), asked[1].header("range")), (2, Some("bytes=40000-")));
}

#[test]
fn a_blob_that_stalls_every_time_is_given_up() {
    let server = Server::start(|_, to| stall(to, "200 OK\r\nContent-Length: 5000", b"beginning"));
    let (_directory, session) = session();
    let trouble = download(&remote(&session, &server, Access::Pull, Login::Anonymous), &[7; 5000]).unwrap_err();
    assert_eq!((trouble.kind, trouble.text.as_str()), (Kind::Silent, "it has sent nothing for 1 s"));
    assert!(server.asked().len() < 5, "it was asked {} times", server.asked().len());
}

#[test]
fn a_slow_connection_is_helped_by_others() {
    let blob: Vec<u8> = (0..24_000_000u32).map(|number| (number % 251) as u8).collect();
    let copy = Arc::new(blob.clone());
    let server = Server::start(move |asked, to| {
        if asked.header("range").is_some() {
            return send_range(asked, to, &copy);
        }
        let _ = write!(to, "HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nContent-Length: {}\r\n\r\n", copy.len());
        for part in copy.chunks(10_000) {
            if to.write_all(part).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    let (_directory, session) = session();
    let begun = std::time::Instant::now();
    assert!(download(&remote(&session, &server, Access::Pull, Login::Anonymous), &blob).unwrap() == blob);
    assert!(begun.elapsed() < Duration::from_secs(20), "alone it would have taken 48 s");
    assert!(server.asked().len() > 10);
}

#[test]
fn a_blob_is_mounted_or_sent_whole_or_sent_as_it_is_made() {
    let server = Server::start(|asked, to| {
        let own = format!("Location: /v2/a/b/blobs/uploads/1?state={}", asked.body.len());
        match asked.line.split(' ').next().unwrap() {
            "POST" if asked.line.contains("mount=") && asked.line.contains("from=has%2Fit") => reply(to, "201 Created", &[], b""),
            "POST" | "PATCH" => reply(to, "202 Accepted", &[&own], b""),
            _ => reply(to, "201 Created", &[], b""),
        }
    });
    let (_directory, session) = session();
    let remote = remote(&session, &server, Access::Push, Login::Anonymous);
    let blob = vec![9u8; 700_000];
    let digest = Digest::of(&blob);
    assert!(matches!(remote.begin_upload(Some((&digest, "has/it"))).unwrap(), Begun::Mounted));
    assert!(matches!(remote.begin_upload(Some((&digest, "has/not"))).unwrap(), Begun::Upload(_)));
    let Begun::Upload(upload) = remote.begin_upload(None).unwrap() else { panic!("nothing to mount") };
    let mut sending = upload.whole(&digest, blob.len() as u64).unwrap();
    sending.write(&blob).unwrap();
    sending.end().unwrap();
    let Begun::Upload(upload) = remote.begin_upload(None).unwrap() else { panic!("nothing to mount") };
    let mut sending = upload.streamed().unwrap();
    sending.write(&blob).unwrap();
    sending.end_as(&digest).unwrap();
    let hex = digest.hex();
    let sent: Vec<_> = server.asked().iter().map(|asked| (asked.line.clone(), asked.body.len())).collect();
    let put = |state: usize| format!("PUT /v2/a/b/blobs/uploads/1?state={state}&digest=sha256%3A{hex}");
    let patch = "PATCH /v2/a/b/blobs/uploads/1?state=0".to_owned();
    assert_eq!(sent[3], (put(0), 700_000));
    assert_eq!(sent[5..], [(patch, 700_000), (put(700_000), 0)]);
}

#[test]
fn a_registry_that_hangs_up_says_why() {
    let server = Server::start(|asked, to| match asked.line.split(' ').next().unwrap() {
        "POST" => reply(to, "202 Accepted", &["Location: /upload"], b""),
        _ => reply(to, "413 Payload Too Large", &[], br#"{"errors":[{"code":"SIZE","message":"too much for me"}]}"#),
    });
    let (_directory, session) = session();
    let remote = remote(&session, &server, Access::Push, Login::Anonymous);
    let Begun::Upload(upload) = remote.begin_upload(None).unwrap() else { panic!("nothing to mount") };
    let mut sending = upload.whole(&Digest::of(b"x"), 1).unwrap();
    let _ = sending.write(b"x");
    let trouble = sending.end().unwrap_err();
    assert_eq!((trouble.kind, trouble.text.as_str()), (Kind::Other, "too much for me"));
}

#[test]
fn all_pages_of_tags_are_read_and_no_strangers() {
    let server = Server::start(|asked, to| match asked.line.as_str() {
        "GET /v2/a/b/tags/list" => reply(to, "200 OK", &["Link: </v2/a/b/tags/list?last=2>; rel=\"next\""], br#"{"tags":["1","2"]}"#),
        _ => reply(to, "200 OK", &["Link: <http://10.255.255.1/tags>; rel=\"next\""], br#"{"tags":["3"]}"#),
    });
    let (_directory, session) = session();
    assert_eq!(remote(&session, &server, Access::Pull, Login::Anonymous).tags().unwrap(), ["1", "2", "3"]);
}
