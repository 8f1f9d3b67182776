//! The host, what it takes images from, and the sockets of the local API and the admin address: all that starts while the store of resources
//! is opened.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use berth_host::{Host, HostConfig};
use berth_oci::RegistrySource;
use tokio::net::{TcpListener, UnixListener};

use super::{LocalConfig, LocalError};
use crate::caches::Caches;
use crate::data::DataFolder;
use crate::events::{DEFAULT_CAPACITY, EventRing};

/// What is started while the store is opened.
pub(super) struct Hosting {
    pub(super) host: Arc<Host>,
    pub(super) events: Arc<EventRing>,
    pub(super) caches: Caches,
    pub(super) registry: RegistrySource,
    pub(super) socket: UnixListener,
    pub(super) admin: Option<TcpListener>,
}

impl Hosting {
    pub(super) async fn start(config: &LocalConfig, data: &DataFolder) -> Result<Hosting, LocalError> {
        let events = Arc::new(EventRing::new(DEFAULT_CAPACITY));
        let socket = listen(&data.socket_path()?)?;
        let admin = match config.admin_addr {
            Some(addr) => Some(TcpListener::bind(addr).await.map_err(|source| LocalError::Admin { addr, source })?),
            None => None,
        };
        let caches = Caches::open(&config.caches, &data.path().join("cache"))?;
        let source = caches.source(config.registries.clone())?;
        let registry = source.registry().clone();
        let host_config = HostConfig { code: Some(caches.code.clone()), ..config.host.clone() };
        let host = Host::start(host_config, Arc::new(source), events.clone())?;
        Ok(Hosting { host, events, caches, registry, socket, admin })
    }
}

/// Listens on the socket, for its user alone. A socket that a killed process left is replaced: the lock says that it is dead.
fn listen(path: &Path) -> Result<UnixListener, LocalError> {
    let failed = |source| LocalError::Socket { path: path.into(), source };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}
