//! The public cases of the conformance oracle, where they are at hand, and the golden texts of what is wrong.

mod corners;
mod explain;
mod faults;
mod fuzz;
mod oracle;
