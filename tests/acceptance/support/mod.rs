//! What the acceptance tests stand on: a world of its own for each, ways to look at it, and waiting.

mod cgroup;
mod command;
mod container;
mod leftovers;
mod played;
mod process;
mod registry;
mod resolver;
mod wait;
mod world;

pub use cgroup::groups;
pub use cgroup::limit_of;
pub use command::Outcome;
pub use command::Running;
pub use container::Container;
pub use played::Played;
pub use played::join;
pub use played::reply;
pub use process::Process;
pub use registry::Clients;
pub use registry::Door;
pub use registry::OwnRegistry;
pub use wait::eventually;
pub use wait::seconds;
pub use world::ADDRESS;
pub use world::World;
pub use world::program;
