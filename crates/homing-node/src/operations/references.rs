//! `publish`, `ref …`, `resolve REF`.

use std::time::Duration;

use data_encoding::BASE64;
use homing_api::agent::Done;
use homing_api::references::{
    KeepReference, Keeper, PublishReference, Reference as ApiReference, ReferenceHistory,
    ReferenceList, ReferenceRecord, ReferenceResolution, ReferenceState, ReferenceVersion,
    ResolveReference, TakeReference,
};
use homing_api::{ApiError, Code, Schema, Stamp};
use homing_base::reference::content_path;
use homing_base::{IpnsName, NodeId, Reference, ReferenceName, Wall};
use homing_core::dht::Mode;
use homing_core::dht::setting::SETTING_NAME;
use homing_core::io::{ReferenceCommand, ReferenceKey, ReferenceView};
use homing_core::{Answer, Command};

use super::millis;
use super::peers::{layer_name, within};
use crate::node::{Node, peer_ref, unexpected};

/// How long an agent's name may take to be found while a reference is read.
const OWNER_PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to keep what the configuration names: its owner may not be found yet.
const KEEP_AGAIN: Duration = Duration::from_secs(30);

impl Node {
    /// Points a reference of this agent somewhere: durable when this returns, announced at once.
    ///
    /// # Errors
    /// `usage` when name, value or times are out of bounds, `limit_reached`.
    pub async fn publish_reference(
        &self,
        request: PublishReference,
    ) -> Result<ApiReference, ApiError> {
        let name = reference_name(&request.name)?;
        let value = content_path(request.value.trim()).map_err(|e| {
            ApiError::new(Code::Usage, e.to_string())
                .hint("publish a CID or a path; a file's content: homing publish NAME --file PATH")
        })?;
        if name.as_str() == SETTING_NAME && Mode::from_setting(&value).is_none() {
            return Err(ApiError::new(Code::Usage, format!("{value} is no mode of the DHT"))
                .why(format!("agents whose dht.network_key is this one follow {SETTING_NAME}"))
                .hint("/homing/dht/kademlia, or /homing/dht/cluster/64"));
        }
        let keepers = match request.keepers {
            Some(peers) => Some(self.owners(&peers).await?),
            None => None,
        };
        let command = ReferenceCommand::Publish {
            name,
            value,
            lifetime: request.lifetime_s.map(Duration::from_secs),
            ttl: request.ttl_s.map(Duration::from_secs),
            keepers,
        };
        self.reference_command(&request.name, command).await
    }

    /// Signs and announces a reference anew.
    ///
    /// # Errors
    /// `not_found`, `withdrawn`.
    pub async fn renew_reference(&self, name: &str) -> Result<ApiReference, ApiError> {
        let command = ReferenceCommand::Renew(reference_name(name)?);
        self.reference_command(name, command).await
    }

    /// Takes a reference back for good.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn withdraw_reference(&self, name: &str) -> Result<ApiReference, ApiError> {
        let command = ReferenceCommand::Withdraw(reference_name(name)?);
        self.reference_command(name, command).await
    }

    /// Keeps a reference of another alive, or no longer.
    ///
    /// # Errors
    /// `usage`, `not_found` when its owner is not known, `limit_reached`.
    pub async fn keep_reference(&self, request: &KeepReference) -> Result<Done, ApiError> {
        let key = self.reference_key(&request.reference).await?;
        if request.keep {
            self.expect_reference(&request.reference, &key).await?;
        }
        let command = ReferenceCommand::Keep { key, keep: request.keep };
        let changed = match self.command(&request.reference, Command::Reference(command)).await? {
            Answer::Done { changed } => changed,
            Answer::Reference(_) => true,
            other => return Err(unexpected(&other)),
        };
        Ok(Done { schema: Schema::new(), changed })
    }

    /// Something is known of it, here or elsewhere: a slip of the pen is not kept alive.
    async fn expect_reference(&self, what: &str, key: &ReferenceKey) -> Result<(), ApiError> {
        let wanted = key.clone();
        let is_known = move |agent: &homing_core::Agent| agent.known_reference(&wanted).is_some();
        if self.query(is_known).await? {
            return Ok(());
        }
        match self.newest_reference(what, key.clone(), OWNER_PATIENCE).await {
            Err(error) if error.code == Code::NotFound => {
                Err(error
                    .hint("keep it when its owner has published it; see homing ref list there"))
            }
            _ => Ok(()),
        }
    }

    /// Takes a record from outside, verified: it is stored in the DHT and remembered.
    ///
    /// # Errors
    /// When the agent has ended.
    pub async fn offer_reference(&self, reference: Reference) -> Result<bool, ApiError> {
        let command = Command::Reference(ReferenceCommand::Offer(Box::new(reference)));
        match self.command("the record", command).await? {
            Answer::Done { changed } => Ok(changed),
            other => Err(unexpected(&other)),
        }
    }

    /// Tells and keeps a bound reference that a delegate has signed.
    ///
    /// # Errors
    /// `signature_invalid`, `stale_sequence` when a newer one is known, `limit_reached`.
    pub async fn take_reference(&self, request: &TakeReference) -> Result<Done, ApiError> {
        let refused = |why: String| {
            ApiError::new(Code::SignatureInvalid, "this reference is refused").why(why)
        };
        let bytes = BASE64.decode(request.signed.as_bytes()).map_err(|e| refused(e.to_string()))?;
        let reference =
            Reference::verify(&bytes, self.now()).map_err(|e| refused(e.to_string()))?;
        let Some((owner, name)) = reference.owner().map(|(owner, name)| (owner, name.clone()))
        else {
            return Err(refused("nobody says whose it is".into()));
        };
        let key = ReferenceKey::Bound { owner, name };
        let changed = self.offer_reference(reference.clone()).await?;
        let wanted = key.clone();
        let newest = self.query(move |agent| agent.known_reference(&wanted)).await?;
        if newest.as_ref() != Some(&reference) {
            return Err(ApiError::new(Code::StaleSequence, "a newer version is known")
                .hint("homing resolve shows it; publish again to come after it"));
        }
        let command = ReferenceCommand::Keep { key, keep: true };
        self.command("the reference", Command::Reference(command)).await?;
        Ok(Done { schema: Schema::new(), changed })
    }

    async fn reference_command(
        &self,
        what: &str,
        command: ReferenceCommand,
    ) -> Result<ApiReference, ApiError> {
        let answer = self.command(what, Command::Reference(command)).await;
        let hinted = |error: ApiError| match error.code {
            Code::NotFound => error.hint("homing ref list shows the references of this agent"),
            _ => error,
        };
        match answer.map_err(hinted)? {
            Answer::Reference(view) => self.reference_of(&view).await,
            other => Err(unexpected(&other)),
        }
    }

    /// Own references, and those kept for others.
    ///
    /// # Errors
    /// When the agent has ended.
    pub async fn references(&self) -> Result<ReferenceList, ApiError> {
        let now = self.now();
        let mut references = Vec::new();
        for view in self.query(move |agent| agent.references(now)).await? {
            references.push(self.reference_of(&view).await?);
        }
        Ok(ReferenceList { schema: Schema::new(), references })
    }

    /// What a reference of this agent pointed to.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn reference_history(&self, text: &str) -> Result<ReferenceHistory, ApiError> {
        let (name, now) = (reference_name(text)?, self.now());
        let views = self.query(move |agent| agent.references(now)).await?;
        let is_it = |v: &&ReferenceView| {
            v.own && matches!(&v.key, ReferenceKey::Bound { name: n, .. } if *n == name)
        };
        let view = views.iter().find(is_it).ok_or_else(|| {
            ApiError::new(Code::NotFound, format!("this agent has no reference {name}"))
                .hint("homing ref list shows what it has")
        })?;
        let version = |v: &homing_core::io::Version| ReferenceVersion {
            sequence: v.sequence,
            value: v.value.clone(),
            previous: v.previous.clone(),
            published: Stamp(v.at),
            ipns: v.ipns.to_string(),
            withdrawn: v.withdrawn,
        };
        let versions = view.history.iter().map(version).collect();
        Ok(ReferenceHistory { schema: Schema::new(), name: name.to_string(), versions })
    }

    /// The signed record of a reference that is known here.
    ///
    /// # Errors
    /// `not_found`, `usage`.
    pub async fn export_reference(&self, text: &str) -> Result<ReferenceRecord, ApiError> {
        let key = self.reference_key(text).await?;
        let known = self.query(move |agent| agent.known_reference(&key)).await?;
        let reference = known.ok_or_else(|| {
            ApiError::new(Code::NotFound, format!("no record of {text} is known here"))
                .hint(format!("homing resolve {text} asks others for it"))
        })?;
        Ok(ReferenceRecord {
            schema: Schema::new(),
            reference: text.to_owned(),
            ipns: reference.record.name().to_string(),
            record: BASE64.encode(reference.record.bytes()),
            binding: reference.binding.as_ref().map(|b| BASE64.encode(b.bytes())),
        })
    }

    /// The newest of a reference, proven.
    ///
    /// # Errors
    /// `not_found`, `expired`, `withdrawn`, `usage`.
    pub async fn resolve_reference(
        &self,
        request: ResolveReference,
    ) -> Result<ReferenceResolution, ApiError> {
        let (timeout, text) = (within(request.timeout_ms)?, request.reference.trim().to_owned());
        let key = self.reference_key(&text).await?;
        let found = self.newest_reference(&text, key, timeout).await?;
        let (record, bound) = (&found.reference.record, found.reference.owner());
        let name = bound.map(|(_, name)| name.to_string());
        let owner = match bound {
            Some((owner, _)) => Some(self.summary(owner).await?),
            None => None,
        };
        let mut peers = Vec::new();
        for peer in &found.peers {
            peers.push(self.summary(*peer).await?);
        }
        Ok(ReferenceResolution {
            schema: Schema::new(),
            reference: text,
            value: record.value_text(),
            sequence: record.sequence,
            ipns: record.name().to_string(),
            owner,
            name,
            expires: Stamp(record.ends()),
            ttl_s: record.ttl.as_secs(),
            layer: layer_name(found.layer).to_owned(),
            replicas: found.replicas.into(),
            agreed: found.agreed.into(),
            peers,
            elapsed_ms: millis(found.elapsed),
            record: BASE64.encode(record.bytes()),
            binding: found.reference.binding.as_ref().map(|b| BASE64.encode(b.bytes())),
        })
    }

    /// As [`Node::resolve_reference`], for a key, in the core's words.
    ///
    /// # Errors
    /// `not_found`, `expired`, `withdrawn`.
    pub async fn newest_reference(
        &self,
        what: &str,
        key: ReferenceKey,
        timeout: Duration,
    ) -> Result<homing_core::io::ReferenceResolution, ApiError> {
        match self.command(what, Command::ResolveReference { key, timeout }).await? {
            Answer::ReferenceResolved(found) => Ok(*found),
            other => Err(unexpected(&other)),
        }
    }

    /// Which reference a text means: an IPNS name, a name of ours, or `AGENT/NAME`.
    ///
    /// # Errors
    /// `usage` when it is none of them; `not_found`, `ambiguous_name` about the agent.
    pub async fn reference_key(&self, text: &str) -> Result<ReferenceKey, ApiError> {
        let text = text.trim();
        if let Ok(name) = text.parse::<IpnsName>() {
            return Ok(ReferenceKey::Ipns(name));
        }
        if let Ok(name) = text.parse::<ReferenceName>() {
            let me = self.node_id();
            let key = ReferenceKey::Bound { owner: me, name };
            let wanted = key.clone();
            if self.query(move |agent| agent.known_reference(&wanted).is_some()).await? {
                return Ok(key);
            }
        }
        let Some((owner, name)) = text.split_once('/') else {
            return Err(ApiError::new(
                Code::NotFound,
                format!("this agent has no reference {text}"),
            )
            .hint("another agent's is written AGENT/NAME, an IPNS name begins with k51"));
        };
        let name = reference_name(name)?;
        Ok(ReferenceKey::Bound { owner: self.owner_id(owner).await?, name })
    }

    async fn owner_id(&self, text: &str) -> Result<NodeId, ApiError> {
        let peer = peer_ref(text)?;
        if let homing_core::io::PeerRef::NodeId(id) = peer {
            return Ok(id);
        }
        let known = peer.clone();
        if let Ok(id) = self.query(move |agent| agent.find_known(&known)).await? {
            return Ok(id);
        }
        let command = Command::Resolve { peer, timeout: OWNER_PATIENCE };
        match self.command(text, command).await? {
            Answer::Resolved(found) => Ok(found.record.node_id()),
            other => Err(unexpected(&other)),
        }
    }

    async fn owners(&self, peers: &[String]) -> Result<Vec<NodeId>, ApiError> {
        let mut owners = Vec::new();
        for peer in peers.iter().take(64) {
            owners.push(self.owner_id(peer).await?);
        }
        Ok(owners)
    }

    async fn reference_of(&self, view: &ReferenceView) -> Result<ApiReference, ApiError> {
        let now = self.now();
        let (owner, name) = match &view.key {
            ReferenceKey::Bound { owner, name } => {
                (Some(self.summary(*owner).await?), Some(name.to_string()))
            }
            ReferenceKey::Ipns(_) => (None, None),
        };
        let mut keepers = Vec::new();
        for (peer, until) in &view.keepers {
            let (holds_until, id) = (until.map(Stamp), *peer);
            let trusted = self.query(move |agent| agent.is_trusted(now, id)).await?;
            keepers.push(Keeper { peer: self.summary(id).await?, holds_until, trusted });
        }
        let shown = match (&owner, &name) {
            (Some(_), Some(name)) if view.own => name.clone(),
            (Some(owner), Some(name)) => format!("{}/{name}", owner.label()),
            _ => view.key.to_string(),
        };
        let record = view.reference.as_ref().map(|r| &r.record);
        Ok(ApiReference {
            schema: Schema::new(),
            reference: shown,
            own: view.own,
            state: state_of(view, now.wall),
            owner,
            name,
            ipns: record.map(|r| r.name().to_string()),
            value: record.map(|r| r.value_text()),
            sequence: record.map(|r| r.sequence),
            expires: record.map(|r| Stamp(r.ends())),
            remaining_s: view.remaining(now.wall).as_secs(),
            lifetime_s: view.lifetime.as_secs(),
            ttl_s: record.map(|r| r.ttl.as_secs()),
            keepers,
            replicas: view.replicas.map(|(kept, _)| kept as u64),
            replicas_asked: view.replicas.map(|(_, asked)| asked as u64),
            next: view.next.map(Stamp),
        })
    }

    /// Keeps what the configuration names, as soon as its owners are found.
    pub(crate) async fn keep_configured(self) {
        let mut open = self.shared.config.references.keep.clone();
        while !open.is_empty() {
            let mut left = Vec::new();
            for reference in open {
                let request = KeepReference { reference: reference.clone(), keep: true };
                match self.keep_reference(&request).await {
                    Ok(_) => {}
                    Err(error) if error.code == Code::Usage => {
                        tracing::warn!(%reference, %error, "references.keep names what cannot be kept");
                    }
                    Err(error) => {
                        tracing::debug!(%reference, %error, "not kept yet");
                        left.push(reference);
                    }
                }
            }
            open = left;
            tokio::select! {
                _ = self.ended() => return,
                () = tokio::time::sleep(KEEP_AGAIN) => {}
            }
        }
    }
}

/// How a reference stands, from what others hold of it.
pub(crate) fn state_of(view: &ReferenceView, now: Wall) -> ReferenceState {
    let Some(reference) = &view.reference else { return ReferenceState::Unknown };
    let remaining = view.remaining(now);
    if view.is_withdrawn() {
        ReferenceState::Withdrawn
    } else if view.settling {
        ReferenceState::Announcing
    } else if reference.record.ends() <= now {
        ReferenceState::Expired
    } else if view.outside.is_none() {
        ReferenceState::Alone
    } else if remaining < view.lifetime / 2 {
        ReferenceState::Expiring
    } else {
        ReferenceState::Ok
    }
}

fn reference_name(text: &str) -> Result<ReferenceName, ApiError> {
    text.trim().parse().map_err(|e: homing_base::reference::ReferenceNameError| {
        let shown: String = text.chars().take(80).collect();
        ApiError::new(Code::Usage, format!("{shown:?} is no name of a reference"))
            .why(e.to_string())
            .hint("a name is a path of words, such as planner/checkpoint")
    })
}
