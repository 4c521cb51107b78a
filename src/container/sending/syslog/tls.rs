//! Whom a syslog over TLS is trusted by, and how we say who we are.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::DigitallySignedStruct;
use rustls::RootCertStore;
use rustls::SignatureScheme;
use rustls::StreamOwned;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::PemObject;

/// Where a host's certificates are, the first that is there.
const BUNDLES: [&str; 4] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"];

/// The files that the options name.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    authorities: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    /// Docker: the option need only be there.
    anybody: bool,
}

impl Trust {
    pub fn of(options: &BTreeMap<String, String>) -> Trust {
        let file = |name: &str| options.get(name).filter(|path| !path.is_empty()).cloned();
        Trust {
            authorities: file("syslog-tls-ca-cert"),
            certificate: file("syslog-tls-cert"),
            key: file("syslog-tls-key"),
            anybody: options.contains_key("syslog-tls-skip-verify"),
        }
    }

    /// Shakes hands with a server.
    pub fn greet(&self, host: &str, socket: TcpStream) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::new(self.config()?), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    fn config(&self) -> io::Result<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = builder.map_err(io::Error::other)?;
        let builder = match self.anybody {
            true => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
            false => builder.with_root_certificates(self.roots()?),
        };
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, error))?;
                builder.with_client_auth_cert(certificates(certificate)?, key).map_err(io::Error::other)
            }
            _ => Ok(builder.with_no_client_auth()),
        }
    }

    fn roots(&self) -> io::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        match BUNDLES.iter().find(|path| Path::new(path).exists()) {
            Some(bundle) => drop(roots.add_parsable_certificates(certificates(bundle)?)),
            None => drop(roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned())),
        }
        for certificate in self.authorities.iter().map(|file| certificates(file)).collect::<io::Result<Vec<_>>>()?.into_iter().flatten() {
            roots.add(certificate).map_err(io::Error::other)?;
        }
        Ok(roots)
    }
}

fn certificates(file: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(file).map_err(|error| bad(file, error))?;
    found.collect::<Result<_, _>>().map_err(|error| bad(file, error))
}

fn bad(file: &str, error: rustls::pki_types::pem::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{file}: {error}"))
}

/// Takes everybody for who they say they are (`syslog-tls-skip-verify`); that they hold the key of their certificate is still checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::io::Write;
    use std::net::TcpListener;

    use rustls::ServerConfig;
    use rustls::ServerConnection;

    use super::*;

    // Made for this test alone; valid for a hundred years.
    const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----
MIIBlDCCATygAwIBAgIUcSX4ToFFLaIourqT6wTyoEo4VW4wCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOdGVzdCBhdXRob3JpdHkwIBcNMjYxMTI1MTI1OTA5WhgPMjEy
NjExMDExMjU5MDlaMBkxFzAVBgNVBAMMDnRlc3QgYXV0aG9yaXR5MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAExgQCP9AcQMbrO40fVs/AFwdFWUPRDI/nJL6jVZrt
0dQ+xkWPrESgqP54uf04ocZcOnnTxD4a4YTPmtzlebU0xqNgMF4wHQYDVR0OBBYE
FCI37xWPTzkIS+0YuU6RlUiacv9QMB8GA1UdIwQYMBaAFCI37xWPTzkIS+0YuU6R
lUiacv9QMA8GA1UdEwEB/wQFMAMBAf8wCwYDVR0PBAQDAgIEMAoGCCqGSM49BAMC
A0YAMEMCHycrc7ZRB+de6AA5OM//s1NrIkarYqWHtpSJqtozTacCIDIWSryEQkGk
hBhcvpiHA/FtKyp3hPxLaSOp1ix7tkfn
-----END CERTIFICATE-----
";
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBkzCCATqgAwIBAgIUWL57/HBt/+8QzsF++UEC4h2tBd0wCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOdGVzdCBhdXRob3JpdHkwIBcNMjYxMTI1MTI1OTA5WhgPMjEy
NjExMDExMjU5MDlaMBQxEjAQBgNVBAMMCWxvY2FsaG9zdDBZMBMGByqGSM49AgEG
CCqGSM49AwEHA0IABMzWtSsr25f5hXKUALs90QrF46mLRml5PDZO9Hdy3l63qdGr
mtoCVSwq6KtseR6cwb6dA4Fpdm/WnHkKshQViXyjYzBhMBQGA1UdEQQNMAuCCWxv
Y2FsaG9zdDAJBgNVHRMEAjAAMB0GA1UdDgQWBBTqVTrthhNzIcDcVZw/LMNG0R3x
PjAfBgNVHSMEGDAWgBQiN+8Vj085CEvtGLlOkZVImnL/UDAKBggqhkjOPQQDAgNH
ADBEAiB/xNRR/jPZwSCEcbGYuEBU4TX1mCORZQULiDDmmLPjJAIgBtlF/c8Iz14s
3ncEUrvkh/3nMijVjr5518Pyq9ibj0Y=
-----END CERTIFICATE-----
";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgvDw52CgDOXgJ2vWi
weuO4kBtjiL4lxqJwwjIR57WKO+hRANCAATM1rUrK9uX+YVylAC7PdEKxeOpi0Zp
eTw2TvR3ct5et6nRq5raAlUsKuirbHkenMG+nQOBaXZv1px5CrIUFYl8
-----END PRIVATE KEY-----
";

    /// What a server hears from somebody with this trust.
    fn heard(trust: &Trust) -> io::Result<String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = CertificateDer::pem_slice_iter(CERTIFICATE.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
            let mut text = vec![0; 5];
            stream.read_exact(&mut text).map(|()| text)
        });
        let greeted = trust.greet("localhost", TcpStream::connect(address).unwrap());
        let sent = greeted.and_then(|mut stream| stream.write_all(b"hello").and_then(|()| stream.flush()).map(|()| stream));
        let text = server.join().unwrap();
        sent.map(drop)?;
        Ok(String::from_utf8(text?).unwrap())
    }

    #[test]
    fn only_a_known_authority_is_trusted_unless_anybody_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, AUTHORITY).unwrap();
        let path = file.display().to_string();
        assert_eq!(heard(&Trust { authorities: Some(path), ..Trust::default() }).unwrap(), "hello");
        assert_eq!(heard(&Trust { anybody: true, ..Trust::default() }).unwrap(), "hello");
        let refused = heard(&Trust::default()).unwrap_err();
        assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");
    }
}
