//! Our own environment variables.

use std::ffi::OsStr;

/// Sets a variable of this process, for a library that can be told in no other way.
///
/// setenv(3). Other threads may run; see the argument below.
pub fn set(name: &str, value: &OsStr) {
    // SAFETY: setenv races only with readers of `environ` that do not take the standard library's lock. All of
    // ours read through std::env, which does; the C code in this program (libzstd, ring's assembly) reads no
    // environment, and names are resolved by hickory, never by getaddrinfo(3), which would.
    unsafe { std::env::set_var(name, value) }
}
