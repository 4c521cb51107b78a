//! The end of a build: dates in the history, the image in the store, its names.

use jiff::Timestamp;
use sha2::Digest as _;
use sha2::Sha256;

use crate::build::Built;
use crate::build::BuiltImage;
use crate::build::chain::Chain;
use crate::build::exchange;
use crate::build::exchange::Done;
use crate::build::export;
use crate::build::export::Delivery;
use crate::build::lint::Warning;
use crate::build::platform::Platform;
use crate::build::provenance;
use crate::build::provenance::Material;
use crate::build::provenance::Said;
use crate::build::records;
use crate::build::records::Key;
use crate::build::sbom;
use crate::build::sbom::Extra;
use crate::build::solve::Outcome;
use crate::build::solve::now;
use crate::build::whole::Scene;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::ImageConfig;
use crate::place::Home;

/// An image that is whole, in the store or only in our hands.
#[derive(Default)]
pub(super) struct Finished {
    pub config: ImageConfig,
    pub chain: Chain,
    /// `sha256:<hex>`.
    pub id: String,
    pub warnings: Vec<Warning>,
    /// The steps its layers came from, and those of all stages.
    pub steps: Vec<Done>,
    pub all_steps: Vec<Done>,
    /// What a scanner looks at beside it.
    pub extras: Vec<Extra>,
    /// What it was made from.
    pub materials: Vec<Material>,
    /// When that was begun, RFC 3339.
    pub begun: String,
}

/// Reads `SOURCE_DATE_EPOCH`: the moment that is written instead of now, in seconds since 1970.
///
/// # Errors
/// It is no number of seconds.
pub(super) fn epoch(text: Option<&str>) -> Result<Option<i64>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let moment = text.parse::<i64>().ok().filter(|seconds| Timestamp::from_second(*seconds).is_ok());
    let moment = moment.ok_or_else(|| {
        let failure = Failure::new("cannot date the image").because(format!("invalid SOURCE_DATE_EPOCH: {text}"));
        failure.hint("give seconds since 1970, as `date +%s` prints them")
    })?;
    Ok(Some(moment))
}

/// Completes the configuration; if the store shall have the image, it has it then, without a name.
///
/// # Errors
/// A layer that has gone meanwhile; a store that cannot be written.
pub(super) fn complete(scene: &Scene<'_>, mut config: ImageConfig, (outcome, epoch): (Outcome, Option<i64>)) -> Result<Finished> {
    config.rootfs.kind = "layers".to_owned();
    config.rootfs.diff_ids = outcome.chain.diff_ids().to_vec();
    let epoch = epoch.and_then(|seconds| Timestamp::from_second(seconds).ok()).map(|moment| moment.to_string());
    exchange::inscribe(scene.wanted, &mut config, (&outcome.steps, epoch.is_some()));
    let created: Vec<String> = outcome.steps.iter().map(|done| done.record.created.clone()).collect();
    date(scene.home, &mut config, &created, epoch)?;
    let id = if scene.wanted.is_stored() {
        image::commit_image(scene.home, &config)?.id
    } else {
        let bytes = serde_json::to_vec(&config).doing(|| "cannot write the image's configuration")?;
        let hex: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    };
    Ok(Finished { config, chain: outcome.chain, id, steps: outcome.steps, ..Finished::default() })
}

/// Gives the results away as the outputs say; names come last.
///
/// # Errors
/// A bad name; a place that cannot be written.
pub(super) fn deliver(scene: &Scene<'_>, finished: &[Finished]) -> Result<Built> {
    let platform = |one: &Finished| Platform::of(&one.config);
    let all = finished.iter().map(|one| Ok(Delivery { platform: platform(one), image: one, said: said(scene, one)? }));
    let all = all.collect::<Result<Vec<_>>>()?;
    let mut written = None;
    for output in &scene.wanted.outputs {
        written = export::carry_out(scene, output, &all)?.or(written);
    }
    exchange::export(scene, finished)?;
    let images = finished.iter().map(|one| BuiltImage { platform: platform(one).text(), id: one.id.clone() }).collect();
    // The same file is read for every platform.
    let warnings = finished.first().map(|one| one.warnings.clone()).unwrap_or_default();
    let told = |one: &Finished| {
        let said = provenance::said(scene, scene.wanted.told.as_ref()?, (&one.materials, &one.begun));
        Some((platform(one).text(), said.statement.predicate))
    };
    let (is_image, told) = (scene.wanted.is_image(), finished.iter().filter_map(told).collect());
    let mut built = Built { images, names: Vec::new(), warnings, written, is_image, told };
    // A name of the store means one image: the one that runs here.
    let ours = Platform::ours();
    let fits = |one: &&Finished| platform(one).architecture == ours.architecture;
    if let Some(named) = finished.iter().find(fits).or(finished.first()).filter(|_| scene.wanted.is_stored()) {
        let names = scene.wanted.stored_names();
        for name in &names {
            image::tag(scene.home, &named.id, name)?;
            built.names.push(image::full_name(name)?);
        }
        if finished.len() > 1 && !names.is_empty() {
            scene.watch.note(&format!("the names mean the image for {}; the others have none here", platform(named).text()));
        }
    }
    if built.names.is_empty() {
        built.names = scene.wanted.sent_names().iter().map(|name| image::full_name(name)).collect::<Result<_>>()?;
    }
    Ok(built)
}

/// What is said of an image, if it goes somewhere where that can be said.
fn said(scene: &Scene<'_>, one: &Finished) -> Result<Vec<Said>> {
    let wanted = scene.wanted;
    if !wanted.outputs.iter().any(export::leaves) {
        if wanted.sbom.is_some() || wanted.provenance.is_some() {
            scene.watch.note("the store keeps no attestations: they go with what is pushed or written with --output");
        }
        if !wanted.annotations.is_empty() {
            scene.watch.note("the store keeps no annotations: they go with what is pushed or written with --output");
        }
        return Ok(Vec::new());
    }
    let mut said = match &wanted.sbom {
        Some(sbom) => sbom::scan(scene, sbom, (&one.chain, &one.extras))?,
        None => Vec::new(),
    };
    said.extend(wanted.provenance.as_ref().map(|provenance| provenance::said(scene, provenance, (&one.materials, &one.begun))));
    Ok(said)
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
        assert_eq!(epoch(Some("1234567890")).unwrap(), Some(1_234_567_890));
        date(&home, &mut config, &["step".to_owned()], Some("2009-02-13T23:31:30Z".to_owned())).unwrap();
        assert_eq!(config.history[0].created.as_deref(), Some("base"));
        assert_eq!(config.created.as_deref(), Some("2009-02-13T23:31:30Z"));
        assert!(epoch(Some("abc")).is_err());
    }
}
