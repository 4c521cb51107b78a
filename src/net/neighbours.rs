//! What the homes share that use one network namespace: who of us has a bridge there, and how it was before the first one.
//!
//! ```text
//! /run/coracle/namespaces/<number>/lock     held while a bridge is made, and while one is forgotten
//! bridges/ip.<link>, ip6.<link>             made before the bridge; what has no link any more does not count
//! ip_forward, ipv6.json                     see host
//! ```
//!
//! Whoever is killed, whenever: what stands is known by its link, and what is to be put back stays until it has been.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::net::AddressFamily;
use rustix::net::SocketType;

use super::Network;
use super::link;
use super::namespace;
use super::netlink::Channel;
use super::plug;
use super::rule::Family;
use crate::failure::Doing;
use crate::failure::Result;
use crate::place;
use crate::place::Home;
use crate::state;
use crate::state::Lock;
use crate::sys;

/// What is shared, while nobody else may change it.
#[derive(Debug)]
pub(super) struct Neighbours {
    directory: PathBuf,
    _lock: Lock,
}

/// Where it lies. A user who may not write there shares the namespace with nobody.
pub(super) fn directory(home: &Home) -> Result<PathBuf> {
    let shared = place::of_namespace(number().doing(|| "cannot tell in which network namespace we are")?);
    match fs::create_dir_all(shared.join("bridges")) {
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            let own = home.host();
            fs::create_dir_all(own.join("bridges")).doing(|| format!("cannot make {}", own.display()))?;
            Ok(own)
        }
        made => made.map(|()| shared.clone()).doing(|| format!("cannot make {}", shared.display())),
    }
}

fn number() -> io::Result<u64> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
    sys::network::namespace_cookie(socket.as_fd()).or_else(|_| namespace::number(fs::File::open("/proc/thread-self/ns/net")?.as_fd()))
}

/// Waits until nobody else changes what is shared.
pub(super) fn lock(home: &Home) -> Result<Neighbours> {
    let directory = directory(home)?;
    let lock = Lock::at(&directory.join("lock"))?;
    Ok(Neighbours { directory, _lock: lock })
}

impl Neighbours {
    /// Notes a bridge that is about to be made.
    pub(super) fn note(&self, network: &Network) -> Result<()> {
        Family::of_network(network).try_for_each(|family| state::write_whole(&self.note_of(family, &network.bridge), b""))
    }

    /// Whether a bridge is noted.
    pub(super) fn has(&self, family: Family, bridge: &str) -> bool {
        self.note_of(family, bridge).exists()
    }

    /// Takes back what is noted of a bridge.
    pub(super) fn forget(&self, family: Family, bridge: &str) -> Result<()> {
        plug::remove_file(&self.note_of(family, bridge))
    }

    /// Whether there is another bridge than these.
    pub(super) fn has_others(&self, family: Family, bridges: &[&str]) -> Result<bool> {
        let doing = || "cannot look for other networks";
        let mut links = Channel::route().doing(doing)?;
        for entry in fs::read_dir(self.directory.join("bridges")).doing(doing)? {
            let name = entry.doing(doing)?.file_name().into_string().unwrap_or_default();
            let Some(bridge) = name.strip_prefix(family.word()).and_then(|rest| rest.strip_prefix('.')) else { continue };
            if !bridges.contains(&bridge) && link::find(&mut links, bridge).doing(doing)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn note_of(&self, family: Family, bridge: &str) -> PathBuf {
        self.directory.join("bridges").join(format!("{}.{bridge}", family.word()))
    }
}
