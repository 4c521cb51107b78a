//! `coracle commit`

use clap::Args;

use crate::build;
use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::revive;
use crate::container;
use crate::container::Container;
use crate::container::Status;
use crate::failure::Result;
use crate::image;
use crate::image::History;
use crate::place::Home;
use crate::units;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    made: Made,
    container: String,
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

// What the image is to be besides the container's.
#[derive(Debug, Clone, Args)]
pub struct Made {
    /// Who made it
    #[arg(short, long, value_name = "NAME")]
    author: Option<String>,
    /// An instruction of a Dockerfile, such as `CMD ["sh"]`
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// A remark for the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Pause the container meanwhile
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pause: bool,
    /// Let the container run meanwhile
    #[arg(long)]
    no_pause: bool,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        let found = container::find(home, &self.container)?;
        out::line(&self.made.commit(home, &found, self.name.as_deref())?)?;
        Ok(0)
    }
}

impl Made {
    /// Makes an image of a container, gives it the name, and returns its id.
    ///
    /// # Errors
    /// A bad name or change; the container's files cannot be read.
    pub fn commit(&self, home: &Home, found: &Container, name: Option<&str>) -> Result<String> {
        // A bad name or change must not cost the work of copying.
        name.map(image::full_name).transpose()?;
        let mut config = build::changed(&container::config_of(home, found)?, &self.change)?;
        config.author = self.author.clone().or(config.author);
        let line = History {
            created: Some(units::now()),
            created_by: Some(found.wanted.args.join(" ")),
            comment: self.message.clone(),
            author: self.author.clone(),
            empty_layer: false,
        };
        let pauses = self.pause && !self.no_pause && container::state(home, &found.id)?.status == Status::Running;
        if pauses {
            container::pause(home, &found.id, true)?;
        }
        let committed = container::commit(home, found, (config, line));
        if pauses {
            container::pause(home, &found.id, false)?;
        }
        let image = committed?;
        if let Some(name) = name {
            image::tag(home, &image.id, name)?;
        }
        Ok(image.id)
    }
}
