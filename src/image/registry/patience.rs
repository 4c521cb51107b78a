//! How long we go on trying.

use std::thread;
use std::time::Duration;

use super::Answer;
use super::trouble::Kind;
use super::trouble::Trouble;

/// How often one request is tried; a silence counts twice.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A registry that wants us to wait longer has no time for us today.
const LONGEST_PAUSE: Duration = Duration::from_secs(90);

/// How often and how long we have waited for one thing.
pub struct Patience {
    tries: u32,
    pause: Duration,
}

impl Patience {
    pub fn new() -> Patience {
        Patience { tries: 0, pause: FIRST_PAUSE }
    }

    /// Something came, so a later cut is a new one; but a registry that cuts every time must not keep us for ever.
    pub fn progress(&mut self) {
        self.pause = FIRST_PAUSE;
    }

    /// Waits before the next try, or gives the trouble back if there shall be none.
    ///
    /// # Errors
    /// The trouble itself.
    pub fn wait(&mut self, trouble: Trouble) -> Answer<()> {
        let pause = self.next_pause(trouble)?;
        thread::sleep(pause);
        Ok(())
    }

    fn next_pause(&mut self, mut trouble: Trouble) -> Answer<Duration> {
        self.tries += match trouble.kind {
            Kind::Passing => 1,
            Kind::Silent => 2,
            _ => return Err(trouble),
        };
        if let Some(wanted) = trouble.retry_after.filter(|wanted| *wanted > LONGEST_PAUSE) {
            trouble.text = format!("{}, and wants us to wait for {} s", trouble.text, wanted.as_secs());
            return Err(trouble);
        }
        if self.tries >= TRIES {
            return Err(trouble);
        }
        let own = self.pause.mul_f64(1.0 + jitter());
        self.pause *= 2;
        Ok(trouble.retry_after.map_or(own, |wanted| wanted.max(own)))
    }
}

/// Between 0 and ½: commands that were cut at the same moment shall not come back at the same moment.
fn jitter() -> f64 {
    let mut byte = [0];
    // Without randomness everybody waits the same, which is no harm.
    let _ = crate::state::fill_randomly(&mut byte);
    f64::from(byte[0]) / 512.0
}

/// Tries something until it goes well or is not worth another try.
///
/// # Errors
/// The last trouble.
pub fn with_retries<T>(attempt: impl Fn() -> Answer<T>) -> Answer<T> {
    let mut patience = Patience::new();
    loop {
        match attempt() {
            Err(trouble) => patience.wait(trouble)?,
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let mut patience = Patience::new();
        let mut pauses = Vec::new();
        while let Ok(pause) = patience.next_pause(Trouble::new(Kind::Passing, "busy")) {
            pauses.push(pause);
        }
        assert_eq!(pauses.len(), 4);
        assert!(pauses.windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
    }

    #[test]
    fn the_registrys_own_wish_is_granted_within_reason() {
        let busy = |seconds| Trouble { retry_after: Some(Duration::from_secs(seconds)), ..Trouble::new(Kind::Passing, "busy") };
        assert_eq!(Patience::new().next_pause(busy(30)).unwrap(), Duration::from_secs(30));
        assert!(Patience::new().next_pause(busy(3600)).unwrap_err().text.contains("3600 s"));
        assert!(Patience::new().next_pause(Trouble::new(Kind::Denied, "no")).is_err());
    }
}
