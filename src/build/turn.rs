//! Waiting for what another build holds, without being deaf to the end of one's own.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::mpsc;
use std::sync::mpsc::Sender;
use std::thread;

use crate::failure::Result;
use crate::place::Home;
use crate::state::Lock;

/// Rung once, when the build is stopped; wakes all who wait for a lock.
#[derive(Debug, Default)]
pub(super) struct Bell(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    is_rung: bool,
    /// Who waits; nothing means the bell.
    ears: Vec<Sender<Option<Result<Lock>>>>,
}

impl Bell {
    pub(super) fn ring(&self) {
        let mut waiting = self.waiting();
        waiting.is_rung = true;
        for ear in waiting.ears.drain(..) {
            // Somebody who has the lock by now listens no more.
            let _ = ear.send(None);
        }
    }

    /// Waits for a lock; None if the bell rings first.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub(super) fn lock(&self, home: &Home, name: &str) -> Result<Option<Lock>> {
        if let Some(lock) = Lock::attempt(home, name)? {
            return Ok(Some(lock));
        }
        let (tell, hear) = mpsc::channel();
        {
            let mut waiting = self.waiting();
            if waiting.is_rung {
                return Ok(None);
            }
            waiting.ears.push(tell.clone());
        }
        // flock(2) hears nothing but the lock. Whoever waits in it is left there when the bell rings, and lets go of what it gets.
        let (home, name) = (home.clone(), name.to_owned());
        thread::spawn(move || drop(tell.send(Some(Lock::alone(&home, &name)))));
        match hear.recv() {
            Ok(Some(lock)) => lock.map(Some),
            Ok(None) | Err(_) => Ok(None),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A thread that panicked has left plain values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn who_waits_for_a_lock_hears_the_bell() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path(), place.path().join("run"));
        let bell = Arc::new(Bell::default());
        let held = bell.lock(&home, "one").unwrap().unwrap();
        let waiter = thread::spawn({
            let (bell, home) = (bell.clone(), home.clone());
            move || bell.lock(&home, "one").unwrap().is_some()
        });
        while bell.waiting().ears.is_empty() {
            thread::yield_now();
        }
        bell.ring();
        assert!(!waiter.join().unwrap(), "it was woken without the lock");
        assert!(bell.lock(&home, "one").unwrap().is_none(), "nobody waits after the bell");
        drop(held);
        // The one that was left behind gets the lock, and lets go of it.
        drop(Lock::alone(&home, "one").unwrap());
    }

    #[test]
    fn a_lock_comes_when_its_holder_lets_go() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path(), place.path().join("run"));
        let bell = Arc::new(Bell::default());
        let held = bell.lock(&home, "one").unwrap();
        let waiter = thread::spawn({
            let (bell, home) = (bell.clone(), home.clone());
            move || bell.lock(&home, "one").unwrap().is_some()
        });
        while bell.waiting().ears.is_empty() {
            thread::yield_now();
        }
        drop(held);
        assert!(waiter.join().unwrap());
    }
}
