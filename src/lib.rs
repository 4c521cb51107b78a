//! Coracle: a container engine that needs no daemon.
//!
//! # The floors
//!
//! A room uses rooms below it, never one above and never one beside it; `tests/house.rs` checks this.
//!
//! ```text
//! cli                              arguments in, text out; the only room that prints
//! compose                          file -> project -> plan -> apply
//! build                            Dockerfile -> image
//! container                        a container's life, and the supervisor that watches it
//! image | net | runtime | volume   registries and layers | links, names, ports | processes | data that stays
//! making                           what comes to be, and is rubbish if its maker dies
//! state, journal                   records on disk, what has happened
//! place, units, paths              where things lie, sizes and names
//! failure                          the error that reaches the user
//! sys                              system calls; the only `unsafe`
//! ```
//!
//! # One `up`, traced to the end
//!
//! 1. [`cli`] parses the arguments and calls [`compose`], which loads the files into a project (every value keeps
//!    its place in the file), observes what is there, and plans: a list of steps, pure data.
//! 2. Missing images are pulled by [`image`] in one streaming pass, or made by [`build`].
//! 3. [`container::create`] claims the name and writes the record; nothing runs yet.
//! 4. [`container::start`] finds or begins the project's supervisor and asks it, over its socket, to start the container.
//! 5. The supervisor opens the root file system as a detached overlay mount, clones the process into all its namespaces
//!    ([`runtime`]), plugs it into its networks ([`net`]), opens the name server's socket inside, and lets it go.
//! 6. The command line exits. The guardian, the supervisor and the containers remain.
//!
//! # The processes
//!
//! ```text
//! guardian (child sub-reaper; sleeps in waitid)
//! ├── supervisor (one epoll loop: logs, restarts, health, names, published ports)
//! │   └── relays, each for a container whose port somebody uses that the firewall cannot lead there; they end when it is quiet
//! └── containers, each cloned by the supervisor; orphans of a killed supervisor come to the guardian
//!
//! build (a thread for each stage)
//! └── @build-run, one for each RUN: a single thread that clones the container, and takes it down when the build is gone
//! ```
//!
//! Every one of ours may be killed at any moment; see `src/container/supervisor`.
//!
//! # On disk
//!
//! See [`place::Home`], which names every path, [`state`], which says how records change, and [`making`], where what is new begins.

// Rooms point into themselves, for whoever reads the source.
#![allow(rustdoc::private_intra_doc_links)]

pub mod build;
pub mod cli;
pub mod compose;
pub mod container;
pub mod failure;
pub mod image;
pub mod journal;
pub mod making;
pub mod net;
pub mod paths;
pub mod place;
pub mod runtime;
pub mod state;
pub mod sys;
pub mod units;
pub mod volume;
