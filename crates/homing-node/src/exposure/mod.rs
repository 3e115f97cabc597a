//! Exposed services: programs, sockets and directories that trusted peers reach by name, across restarts.
//!
//! ```text
//! expose ──► services.json ──► Listener ──► a stream ──► first bytes? ──► HTTP: web server or directory
//!    │                                       (the core has asked       └► bytes: socket or process
//!    └► the record names the service          trust and scope)
//! ```
//! What is exposed stays so until it is withdrawn: a daemon that starts listens on every service before its local API
//! answers. Trust that ends closes the streams of that peer, withdrawal those of the service.
//!
//! Reading order: `file`, `serve`, `first`, `http`, `headers`, `proxy`, `directory`, `process`. Not here: who may reach
//! a service ([`crate::streams`] asks the core), and the peer's side ([`crate::Node::connect`], the gateway).

mod directory;
mod file;
mod first;
mod headers;
mod http;
mod limits;
mod listing;
mod opened;
mod place;
mod problem;
mod process;
mod proxy;
mod serve;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use homing_api::agent::Done;
use homing_api::exposures::{ExposeRequest, Exposed, Mode, ServiceView, Services, Target};
use homing_api::streams::Protocol;
use homing_api::{ApiError, Code, Schema, Stamp};
use homing_base::Service;
use homing_base::limits::SERVICES_MAX as RECORD_SERVICES_MAX;
use homing_core::Command;
use tokio::runtime::Handle;
use tracing::{info, warn};

use self::file::Entry;
use self::serve::{Content, Running, Visit};
use crate::home::Home;
use crate::node::Node;
use crate::registry_role;

/// Everything that is exposed.
#[derive(Debug)]
pub(crate) struct Exposures {
    path: PathBuf,
    table: Mutex<BTreeMap<Service, Exposure>>,
    /// Why the file cannot be used; then nothing changes.
    damaged: Option<ApiError>,
    /// Numbers of those that are held.
    next_hold: AtomicU64,
    /// One change at a time, the file included.
    changing: tokio::sync::Mutex<()>,
}

/// One service.
#[derive(Debug)]
struct Exposure {
    entry: Entry,
    /// By whom it is exposed, for as long as that lives; `None`: kept across restarts.
    hold: Option<u64>,
    running: Result<Running, ApiError>,
}

impl Exposure {
    fn kept(&self) -> bool {
        self.hold.is_none()
    }
}

/// A service that is exposed until this is dropped.
#[derive(Debug)]
pub struct HeldExposure {
    node: Node,
    name: Service,
    hold: u64,
    /// Whoever drops this need not be a task.
    runtime: Handle,
}

impl Drop for HeldExposure {
    fn drop(&mut self) {
        let (node, name, hold) = (self.node.clone(), self.name.clone(), self.hold);
        self.runtime.spawn(async move {
            node.let_go(&name, hold).await;
        });
    }
}

impl Exposures {
    /// What the home's file says; nothing listens yet.
    pub(crate) fn load(home: &Home) -> Self {
        let path = home.services();
        let read = file::read(&path);
        let not_yet = || Err(ApiError::new(Code::Internal, "the node starts"));
        let (entries, damaged) = match read {
            Ok(entries) => (entries, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let exposure =
            |entry: Entry| (entry.name.clone(), Exposure { entry, hold: None, running: not_yet() });
        let table = Mutex::new(entries.into_iter().map(exposure).collect());
        let next_hold = AtomicU64::new(0);
        Self { path, table, damaged, next_hold, changing: tokio::sync::Mutex::default() }
    }

    /// Listed services, those that were exposed first at the beginning.
    fn listed(&self) -> Vec<Service> {
        let table = self.table();
        let mut listed: Vec<_> = table.values().filter(|e| !e.entry.unlisted).collect();
        listed.sort_by_key(|e| e.entry.since);
        listed.into_iter().map(|e| e.entry.name.clone()).collect()
    }

    fn usable(&self) -> Result<(), ApiError> {
        self.damaged.clone().map_or(Ok(()), Err)
    }

    fn save(&self, with: Option<&Entry>, without: Option<&Service>) -> Result<(), ApiError> {
        let table = self.table();
        let kept = table.values().filter(|e| e.kept()).map(|e| &e.entry);
        let kept = kept.filter(|e| with.is_none_or(|with| with.name != e.name));
        let kept = kept.filter(|e| without != Some(&e.name)).chain(with).cloned().collect();
        drop(table);
        file::write(&self.path, kept)
    }

    fn table(&self) -> std::sync::MutexGuard<'_, BTreeMap<Service, Exposure>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Puts a program, a socket or a directory behind this agent's address, until it is withdrawn. The same again
    /// changes nothing.
    ///
    /// # Errors
    /// `usage` for a target that is none, `already_exists` when the name means something else, `limit_reached`,
    /// `config_invalid` when `services.json` is damaged, `disk_full`.
    pub async fn expose(&self, request: ExposeRequest) -> Result<Exposed, ApiError> {
        let entry = self.checked(request)?;
        let exposures = &self.shared.exposures;
        let _changing = exposures.changing.lock().await;
        exposures.usable()?;
        if let Some(view) = self.as_before(&entry)? {
            return Ok(Exposed { schema: Schema::new(), changed: false, service: view });
        }
        let running = Running::start(self, &entry)?;
        if let Err(error) = exposures.save(Some(&entry), None) {
            running.stop(self).await;
            return Err(error);
        }
        Ok(self.insert(entry, None, running).await)
    }

    /// Exposes for as long as the second value lives; not kept.
    ///
    /// # Errors
    /// As [`Node::expose`], and `already_exists` for what is exposed already.
    pub async fn expose_held(
        &self,
        request: ExposeRequest,
    ) -> Result<(Exposed, HeldExposure), ApiError> {
        let entry = self.checked(request)?;
        let _changing = self.shared.exposures.changing.lock().await;
        if self.as_before(&entry)?.is_some() {
            return Err(taken(&entry.name));
        }
        let (running, name) = (Running::start(self, &entry)?, entry.name.clone());
        let hold = self.shared.exposures.next_hold.fetch_add(1, Ordering::Relaxed);
        // Before it is in the table: whoever gives up waiting for this leaves nothing behind.
        let held = HeldExposure { node: self.clone(), name, hold, runtime: Handle::current() };
        let exposed = self.insert(entry, Some(hold), running).await;
        Ok((exposed, held))
    }

    /// Exposes a service no longer, and ends its streams.
    ///
    /// # Errors
    /// `not_found`; `disk_full` or `permission_denied` when the file cannot be written, then it stays.
    pub async fn unexpose(&self, name: &Service) -> Result<Done, ApiError> {
        let exposures = &self.shared.exposures;
        exposures.usable()?;
        let _changing = exposures.changing.lock().await;
        let kept = exposures.table().get(name).map(Exposure::kept);
        let kept = kept.ok_or_else(|| {
            ApiError::new(Code::NotFound, format!("nothing is exposed as {name}"))
                .hint("homing expose list")
        })?;
        if kept {
            exposures.save(None, Some(name))?;
        }
        self.withdraw(name).await;
        Ok(Done { schema: Schema::new(), changed: true })
    }

    /// A holder has ended: what it held goes, and nothing that has its name since.
    async fn let_go(&self, name: &Service, hold: u64) {
        let exposures = &self.shared.exposures;
        let _changing = exposures.changing.lock().await;
        let held = exposures.table().get(name).is_some_and(|e| e.hold == Some(hold));
        if held {
            self.withdraw(name).await;
        }
    }

    async fn withdraw(&self, name: &Service) {
        let removed = self.shared.exposures.table().remove(name);
        if let Some(Exposure { running: Ok(running), .. }) = removed {
            running.stop(self).await;
        }
        info!(service = %name, "exposed no longer");
        self.tell_services().await;
    }

    /// What is exposed, by name.
    ///
    /// # Errors
    /// `config_invalid` when `services.json` is damaged.
    pub fn services(&self) -> Result<Services, ApiError> {
        self.shared.exposures.usable()?;
        let advertised = self.advertised();
        let table = self.shared.exposures.table();
        let services = table.values().map(|exposure| view(exposure, &advertised)).collect();
        Ok(Services { schema: Schema::new(), services })
    }

    /// The services that the record names: those of the configuration, the registry, and what is exposed.
    pub(crate) fn advertised(&self) -> Vec<Service> {
        let shared = &self.shared;
        let registry = shared.config.registry.enabled.then(registry_role::service);
        let mut services = shared.config.services.clone();
        for service in registry.into_iter().chain(shared.exposures.listed()) {
            if !services.contains(&service) {
                services.push(service);
            }
        }
        services.truncate(RECORD_SERVICES_MAX);
        services
    }

    /// At a start: listens on everything that was kept.
    pub(crate) fn restore_exposures(&self) {
        let exposures = &self.shared.exposures;
        let entries: Vec<_> = exposures.table().values().map(|e| e.entry.clone()).collect();
        let mut failed = Vec::new();
        for entry in &entries {
            let running = Running::start(self, entry);
            if let Err(error) = &running {
                warn!(service = %entry.name, %error, "a service is not exposed");
                failed.push(format!("{}: {error}", entry.name));
            }
            if let Some(exposure) = exposures.table().get_mut(&entry.name) {
                exposure.running = running;
            }
        }
        failed.extend(
            exposures
                .damaged
                .iter()
                .map(|error| format!("{error}: {}", error.why.as_deref().unwrap_or_default())),
        );
        self.shared.health.set("services_not_exposed", !failed.is_empty(), || failed.join("; "));
        if !entries.is_empty() {
            let node = self.clone();
            tokio::spawn(async move { node.tell_services().await });
        }
    }

    /// What is exposed is so whether or not the record can say it: it is told again at the next change or start.
    async fn tell_services(&self) {
        let command = Command::SetServices(self.advertised());
        if let Err(error) = self.command("the services", command).await {
            warn!(%error, "the record does not name the services");
        }
    }

    fn checked(&self, request: ExposeRequest) -> Result<Entry, ApiError> {
        let ExposeRequest { target, name, mode, keep_host, unlisted } = request;
        target.check()?;
        exists(&target)?;
        fits(&target, mode)?;
        let name = name.or_else(|| target.default_name()).ok_or_else(|| {
            ApiError::new(Code::Usage, format!("{target} gives no name for the service"))
                .hint("give it one: --name SERVICE")
        })?;
        let since = Stamp(self.shared.clock.now().wall);
        Ok(Entry { name, target, mode, keep_host, unlisted, since })
    }

    /// What is exposed already, if it is this and works.
    fn as_before(&self, entry: &Entry) -> Result<Option<ServiceView>, ApiError> {
        let advertised = self.advertised();
        let table = self.shared.exposures.table();
        match table.get(&entry.name) {
            None if table.len() >= limits::SERVICES_MAX => {
                let message = format!("{} services are exposed already", limits::SERVICES_MAX);
                Err(ApiError::new(Code::LimitReached, message).hint("homing expose rm NAME"))
            }
            None => Ok(None),
            Some(before) if !before.entry.is_same(entry) || !before.kept() => {
                Err(taken(&entry.name))
            }
            Some(before) => Ok(before.running.is_ok().then(|| view(before, &advertised))),
        }
    }

    async fn insert(&self, entry: Entry, hold: Option<u64>, running: Running) -> Exposed {
        let name = entry.name.clone();
        info!(service = %name, target = %entry.target, "exposed");
        let exposure = Exposure { entry, hold, running: Ok(running) };
        self.shared.exposures.table().insert(name.clone(), exposure);
        self.tell_services().await;
        let advertised = self.advertised();
        let table = self.shared.exposures.table();
        let service = table.get(&name).map(|exposure| view(exposure, &advertised));
        let service = service.expect("nobody else changes the table now");
        Exposed { schema: Schema::new(), changed: true, service }
    }
}

fn taken(name: &Service) -> ApiError {
    ApiError::new(Code::AlreadyExists, format!("{name} is exposed already"))
        .hint(format!("another name: --name NAME, or first: homing expose rm {name}"))
}

fn view(exposure: &Exposure, advertised: &[Service]) -> ServiceView {
    let Exposure { entry, running, .. } = exposure;
    ServiceView {
        name: entry.name.clone(),
        target: entry.target.clone(),
        mode: entry.mode,
        protocol: protocol(entry),
        keep_host: entry.keep_host,
        listed: advertised.contains(&entry.name),
        kept: exposure.kept(),
        since: entry.since,
        streams: running.as_ref().map_or(0, Running::streams),
        error: running.as_ref().err().cloned(),
    }
}

/// What openers are told. A port may speak anything until it has spoken.
fn protocol(entry: &Entry) -> Protocol {
    match (&entry.target, entry.mode) {
        (Target::Url { .. } | Target::Directory { .. }, _) | (_, Mode::Http) => Protocol::Http,
        _ => Protocol::Bytes,
    }
}

/// Directories and programs must be there; a server may come later.
fn exists(target: &Target) -> Result<(), ApiError> {
    match target {
        Target::Directory { path } if !path.is_dir() => {
            let message = format!("{} is no directory", path.display());
            Err(ApiError::new(Code::Usage, message)
                .hint("PORT, HOST:PORT, a URL, unix:/PATH, a directory, or -- CMD ARGS"))
        }
        Target::Command { cwd: Some(cwd), .. } if !cwd.is_dir() => {
            Err(ApiError::new(Code::Usage, format!("{} is no directory", cwd.display())))
        }
        Target::Command { argv, .. } if argv[0].contains('/') => {
            // A relative program is looked for where it shall run.
            let from = match target {
                Target::Command { cwd: Some(cwd), .. } => cwd.join(&argv[0]),
                _ => PathBuf::from(&argv[0]),
            };
            let missing = || ApiError::new(Code::Usage, format!("there is no program {}", argv[0]));
            from.is_file().then_some(()).ok_or_else(missing)
        }
        Target::Command { argv, .. } if !on_path(&argv[0]) => {
            let message = format!("there is no program {} on the daemon's PATH", argv[0]);
            Err(ApiError::new(Code::Usage, message).hint("write its whole path"))
        }
        _ => Ok(()),
    }
}

fn on_path(program: &str) -> bool {
    let runs = |path: PathBuf| {
        path.is_file() && nix::unistd::access(&path, nix::unistd::AccessFlags::X_OK).is_ok()
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| runs(folder.join(program)))
}

fn fits(target: &Target, mode: Mode) -> Result<(), ApiError> {
    let wrong = |what| Err(ApiError::new(Code::Usage, what));
    match (target, mode) {
        (Target::Command { .. }, Mode::Http) => wrong("a command speaks bytes: leave --http out"),
        (Target::Url { .. }, Mode::Tcp) => wrong("a URL is HTTP: expose HOST:PORT with --tcp"),
        (Target::Directory { .. }, Mode::Tcp) => wrong("a directory is served over HTTP"),
        _ => Ok(()),
    }
}

/// What the streams of a service share.
#[derive(Debug)]
struct Host {
    node: Node,
    entry: Entry,
    content: Content,
    /// Streams open now.
    open: Arc<Mutex<std::collections::BTreeSet<u64>>>,
}
