//! How connections are made: certificates, proxies, limits.
//!
//! Certificates of one registry lie in a directory of its name, as Docker and Podman have it: `*.crt` are authorities,
//! `NAME.cert` with `NAME.key` is who we are. Looked through are `certs.d` in `/etc/docker`, `/etc/containers`,
//! `/etc/coracle` and the same three under `$XDG_CONFIG_HOME`.

use std::env;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::Client;
use reqwest::Identity;
use reqwest::redirect::Policy;

use super::Answer;
use super::Protocol;
use super::trouble::Kind;
use super::trouble::Trouble;
use super::trouble::deepest;
use crate::failure::Result;
use crate::image::mirrors::is_this_machine;
use crate::place::Home;
use crate::state;
use crate::sys::environment;

/// A registry that sends nothing for so long is taken for dead.
pub(super) const SILENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 20 });
pub(super) const CONNECT: Duration = Duration::from_secs(15);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Use {
    /// Questions and downloads: there is always something to come.
    Ask,
    /// Uploads: for a long time nothing comes, and that is right.
    Upload,
}

/// What a registry's own directories hold.
#[derive(Debug, Default)]
pub struct Certificates {
    authorities: Vec<Certificate>,
    identity: Option<Identity>,
}

impl Certificates {
    /// Reads the directories of a host, `registry.example:5000`.
    ///
    /// # Errors
    /// A file in one of them that is no certificate: to go on without it would be to trust others than the user wants.
    pub fn read(host: &str) -> Answer<Certificates> {
        let mut found = Certificates::default();
        for directory in places() {
            found.add(&directory.join(host))?;
        }
        Ok(found)
    }

    fn add(&mut self, directory: &Path) -> Answer<()> {
        let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => {
                    let bundle = Certificate::from_pem_bundle(&read(&file)?).map_err(|error| bad(&file, deepest(&error)))?;
                    self.authorities.extend(bundle);
                }
                Some("cert") => {
                    let key = file.with_extension("key");
                    let mut both = read(&file)?;
                    both.push(b'\n');
                    both.extend(read(&key)?);
                    self.identity = Some(Identity::from_pem(&both).map_err(|error| bad(&file, deepest(&error)))?);
                }
                Some("key") if !file.with_extension("cert").exists() => return Err(bad(&file, "it has no certificate `.cert`")),
                _ => {}
            }
        }
        Ok(())
    }
}

fn read(file: &Path) -> Answer<Vec<u8>> {
    fs::read(file).map_err(|error| bad(file, error.to_string()))
}

fn bad(file: &Path, why: impl Into<String>) -> Trouble {
    Trouble::new(Kind::Certificate, format!("cannot use `{}`: {}", file.display(), why.into()))
}

fn places() -> Vec<PathBuf> {
    let config = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    let roots = [Some(PathBuf::from("/etc")), config];
    let programs = ["docker", "containers", "coracle"];
    roots.into_iter().flatten().flat_map(|root| programs.map(|program| root.join(program).join("certs.d"))).collect()
}

/// Makes a client for one host.
///
/// # Errors
/// Certificates that do not fit together.
pub fn build(host: &str, protocol: Protocol, what_for: Use, certificates: &Certificates) -> Answer<Client> {
    let mut builder = Client::builder()
        .connect_timeout(CONNECT)
        .user_agent(concat!("coracle/", env!("CARGO_PKG_VERSION")))
        // We follow by ourselves, because another host must see neither our token nor our certificate.
        .redirect(Policy::none())
        .tls_danger_accept_invalid_certs(protocol == Protocol::HttpsUnchecked);
    if what_for == Use::Ask {
        builder = builder.read_timeout(SILENCE);
    }
    // A proxy is for what is outside; Go's programs, Docker among them, never use one for this machine.
    if is_this_machine(host) {
        builder = builder.no_proxy();
    }
    if protocol == Protocol::Http {
        // Reading all authorities of the host takes longer than many a request.
        builder = builder.tls_certs_only([]);
    }
    if !certificates.authorities.is_empty() {
        builder = builder.tls_certs_merge(certificates.authorities.iter().cloned());
    }
    if let Some(identity) = &certificates.identity {
        builder = builder.identity(identity.clone());
    }
    builder.build().map_err(|error| Trouble::new(Kind::Certificate, format!("cannot start the registry client: {}", deepest(&error))))
}

/// Chooses the cryptography, and gives a host without certificates the bundled ones.
///
/// # Errors
/// The bundled ones cannot be written to our run directory.
pub fn install_tls(home: &Home) -> Result<()> {
    static ONCE: Once = Once::new();
    let mut outcome = Ok(());
    ONCE.call_once(|| {
        // An error only says that it was chosen before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if !has_certificates() {
            outcome = bring_certificates(&home.run().join("certificates.pem"));
        }
    });
    outcome
}

fn has_certificates() -> bool {
    const BUNDLES: [&str; 7] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/pki/tls/cacert.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/cert.pem",
        "/etc/certs/ca-certificates.crt",
    ];
    let is_full = |path: &Path| fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0);
    let has_files = |path: &Path| fs::read_dir(path).is_ok_and(|mut found| found.next().is_some());
    // The variables replace the usual places, even if they lead nowhere.
    match (env::var_os("SSL_CERT_FILE"), env::var_os("SSL_CERT_DIR")) {
        (None, None) => BUNDLES.iter().any(|path| is_full(Path::new(path))) || has_files(Path::new("/etc/ssl/certs")),
        (file, directory) => {
            file.is_some_and(|file| is_full(file.as_ref())) || directory.is_some_and(|directory| has_files(directory.as_ref()))
        }
    }
}

/// reqwest finds roots in files only, so the bundled ones become a file.
fn bring_certificates(path: &Path) -> Result<()> {
    use base64::Engine;
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = base64::engine::general_purpose::STANDARD.encode(certificate.as_ref());
        for line in encoded.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    state::write_whole(path, text.as_bytes())?;
    environment::set("SSL_CERT_FILE", path.as_os_str());
    Ok(())
}
