//! Who is found by which name: our containers' name server, and what it has to know of others'.
//!
//! A running container on networks of ours has a file in `known-names/`, written by its supervisor before it starts and removed when it
//! has ended. Every supervisor watches the directory: what is written there before a start is answered to the first question after it.

use std::collections::BTreeMap;
use std::fs;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::inotify;
use serde::Deserialize;
use serde::Serialize;

use crate::container::Container;
use crate::container::NetworkMode;
use crate::container::files;
use crate::container::spec;
use crate::failure::Doing;
use crate::failure::Result;
use crate::net::DEFAULT_NETWORK;
use crate::net::NameServer;
use crate::net::NameSockets;
use crate::net::Plugged;
use crate::net::Zone;
use crate::place::Home;
use crate::state;

use super::Supervisor;
use super::complain;

/// A container that can be found by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    id: String,
    name: String,
    plugs: Vec<KnownPlug>,
}

/// Where it is on one network, and how it is called there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownPlug {
    network: String,
    /// None on a network of IPv6 alone.
    address: Option<Ipv4Addr>,
    #[serde(default)]
    ipv6_address: Option<Ipv6Addr>,
    aliases: Vec<String>,
    /// What this container alone calls others: their name, and its own for them.
    #[serde(default)]
    links: Vec<(String, String)>,
}

impl KnownPlug {
    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.address.map(IpAddr::from).into_iter().chain(self.ipv6_address.map(IpAddr::from))
    }
}

/// The name servers of our containers and what they are told.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// Usually one: containers with servers of their own have another one.
    servers: BTreeMap<Vec<IpAddr>, NameServer>,
    /// Which server list a container has.
    clients: BTreeMap<String, Vec<IpAddr>>,
    watch: Option<OwnedFd>,
}

impl Directory {
    /// Lets everybody know of a container that is about to run.
    pub(super) fn announce(&mut self, home: &Home, container: &Container, plugged: &[Plugged]) -> Result<()> {
        if plugged.is_empty() {
            let _ = fs::remove_file(path(home, &container.id)); // of one that has left its networks
            return Ok(());
        }
        let known = Known::of(container, plugged);
        let bytes = serde_json::to_vec(&known).doing(|| "cannot write a container's names")?;
        state::write_whole(&path(home, &container.id), &bytes)?;
        if self.watch.is_none() {
            self.watch = Some(watch(home).doing(|| "cannot watch the names of containers")?);
        }
        Ok(())
    }

    /// Answers a container's questions from now on.
    pub(super) fn serve(&mut self, home: &Home, container: &Container, sockets: NameSockets) -> Result<()> {
        let upstream = files::upstream(&container.wanted).servers;
        let zones = zones(home);
        let server = match self.servers.entry(upstream.clone()) {
            std::collections::btree_map::Entry::Occupied(server) => server.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => place.insert(NameServer::new(upstream.clone())?),
        };
        self.clients.insert(container.id.clone(), upstream);
        server.add(&container.id, sockets, zones.get(&container.id).cloned().unwrap_or_default())
    }

    /// Forgets a container that has ended.
    pub(super) fn withdraw(&mut self, home: &Home, id: &str) {
        let _ = fs::remove_file(path(home, id));
        if let Some(server) = self.clients.remove(id).and_then(|upstream| self.servers.get_mut(&upstream)) {
            server.remove(id);
        }
    }

    /// Takes in what others have said.
    pub(super) fn hear(&mut self, home: &Home) {
        let Some(watch) = &self.watch else { return };
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(watch, &mut space);
        while events.next().is_ok() {}
        let mut zones = zones(home);
        for (id, upstream) in &self.clients {
            if let Some(server) = self.servers.get_mut(upstream) {
                server.set_zone(id, zones.remove(id).unwrap_or_default());
            }
        }
    }

    /// Answers the questions of the server with this number.
    pub(super) fn answer(&mut self, number: usize) {
        if let Some(server) = self.servers.values_mut().nth(number) {
            server.work();
        }
    }

    pub(super) fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.servers.values().map(AsFd::as_fd)
    }
}

impl Supervisor {
    /// Opens, keeps and serves a container's name server.
    pub(super) fn serve_names(&mut self, container: &Container, sockets: NameSockets) -> Result<()> {
        for (name, socket) in [("udp", &sockets.udp), ("tcp", &sockets.tcp)] {
            let copy = socket.try_clone().doing(|| "cannot keep a name server's socket")?;
            self.keep(&format!("{name}:{}", container.id), copy);
        }
        self.names.serve(&self.home, container, sockets)
    }
}

impl Known {
    fn of(container: &Container, plugged: &[Plugged]) -> Known {
        let wish = |network: &str| match &container.wanted.network {
            NetworkMode::Plugs(plugs) => plugs.iter().find(|plug| plug.network == network),
            _ => None,
        };
        let plugs = plugged.iter().map(|plug| KnownPlug {
            network: plug.network.clone(),
            address: plug.ipv4.map(|assigned| assigned.address),
            ipv6_address: plug.ipv6.map(|assigned| assigned.address),
            aliases: wish(&plug.network).map(|plug| plug.aliases.clone()).unwrap_or_default(),
            links: wish(&plug.network).map(|plug| plug.links.clone()).unwrap_or_default(),
        });
        Known { id: container.id.clone(), name: container.name.clone(), plugs: plugs.collect() }
    }
}

fn path(home: &Home, id: &str) -> PathBuf {
    home.known_names().join(format!("{id}.json"))
}

fn watch(home: &Home) -> std::io::Result<OwnedFd> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&watch, home.known_names(), inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::DELETE)?;
    Ok(watch)
}

/// What each container that is known may know of the others.
fn zones(home: &Home) -> BTreeMap<String, Zone> {
    let known = load(home);
    known.iter().map(|one| (one.id.clone(), zone(one, &known))).collect()
}

fn load(home: &Home) -> Vec<Known> {
    let Ok(entries) = fs::read_dir(home.known_names()) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|kind| kind == "json"));
    let mut known = Vec::new();
    for path in paths {
        match state::find_json::<Known>(&path) {
            Ok(found) => known.extend(found),
            Err(failure) => complain("cannot read names", failure),
        }
    }
    known.sort_by(|a, b| a.id.cmp(&b.id));
    known
}

/// Docker's rule: by container name, alias and short id on networks that users made, by none on the default one; by its own links on all.
fn zone(asker: &Known, all: &[Known]) -> Zone {
    let mut zone = Zone::default();
    for own in &asker.plugs {
        let network = own.network.to_ascii_lowercase();
        for other in all {
            for plug in other.plugs.iter().filter(|plug| plug.network == own.network) {
                let mut names = vec![other.name.clone(), spec::short_id(&other.id).to_owned()];
                names.extend(plug.aliases.iter().cloned());
                names.iter_mut().for_each(|name| name.make_ascii_lowercase());
                let is_meant = |target: &String| *target == other.id || names.contains(&target.to_ascii_lowercase());
                let linked: Vec<String> =
                    own.links.iter().filter(|(target, _)| is_meant(target)).map(|(_, alias)| alias.to_ascii_lowercase()).collect();
                if own.network == DEFAULT_NETWORK {
                    names.clear();
                } else {
                    let name = format!("{}.{}", other.name, own.network);
                    zone.names.extend(plug.addresses().map(|address| (address, name.clone())));
                }
                names.extend(linked);
                names.sort();
                names.dedup();
                for name in names {
                    zone.addresses.entry(format!("{name}.{network}")).or_default().extend(plug.addresses());
                    zone.addresses.entry(name).or_default().extend(plug.addresses());
                }
            }
        }
    }
    zone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: &str, name: &str, plugs: &[(&str, u8, &[&str])]) -> Known {
        let plugs = plugs.iter().map(|(network, last, aliases)| KnownPlug {
            network: (*network).into(),
            address: Some(Ipv4Addr::new(172, 20, 0, *last)),
            ipv6_address: None,
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            links: Vec::new(),
        });
        Known { id: id.repeat(64), name: name.into(), plugs: plugs.collect() }
    }

    #[test]
    fn names_are_known_on_shared_networks_only() {
        let web = known("a", "shop-web-1", &[("shop_front", 2, &["web"])]);
        let database = known("b", "shop-db-1", &[("shop_front", 3, &["DB"]), ("shop_back", 9, &["db"])]);
        let stranger = known("c", "other", &[("other_default", 5, &["db"])]);
        let all = [web.clone(), database, stranger];
        let zone = zone(&web, &all);
        let database_address: IpAddr = Ipv4Addr::new(172, 20, 0, 3).into();
        for name in ["db", "db.shop_front", "shop-db-1", "bbbbbbbbbbbb"] {
            assert_eq!(zone.addresses[name], [database_address], "{name}");
        }
        assert_eq!(zone.addresses["web"], [IpAddr::from(Ipv4Addr::new(172, 20, 0, 2))]);
        assert!(!zone.addresses.contains_key("other"));
        assert_eq!(zone.names[&database_address], "shop-db-1.shop_front");
    }

    #[test]
    fn one_alias_may_stand_for_several_containers() {
        let first = known("a", "shop-web-1", &[("n", 2, &["web"])]);
        let second = known("b", "shop-web-2", &[("n", 3, &["web"])]);
        let zone = zone(&first, &[first.clone(), second]);
        assert_eq!(zone.addresses["web"].len(), 2);
    }

    #[test]
    fn a_name_has_the_addresses_of_both_families() {
        let mut web = known("a", "shop-web-1", &[("n", 2, &["web"])]);
        web.plugs[0].ipv6_address = Some(Ipv6Addr::LOCALHOST);
        let mut database = known("b", "shop-db-1", &[("n", 3, &["db"])]);
        database.plugs[0].address = None;
        database.plugs[0].ipv6_address = Some(Ipv6Addr::UNSPECIFIED);
        let zone = zone(&web, &[web.clone(), database]);
        assert_eq!(zone.addresses["web"], [IpAddr::from(Ipv4Addr::new(172, 20, 0, 2)), Ipv6Addr::LOCALHOST.into()]);
        assert_eq!(zone.addresses["db"], [IpAddr::from(Ipv6Addr::UNSPECIFIED)]);
        assert_eq!(zone.names[&IpAddr::from(Ipv6Addr::LOCALHOST)], "shop-web-1.n");
        // A supervisor of before IPv6 writes what we read.
        let old = r#"{"network":"n","address":"172.20.0.9","aliases":[]}"#;
        assert_eq!(serde_json::from_str::<KnownPlug>(old).unwrap().addresses().count(), 1);
    }

    #[test]
    fn a_link_is_a_name_for_one_container_alone() {
        let mut web = known("a", "shop-web-1", &[("n", 2, &["web"])]);
        web.plugs[0].links = vec![("db".into(), "Data".into()), ("missing".into(), "gone".into())];
        let all = [web.clone(), known("b", "shop-db-1", &[("n", 3, &["db"])])];
        assert_eq!(zone(&web, &all).addresses["data"], [IpAddr::from([172, 20, 0, 3])]);
        assert!(!zone(&web, &all).addresses.contains_key("gone"));
        assert!(!zone(&all[1], &all).addresses.contains_key("data"));
        let mut lone = known("c", "lone", &[(DEFAULT_NETWORK, 4, &[])]);
        lone.plugs[0].links = vec![("friend".into(), "pal".into())];
        let all = [lone.clone(), known("d", "friend", &[(DEFAULT_NETWORK, 5, &[])])];
        assert_eq!(zone(&lone, &all).addresses["pal"], [IpAddr::from([172, 20, 0, 5])]);
        assert!(!zone(&lone, &all).addresses.contains_key("friend"));
    }

    #[test]
    fn the_default_network_has_no_names() {
        let lone = known("a", "lone", &[(DEFAULT_NETWORK, 2, &[])]);
        assert_eq!(zone(&lone, std::slice::from_ref(&lone)), Zone::default());
    }
}
