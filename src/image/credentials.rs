//! Who we say we are: `~/.docker/config.json`, its credential helpers and podman's auth.json.

use docker_credential::CredentialRetrievalError as Refusal;
use docker_credential::DockerCredential;
use oci_client::secrets::RegistryAuth;

use crate::failure::Failure;
use crate::failure::Result;

/// `docker login` files the Hub under this name.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What to present to this registry; nothing if nobody logged in.
pub(super) fn of(registry: &str) -> Result<RegistryAuth> {
    let keys: &[&str] = if registry == "docker.io" { &[HUB_KEY, "docker.io", "index.docker.io"] } else { &[registry] };
    for key in keys {
        match docker_credential::get_credential(key) {
            Ok(DockerCredential::UsernamePassword(user, password)) => return Ok(RegistryAuth::Basic(user, password)),
            Ok(DockerCredential::IdentityToken(_)) => {
                return Err(Failure::new(format!("cannot log in to `{registry}`"))
                    .because("the login on file is an identity token, which needs an OAuth2 refresh that is not built yet")
                    .hint(format!("log in with user and password: docker login {registry}")));
            }
            Err(Refusal::NoCredentialConfigured | Refusal::ConfigNotFound | Refusal::ConfigReadError) => {}
            // A helper that does not know the registry says so with a failure; the registry decides whether it matters.
            Err(Refusal::HelperFailure { stdout, .. }) if stdout.contains("credentials not found") => {}
            Err(error) => return Err(Failure::new(format!("cannot read the login for `{registry}`")).because(error)),
        }
    }
    Ok(RegistryAuth::Anonymous)
}
