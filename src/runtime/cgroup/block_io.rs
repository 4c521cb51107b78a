//! Limits of block devices: weights and rates.
//!
//! Not by libcgroups: it leaves the weights of single devices out on v1, and what it computes for v2 overflows.

use std::fs;
use std::path::Path;

use oci_spec::runtime::LinuxBlockIo;
use oci_spec::runtime::LinuxThrottleDevice;

use crate::failure::Doing;
use crate::failure::Result;

/// Which files a control group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// What is written into one file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    file: &'static str,
    text: String,
}

/// Writes what can be written and returns the settings that the kernel has no file for.
///
/// # Errors
/// The kernel refuses a value.
pub(super) fn apply(directory: &Path, version: Version, wanted: &LinuxBlockIo) -> Result<Vec<&'static str>> {
    let (lines, lost) = lines(wanted, version, &|file| directory.join(file).exists());
    for line in lines {
        let file = directory.join(line.file);
        fs::write(&file, &line.text).doing(|| format!("cannot write `{}` to {}", line.text, file.display()))?;
    }
    Ok(lost)
}

fn lines(wanted: &LinuxBlockIo, version: Version, has: &dyn Fn(&str) -> bool) -> (Vec<Line>, Vec<&'static str>) {
    let mut lines = Vec::new();
    let mut lost = Vec::new();
    if let Some(weight) = wanted.weight().filter(|weight| *weight > 0) {
        match weight_file(version, has, Whose::Group) {
            Some((file, scale)) => lines.push(Line { file, text: scale(weight).to_string() }),
            None => lost.push("blkio weight"),
        }
    }
    for device in wanted.weight_device().iter().flatten() {
        let Some(weight) = device.weight() else { continue };
        match weight_file(version, has, Whose::Device) {
            Some((file, scale)) => lines.push(Line { file, text: format!("{}:{} {}", device.major(), device.minor(), scale(weight)) }),
            None if lost.contains(&"blkio weight_device") => {}
            None => lost.push("blkio weight_device"),
        }
    }
    let rates: [(&Option<Vec<LinuxThrottleDevice>>, &str, &str); 4] = [
        (wanted.throttle_read_bps_device(), "blkio.throttle.read_bps_device", "rbps"),
        (wanted.throttle_write_bps_device(), "blkio.throttle.write_bps_device", "wbps"),
        (wanted.throttle_read_iops_device(), "blkio.throttle.read_iops_device", "riops"),
        (wanted.throttle_write_iops_device(), "blkio.throttle.write_iops_device", "wiops"),
    ];
    for (devices, file, key) in rates {
        for device in devices.iter().flatten() {
            let place = format!("{}:{}", device.major(), device.minor());
            lines.push(match version {
                Version::One => Line { file, text: format!("{place} {}", device.rate()) },
                Version::Two => Line { file: "io.max", text: format!("{place} {key}={}", device.rate()) },
            });
        }
    }
    (lines, lost)
}

/// Whether a weight is for all devices or for one.
#[derive(Clone, Copy)]
enum Whose {
    Group,
    Device,
}

type Scale = fn(u16) -> u64;

/// The file that takes a weight, and how it counts: the scheduler decides which one there is.
fn weight_file(version: Version, has: &dyn Fn(&str) -> bool, whose: Whose) -> Option<(&'static str, Scale)> {
    let same: Scale = u64::from;
    // From 10..1000 to 1..10000.
    let wide: Scale = |weight| 1 + u64::from(weight.saturating_sub(10)) * 9999 / 990;
    let known: [(&'static str, Scale); 2] = match (version, whose) {
        (Version::One, Whose::Group) => [("blkio.weight", same), ("blkio.bfq.weight", same)],
        (Version::One, Whose::Device) => [("blkio.weight_device", same), ("blkio.bfq.weight_device", same)],
        (Version::Two, _) => [("io.bfq.weight", same), ("io.weight", wide)],
    };
    known.into_iter().find(|(file, _)| has(file))
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxBlockIoBuilder;
    use oci_spec::runtime::LinuxThrottleDeviceBuilder;
    use oci_spec::runtime::LinuxWeightDeviceBuilder;

    use super::*;

    fn wanted() -> LinuxBlockIo {
        let weight = LinuxWeightDeviceBuilder::default().major(8i64).minor(0i64).weight(1000u16).build().unwrap();
        let rate = |rate: u64| vec![LinuxThrottleDeviceBuilder::default().major(8i64).minor(16i64).rate(rate).build().unwrap()];
        LinuxBlockIoBuilder::default()
            .weight(500u16)
            .weight_device(vec![weight])
            .throttle_read_bps_device(rate(1 << 20))
            .throttle_write_iops_device(rate(30))
            .build()
            .unwrap()
    }

    fn written(version: Version, files: &[&str]) -> (Vec<String>, Vec<&'static str>) {
        let (lines, lost) = lines(&wanted(), version, &|file| files.contains(&file));
        (lines.into_iter().map(|line| format!("{} < {}", line.file, line.text)).collect(), lost)
    }

    #[test]
    fn version_1_has_a_file_for_each_setting() {
        let (lines, lost) = written(Version::One, &["blkio.bfq.weight", "blkio.bfq.weight_device"]);
        let expected = [
            "blkio.bfq.weight < 500",
            "blkio.bfq.weight_device < 8:0 1000",
            "blkio.throttle.read_bps_device < 8:16 1048576",
            "blkio.throttle.write_iops_device < 8:16 30",
        ];
        assert_eq!(lines, expected);
        assert!(lost.is_empty());
    }

    /// A weight of 1000 overflowed in the translation.
    #[test]
    fn version_2_counts_weights_to_ten_thousand() {
        let (lines, _) = written(Version::Two, &["io.weight"]);
        assert_eq!(lines, ["io.weight < 4950", "io.weight < 8:0 10000", "io.max < 8:16 rbps=1048576", "io.max < 8:16 wiops=30"]);
        let (lines, _) = written(Version::Two, &["io.bfq.weight", "io.weight"]);
        assert_eq!(lines[..2], ["io.bfq.weight < 500", "io.bfq.weight < 8:0 1000"]);
    }

    #[test]
    fn a_scheduler_without_weights_costs_the_weights_only() {
        let (lines, lost) = written(Version::One, &[]);
        assert_eq!(lines.len(), 2);
        assert_eq!(lost, ["blkio weight", "blkio weight_device"]);
    }
}
