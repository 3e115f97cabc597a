//! Alarms: any `error!` inside a world fails it.
//!
//! A subscriber for the thread that runs the world; it listens to errors only, so the core's other
//! events cost nothing.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

/// Errors heard so far.
#[derive(Clone, Debug, Default)]
pub struct Alarm(Arc<Mutex<Vec<String>>>);

impl Alarm {
    /// Runs `work` with this alarm listening.
    pub fn listen<T>(&self, work: impl FnOnce() -> T) -> T {
        let ear = Ear(self.clone()).with_filter(LevelFilter::ERROR);
        tracing::subscriber::with_default(Registry::default().with(ear), work)
    }

    /// Takes what was heard.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no holder panics"))
    }
}

struct Ear(Alarm);

impl<S: tracing::Subscriber> Layer<S> for Ear {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut text = Text(event.metadata().target().to_owned());
        event.record(&mut text);
        self.0.0.lock().expect("no holder panics").push(text.0);
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_heard_and_a_warning_is_not() {
        let alarm = Alarm::default();
        alarm.listen(|| {
            tracing::warn!("odd but working");
            tracing::error!(seq = 7, "broken");
        });
        let heard = alarm.take();
        assert_eq!(heard.len(), 1);
        assert!(heard[0].contains("broken") && heard[0].contains("seq=7"), "{heard:?}");
    }
}
