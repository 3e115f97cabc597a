//! One service of this agent and the streams that peers open to it.

use std::sync::Arc;

use homing_api::streams::Protocol;
use homing_api::{ApiError, Code};
use homing_base::Service;
use tokio::sync::mpsc;

use super::{BACKLOG_MAX, Stream, Streams};

/// A service that trusted peers can reach while this lives.
#[derive(Debug)]
pub struct Listener {
    service: Service,
    incoming: mpsc::Receiver<Stream>,
    streams: Arc<Streams>,
}

impl Listener {
    /// The next stream; `None` once the node has stopped.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.incoming.recv().await
    }

    /// What is exposed.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.incoming.close();
        let mut tables = self.streams.tables();
        if tables.listeners.get(&self.service).is_some_and(|(_, l)| l.is_closed()) {
            tables.listeners.remove(&self.service);
        }
    }
}

impl Streams {
    /// Exposes a service of the user's until the listener is dropped.
    ///
    /// # Errors
    /// [`Code::Usage`] when the name is reserved, [`Code::AlreadyExists`] when it is exposed already.
    pub(crate) fn listen(
        self: &Arc<Self>,
        service: Service,
        protocol: Protocol,
    ) -> Result<Listener, ApiError> {
        if service.is_reserved() {
            let message = format!("{service} is a reserved name, choose another");
            return Err(ApiError::new(Code::Usage, message)
                .why("card, content, files, message, topic and tun name what every agent has: trust for mail must not open more"));
        }
        self.listen_built_in(service, protocol)
    }

    /// Exposes a service of Homing's own until the listener is dropped.
    ///
    /// # Errors
    /// [`Code::AlreadyExists`] when it is exposed already.
    pub(crate) fn listen_built_in(
        self: &Arc<Self>,
        service: Service,
        protocol: Protocol,
    ) -> Result<Listener, ApiError> {
        let mut tables = self.tables();
        if tables.listeners.get(&service).is_some_and(|(_, l)| !l.is_closed()) {
            let message = format!("{service} is exposed already");
            return Err(ApiError::new(Code::AlreadyExists, message).hint(format!(
                "end it first (its homing listen, or: homing expose rm {service}), or choose another name"
            )));
        }
        let (sender, incoming) = mpsc::channel(BACKLOG_MAX);
        tables.listeners.insert(service.clone(), (protocol, sender));
        drop(tables);
        Ok(Listener { service, incoming, streams: self.clone() })
    }

    /// Services exposed now.
    pub(crate) fn services(&self) -> Vec<Service> {
        self.tables().listeners.keys().cloned().collect()
    }
}
