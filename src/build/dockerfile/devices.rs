//! `RUN --device=name,required`.
//!
//! Follows <https://github.com/moby/buildkit/blob/v0.26.0/frontend/dockerfile/instructions/commands_rundevice.go>.

use serde::Deserialize;
use serde::Serialize;

use crate::build::dockerfile::flags::Fault;
use crate::build::dockerfile::words::Word;

/// A device that a RUN asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// As CDI names it: `vendor.com/class=name`.
    pub name: String,
    pub required: bool,
}

/// Reads the value of a `--device`.
///
/// # Errors
/// Two names; something else than a name and `required`.
pub fn read(word: &Word) -> Result<Device, Fault> {
    let mut device = Device::default();
    for field in word.text.split(',') {
        let refuse = |what: String| Err(Fault::new(word, what).hint("write `--device=vendor.com/class=name,required`"));
        match field.split_once('=') {
            None if field.eq_ignore_ascii_case("required") => device.required = true,
            None if device.name.is_empty() => field.clone_into(&mut device.name),
            None => return refuse(format!("invalid field '{field}' must be a key=value pair")),
            Some((key, value)) if key.eq_ignore_ascii_case("name") => {
                if !device.name.is_empty() {
                    return refuse(format!("device name already set to {}", device.name));
                }
                value.clone_into(&mut device.name);
            }
            Some((key, value)) if key.eq_ignore_ascii_case("required") => {
                device.required = match value {
                    "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
                    "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
                    _ => return refuse(format!("invalid value for {key}: {value}")),
                };
            }
            Some(_) if device.name.is_empty() => field.clone_into(&mut device.name),
            Some((key, _)) => return refuse(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_a_name_with_an_equals_sign() {
        let read = |text: &str| read(&Word { text: text.to_owned(), at: 0, len: text.len() }).map_err(|fault| fault.what);
        let gpu = Device { name: "nvidia.com/gpu=all".to_owned(), required: true };
        assert_eq!(read("nvidia.com/gpu=all,required"), Ok(gpu.clone()));
        assert_eq!(read("name=nvidia.com/gpu=all,required=true"), Ok(gpu));
        assert_eq!(read("a/b=c,d=e").unwrap_err(), "unexpected key 'd' in 'd=e'");
    }
}
