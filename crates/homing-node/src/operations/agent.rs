//! `info`, `version`, `config`, `metrics`, health.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use homing_api::agent::{
    ConfigValue, ConfigView, HealthItem, Info, Origin as ApiOrigin, RecordFacts, RelayLink,
    ServedRegistry, ServedRelay, Version,
};
use homing_api::{API_MAJOR, ApiError, Code, Schema, Stamp};
use homing_base::{Record, RelayRef, Ticket};
use serde_json::json;

use super::network_of;
use crate::VERSION;
use crate::config::anchor::without_path;
use crate::config::registry::without_password;
use crate::config::{Origin, Setting, Value};
use crate::dns::DnsRole;
use crate::gateway_role::GatewayRole;
use crate::node::Node;

/// The first record follows the first look at the network.
const FIRST_RECORD_MAX: Duration = Duration::from_secs(5);

impl Node {
    /// Program and API version.
    #[must_use]
    pub fn version(&self) -> Version {
        Version { schema: Schema::new(), version: VERSION.to_owned(), api_major: API_MAJOR }
    }

    /// Who and where this agent is.
    ///
    /// # Errors
    /// Only when the node has stopped.
    pub async fn info(&self) -> Result<Info, ApiError> {
        let (record, superseded) = self
            .query(|agent| (agent.own_record().cloned(), agent.superseded_by().is_some()))
            .await?;
        let dht = self.dht_brief().await?;
        let shared = &self.shared;
        let (facts, now) = (shared.transport.facts(), self.now());
        let me = self.myself();
        Ok(Info {
            schema: Schema::new(),
            address: me.address,
            name: me.name,
            node_id: me.node_id,
            public_key: shared.public_key,
            instance: shared.transport.instance(),
            main_instance: shared.transport.main(),
            online: facts.online,
            superseded,
            relays: self.relay_links(),
            ticket: record.as_ref().map(|record| self.ticket_of(record)),
            record: record.as_ref().map(record_facts),
            direct: facts.direct,
            publishes_addresses: facts.publish_direct,
            services: self.advertised(),
            network: network_of(shared),
            dht,
            serving_relay: self.served_relay(),
            serving_registry: self.served_registry(),
            gateway: shared.gateway.map(GatewayRole::facts),
            dns: shared.dns.map(DnsRole::listen),
            health: self.health(),
            pid: std::process::id(),
            version: VERSION.to_owned(),
            started: Stamp(shared.started),
            uptime_s: now.wall.since(shared.started).as_secs(),
            home: shared.home.dir().display().to_string(),
            identity_file: shared.home.identity().display().to_string(),
            udp_port: crate::builder::udp_port(&shared.transport.bound()),
        })
    }

    /// What another node needs to reach this one at once; waits for the first record.
    ///
    /// # Errors
    /// `timeout` when there is no record after five seconds.
    pub async fn ticket(&self) -> Result<String, ApiError> {
        let deadline = self.now().mono.after(FIRST_RECORD_MAX);
        while self.now().mono < deadline {
            if let Some(record) = self.query(|agent| agent.own_record().cloned()).await? {
                return Ok(self.ticket_of(&record));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(ApiError::new(Code::Timeout, "this agent has no record yet")
            .hint("homing doctor shows what is missing"))
    }

    fn ticket_of(&self, record: &Record) -> String {
        let direct = self.shared.transport.facts().direct;
        Ticket { record: record.bytes().to_vec(), direct }.to_string()
    }

    pub(super) fn relay_links(&self) -> Vec<RelayLink> {
        let facts = self.shared.transport.facts();
        let home = facts.relays.first();
        let relays = self.shared.transport.relays().into_iter();
        let latencies = self.shared.transport.relay_latencies();
        let latency = |relay: &RelayRef| {
            latencies.iter().find(|(known, _)| known == relay).map(|(_, latency)| *latency)
        };
        let mut links: Vec<_> = relays
            .map(|health| RelayLink {
                label: health.relay.authority().to_owned(),
                connected: health.error.is_none() && (facts.online || home != Some(&health.relay)),
                home: home == Some(&health.relay),
                latency_ms: latency(&health.relay).map(super::millis),
                error: health.error,
                relay: health.relay,
            })
            .collect();
        links.sort_by_key(|link| !link.home);
        links
    }

    fn served_relay(&self) -> Option<ServedRelay> {
        let role = self.shared.relay.as_ref()?;
        Some(ServedRelay {
            relay: role.reference().clone(),
            listen: role.listen(),
            quic_listen: role.quic_listen(),
            clients: role.counts().clients as u64,
            allowed: role.allowed().to_vec(),
        })
    }

    fn served_registry(&self) -> Option<ServedRegistry> {
        let role = self.shared.registry.as_ref()?;
        Some(ServedRegistry {
            url: role.public_url().to_owned(),
            listen: role.listen(),
            database: role.database().to_owned(),
        })
    }

    /// Conditions that last, worst first.
    #[must_use]
    pub fn health(&self) -> Vec<HealthItem> {
        self.look_at_key();
        self.shared.health.visible()
    }

    /// The key file may have been moved or opened up since the start.
    fn look_at_key(&self) {
        let (health, path) = (&self.shared.health, self.shared.home.identity());
        let found = std::fs::metadata(&path).map(|metadata| metadata.mode() & 0o777);
        let open = found.as_ref().is_ok_and(|mode| mode & 0o077 != 0);
        health.set("key_missing", found.is_err(), || format!("{} is gone", path.display()));
        health.set("key_permissions", open, || format!("{}", path.display()));
    }

    /// The effective configuration of this run.
    #[must_use]
    pub fn config_view(&self) -> ConfigView {
        ConfigView {
            schema: Schema::new(),
            file: self.shared.home.config().display().to_string(),
            values: self.shared.settings.iter().map(config_value).collect(),
        }
    }
}

fn record_facts(record: &Record) -> RecordFacts {
    RecordFacts {
        sequence: record.sequence.0,
        issued: Stamp(record.issued),
        expires: Stamp(record.expires),
    }
}

fn config_value(setting: &Setting) -> ConfigValue {
    let value = match &setting.value {
        Some(Value::Text(url)) if setting.key == "registry.database" => {
            json!(without_password(url))
        }
        Some(Value::Text(url)) if setting.key == "audit.anchor.url" => json!(without_path(url)),
        None => serde_json::Value::Null,
        Some(Value::Text(text)) => json!(text),
        Some(Value::Bool(value)) => json!(value),
        Some(Value::Number(number)) => json!(number),
        Some(Value::List(list)) => json!(list),
    };
    let origin = match setting.origin {
        Origin::Default => ApiOrigin::Default,
        Origin::File => ApiOrigin::File,
        Origin::Environment(_) => ApiOrigin::Env,
        Origin::Flag => ApiOrigin::Flag,
    };
    ConfigValue { key: setting.key.to_owned(), value, origin }
}
