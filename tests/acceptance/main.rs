//! What a user can see, on the real registry, programs and kernel; one file per capability.
//!
//! Needs root, `unshare`, `nsenter`, `ip`, `nft` and `slirp4netns`: `scripts/test` sees to them. Every test has a
//! [`support::World`] of its own and leaves nothing behind, which the world checks.

mod support;

mod archives;
mod build;
mod build_again;
mod build_answers;
mod build_builders;
mod build_caches;
mod build_compose;
mod build_devices;
mod build_limit;
mod build_outputs;
mod build_refused;
mod build_rights;
mod build_sources;
mod carried_content;
mod carried_deploy;
mod carried_devices;
mod carried_health;
mod carried_labels;
mod carried_lifecycle;
mod carried_limits;
mod carried_logging;
mod carried_mounts;
mod carried_namespaces;
mod carried_network;
mod carried_ports;
mod carried_process;
mod carried_resources;
mod carried_trust;
mod commands;
mod cp;
mod disk;
mod down;
mod exec;
mod flags;
mod getting_started;
mod idle;
mod interrupted;
mod ipv6;
mod kill_nine;
mod life;
mod limits;
mod lock;
mod logs;
mod manifests;
mod messages;
mod names;
mod ports;
mod pull;
mod push;
mod push_compose;
mod registries;
mod replug;
mod restart;
mod run;
mod secure_registries;
mod static_binary;
mod statuses;
mod trust;
mod up;
mod watch;
mod worlds;
