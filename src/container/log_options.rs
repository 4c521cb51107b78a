//! Reads what is said of a container's log, the driver and its options, by Docker's rules.

use std::collections::BTreeMap;

use crate::units;

use super::LogDriver;
use super::Logging;
use super::sending;

/// Drivers of Docker's that are not here.
const OTHER_DRIVERS: [&str; 7] = ["awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "logentries", "splunk"];

/// Which variables and labels of the container go with its log.
const ATTRIBUTES: [&str; 4] = ["env", "env-regex", "labels", "labels-regex"];

/// Of what goes elsewhere, Docker keeps so much for `logs`.
const CACHE_SIZE: u64 = 20 << 20;
const CACHE_FILES: u32 = 5;
/// And so much where it shall keep nothing: what is on its way.
const UNSENT: u64 = 1 << 20;

/// Docker's default for what may wait for a log that is slow.
const BUFFER: u64 = 1 << 20;

/// Reads a log driver and its options; and what of them is not carried out, to be told.
///
/// # Errors
/// No such driver or option; a value that is none.
pub fn logging(driver: &str, options: &BTreeMap<String, String>) -> Result<(Logging, Vec<String>), String> {
    let name = if driver.is_empty() { "json-file" } else { driver };
    let driver = driver_of(name)?;
    let mut logging = Logging { driver, options: options.clone(), ..Logging::default() };
    match driver {
        LogDriver::None if !options.is_empty() => return Err("the log driver `none` has no options".to_owned()),
        LogDriver::Local | LogDriver::Syslog | LogDriver::Journald => {
            (logging.max_size, logging.max_files) = (Some(CACHE_SIZE), CACHE_FILES);
        }
        LogDriver::JsonFile | LogDriver::None => {}
    }
    let mut left_out = Vec::new();
    for (option, value) in options {
        if !is_option(driver, option) {
            return Err(format!("there is no option `{option}` of the log driver `{name}`"));
        }
        read(&mut logging, (option, value))?;
        left_out.extend((option.ends_with("compress") && value == "true").then(|| format!("options.{option}")));
    }
    check(&mut logging)?;
    Ok((logging, left_out))
}

fn driver_of(name: &str) -> Result<LogDriver, String> {
    match name {
        "json-file" => Ok(LogDriver::JsonFile),
        "local" => Ok(LogDriver::Local),
        "none" => Ok(LogDriver::None),
        "syslog" => Ok(LogDriver::Syslog),
        "journald" => Ok(LogDriver::Journald),
        other => {
            let known = "known are json-file, local, syslog, journald and none";
            match OTHER_DRIVERS.contains(&other) {
                true => Err(format!("Docker's log driver `{other}` is not carried out here: {known}")),
                false => Err(format!("there is no log driver `{other}`: {known}")),
            }
        }
    }
}

fn is_option(driver: LogDriver, option: &str) -> bool {
    let is_file = matches!(option, "max-size" | "max-file" | "compress");
    let is_cache = matches!(option, "cache-disabled" | "cache-max-size" | "cache-max-file" | "cache-compress");
    let is_attribute = ATTRIBUTES.contains(&option) || option == "tag";
    matches!(option, "mode" | "max-buffer-size")
        || match driver {
            LogDriver::JsonFile => is_file || is_attribute,
            LogDriver::Local => is_file,
            LogDriver::Syslog => is_attribute || is_cache || sending::SYSLOG_OPTIONS.contains(&option),
            LogDriver::Journald => is_attribute || is_cache,
            LogDriver::None => false,
        }
}

/// Reads one option, of which nothing is known but that the driver has it.
fn read(logging: &mut Logging, (option, value): (&str, &str)) -> Result<(), String> {
    let truth = || value.parse::<bool>().map_err(|_| format!("`{option}: {value}` is neither true nor false"));
    let size = || units::bytes(value).ok().filter(|size| *size > 0).ok_or_else(|| format!("`{option}: {value}` is no size"));
    match option {
        "max-size" | "cache-max-size" if matches!(value, "-1" | "") => logging.max_size = None,
        "max-size" | "cache-max-size" => logging.max_size = Some(size()?),
        "max-file" | "cache-max-file" => {
            let count = value.parse().ok().filter(|count| *count > 0);
            logging.max_files = count.ok_or_else(|| format!("`{option}: {value}` is no number of files"))?;
        }
        "compress" | "cache-compress" => drop(truth()?),
        "cache-disabled" => logging.unreadable = truth()?,
        "mode" => match value {
            "blocking" | "" => {}
            "non-blocking" => logging.buffer = logging.buffer.or(Some(BUFFER)),
            other => return Err(format!("the mode `{other}` is neither `blocking` nor `non-blocking`")),
        },
        "max-buffer-size" => logging.buffer = Some(size()?),
        "env-regex" | "labels-regex" => {
            regex::Regex::new(value).map_err(|_| format!("`{option}: {value}` is no regular expression"))?;
        }
        _ => {}
    }
    Ok(())
}

/// What only the options together say.
fn check(logging: &mut Logging) -> Result<(), String> {
    let option = |name: &str| logging.options.get(name).map(String::as_str);
    if logging.max_size.is_none() && logging.max_files > 1 && logging.driver == LogDriver::JsonFile {
        return Err("`max-file` says nothing without `max-size`".to_owned());
    }
    if option("max-buffer-size").is_some() && option("mode") != Some("non-blocking") {
        return Err("`max-buffer-size` says nothing without `mode: non-blocking`".to_owned());
    }
    if let Some(tag) = option("tag") {
        sending::check_tag(tag)?;
    }
    if logging.driver == LogDriver::Syslog {
        sending::check_syslog(&logging.options)?;
    }
    if logging.unreadable {
        (logging.max_size, logging.max_files) = (Some(UNSENT), 1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(driver: &str, pairs: &[(&str, &str)]) -> Result<(Logging, Vec<String>), String> {
        logging(driver, &pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn log_options_are_read_as_docker_reads_them() {
        let (found, left_out) = read("json-file", &[("max-size", "10k"), ("max-file", "3"), ("compress", "true")]).unwrap();
        assert_eq!((found.max_size, found.max_files, left_out), (Some(10 << 10), 3, vec!["options.compress".to_owned()]));
        assert_eq!(read("local", &[]).unwrap().0.max_size, Some(20 << 20));
        assert_eq!(read("", &[]).unwrap().0, Logging::default());
        assert_eq!(read("none", &[]).unwrap().0.driver, LogDriver::None);
        assert_eq!(read("json-file", &[("mode", "non-blocking")]).unwrap().0.buffer, Some(1 << 20));
        let limited = read("local", &[("mode", "non-blocking"), ("max-buffer-size", "4m")]).unwrap().0;
        assert_eq!(limited.buffer, Some(4 << 20));
        let unread = read("journald", &[("cache-disabled", "true"), ("cache-max-size", "1g")]).unwrap().0;
        assert_eq!((unread.unreadable, unread.max_size), (true, Some(1 << 20)));
        let syslog = [("syslog-address", "udp://logs:514"), ("syslog-facility", "local3"), ("tag", "{{.Name}}/{{.ID}}")];
        assert_eq!(read("syslog", &syslog).unwrap().1, Vec::<String>::new());
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        let wrong: [(&str, &[(&str, &str)]); 19] = [
            ("smoke", &[]),
            ("fluentd", &[("fluentd-address", "x")]),
            ("json-file", &[("max-size", "much")]),
            ("json-file", &[("max-size", "1k"), ("max-file", "0")]),
            ("json-file", &[("max-file", "2")]),
            ("json-file", &[("colour", "red")]),
            ("json-file", &[("mode", "sometimes")]),
            ("json-file", &[("max-buffer-size", "1m")]),
            ("json-file", &[("labels-regex", "(")]),
            ("json-file", &[("tag", "{{.Colour}}")]),
            ("json-file", &[("syslog-format", "rfc3164")]),
            ("local", &[("tag", "x")]),
            ("none", &[("max-size", "1k")]),
            ("syslog", &[("syslog-address", "logs:514")]),
            ("syslog", &[("syslog-address", "http://logs:514")]),
            ("syslog", &[("syslog-facility", "kitchen")]),
            ("syslog", &[("syslog-format", "rfc1")]),
            ("syslog", &[("max-size", "1k")]),
            ("journald", &[("syslog-facility", "daemon")]),
        ];
        for (driver, pairs) in wrong {
            assert!(read(driver, pairs).is_err(), "{driver} {pairs:?}");
        }
    }
}
