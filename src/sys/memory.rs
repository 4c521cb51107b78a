//! Memory that a process which mostly sleeps need not hold.

use std::fs;
use std::io;

use super::check;

/// Lets go of the pages of our program and its libraries that are as in their files; those that are used again come back from
/// the page cache.
///
/// `madvise(start, length, MADV_DONTNEED)` on the mappings of files that cannot be written and of which no page has been changed,
/// as /proc/self/smaps lists them.
///
/// # Errors
/// As read(2) and madvise(2).
pub fn let_go_of_code() -> io::Result<()> {
    for (start, length) in unchanged_mappings(&fs::read_to_string("/proc/self/smaps")?) {
        // SAFETY: the range is one whole private mapping of a file that cannot be written and has no page of its own (none is
        // anonymous; what the linker relocated would be), so a later access reads from the file what was there before. Only this
        // process' threads change its mappings, and ours does not between the reading of the list and here.
        check(unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) }.into())?;
    }
    Ok(())
}

/// Start and length of each mapping that is wholly as in its file.
fn unchanged_mappings(smaps: &str) -> Vec<(usize, usize)> {
    let mut unchanged = Vec::new();
    let mut mapping = None;
    for line in smaps.lines() {
        if let Some(size) = line.strip_prefix("Anonymous:") {
            unchanged.extend(mapping.take().filter(|_| size.trim() == "0 kB"));
        } else if !line.split_once(' ').is_some_and(|(first, _)| first.ends_with(':')) {
            mapping = read_only_file(line);
        }
    }
    unchanged
}

/// Start and length of `55d0-55e0 r-xp 00001000 fe:00 1234 /usr/bin/coracle`.
fn read_only_file(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_read_only = matches!(fields.next()?, "r-xp" | "r--p");
    let is_of_a_file = fields.nth(2)? != "0";
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    (is_read_only && is_of_a_file).then(|| (start, end - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_as_in_its_file_is_let_go() {
        let smaps = "\
1000-3000 r-xp 00001000 fe:00 1234 /usr/bin/coracle
Size:                  8 kB
Anonymous:             0 kB
VmFlags: rd ex
4000-5000 r--p 00003000 fe:00 1234 /usr/bin/coracle
Size:                  4 kB
Anonymous:             4 kB
5000-6000 rw-p 00004000 fe:00 1234 /usr/bin/coracle
Anonymous:             0 kB
7000-8000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
";
        assert_eq!(unchanged_mappings(smaps), [(0x1000, 0x2000)]);
    }

    #[test]
    fn we_go_on_without_our_code_in_memory() {
        assert!(!unchanged_mappings(&fs::read_to_string("/proc/self/smaps").unwrap()).is_empty());
        let_go_of_code().unwrap();
        let_go_of_code().unwrap();
    }
}
