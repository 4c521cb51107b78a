//! The end of a build: dates in the history, the image in the store, its names.

use jiff::Timestamp;

use crate::build::Wanted;
use crate::build::records;
use crate::build::records::Key;
use crate::build::solve::Outcome;
use crate::build::solve::now;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::Image;
use crate::image::ImageConfig;
use crate::place::Home;

/// Reads `SOURCE_DATE_EPOCH`: the moment that is written instead of now.
///
/// # Errors
/// It is no number of seconds.
pub(super) fn epoch(text: Option<&str>) -> Result<Option<String>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let moment = text.parse::<i64>().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let moment = moment.ok_or_else(|| {
        let failure = Failure::new("cannot date the image").because(format!("invalid SOURCE_DATE_EPOCH: {text}"));
        failure.hint("give seconds since 1970, as `date +%s` prints them")
    })?;
    Ok(Some(moment.to_string()))
}

/// Completes the configuration and puts the image and its names into the store.
///
/// # Errors
/// A layer that has gone meanwhile; a bad name; a store that cannot be written.
pub(super) fn commit(home: &Home, wanted: &Wanted, mut config: ImageConfig, (outcome, epoch): (&Outcome, Option<String>)) -> Result<Image> {
    config.rootfs.kind = "layers".to_owned();
    config.rootfs.diff_ids = outcome.chain.diff_ids().to_vec();
    date(home, &mut config, &outcome.created, epoch)?;
    let image = image::commit_image(home, &config)?;
    for name in &wanted.tags {
        image::tag(home, &image.id, name)?;
    }
    Ok(image)
}

/// Dates the new lines of the history: a layer has its step's time, what makes no layer that of the layer below it, or
/// of the first new one if there is none. So an unchanged build has the same dates and is the same image.
fn date(home: &Home, config: &mut ImageConfig, created: &[String], epoch: Option<String>) -> Result<()> {
    if let Some(epoch) = epoch {
        config.history.iter_mut().filter(|line| line.created.is_none()).for_each(|line| line.created = Some(epoch.clone()));
        config.created = Some(epoch);
        return Ok(());
    }
    let mut times = created.iter();
    for line in config.history.iter_mut().filter(|line| line.created.is_none() && !line.empty_layer) {
        line.created = times.next().cloned();
    }
    let first_new = config.history.iter().position(|line| line.created.is_none());
    let after = first_new.and_then(|at| config.history[at..].iter().find_map(|line| line.created.clone()));
    let mut current = after.or_else(|| config.history.iter().rev().find_map(|line| line.created.clone()));
    let mut undated = false;
    for line in &mut config.history {
        match &line.created {
            Some(time) if undated => current = Some(time.clone()),
            Some(_) => {}
            None => {
                undated = true;
                line.created.clone_from(&current);
            }
        }
    }
    config.created = match config.history.last().and_then(|line| line.created.clone()) {
        Some(last) => Some(last),
        None => Some(first_time(home, config)?),
    };
    Ok(())
}

/// When an image without any layer was first built.
fn first_time(home: &Home, config: &ImageConfig) -> Result<String> {
    let text = serde_json::to_string(config).doing(|| "cannot write the image's configuration")?;
    let key = Key::new("image").text(&text).finish();
    Ok(records::find_fact(home, "images", &key).unwrap_or_else(|| {
        let time = now();
        records::store_fact(home, "images", &key, &time);
        time
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::History;

    fn line(created: Option<&str>, empty_layer: bool) -> History {
        History { created: created.map(str::to_owned), empty_layer, ..History::default() }
    }

    #[test]
    fn what_makes_no_layer_has_the_time_of_its_neighbour() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path(), place.path().join("run"));
        let history = vec![line(Some("base"), false), line(None, true), line(None, false), line(None, true)];
        let mut config = ImageConfig { history, ..ImageConfig::default() };
        date(&home, &mut config, &["step".to_owned()], None).unwrap();
        let times: Vec<_> = config.history.iter().map(|line| line.created.as_deref().unwrap()).collect();
        assert_eq!(times, ["base", "step", "step", "step"]);
        assert_eq!(config.created.as_deref(), Some("step"));
    }

    #[test]
    fn an_epoch_dates_everything_new() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path(), place.path().join("run"));
        let mut config = ImageConfig { history: vec![line(Some("base"), false), line(None, false)], ..ImageConfig::default() };
        date(&home, &mut config, &["step".to_owned()], epoch(Some("1234567890")).unwrap()).unwrap();
        assert_eq!(config.history[0].created.as_deref(), Some("base"));
        assert_eq!(config.created.as_deref(), Some("2009-02-13T23:31:30Z"));
        assert!(epoch(Some("abc")).is_err());
    }
}
