//! `homing url`: how a program on this machine reaches a service of a peer through the gateway.

use clap::Args;
use homing_api::agent::ServedGateway;
use homing_api::{ApiError, Code};
use homing_base::Service;
use homing_gateway::{Peer, Target};
use serde::Serialize;

use super::{OK, Outcome};
use crate::session::Session;

/// The service of URLs that name none.
const HTTP: &str = "http";

/// The URL of a peer's service, for any program on this machine
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing url agent-b mcp\n  curl \"$(homing url agent-b api)v1/items\"\n  homing url agent-b 8080 --json          # also for HTTP and SOCKS5 proxies"
)]
pub(crate) struct UrlArgs {
    /// Name, address or node ID
    peer: String,
    /// A port or the name of a service
    #[arg(value_name = "SERVICE", default_value = HTTP)]
    service: Service,
}

/// `homing.url/v1`.
#[derive(Debug, Serialize)]
struct Urls {
    schema: &'static str,
    /// Of the path router: works in every HTTP client.
    url: String,
    /// Through the proxies below.
    proxied_url: String,
    /// For `HTTP_PROXY` and its like.
    http_proxy: String,
    /// Names are looked up by the gateway.
    socks_proxy: String,
}

pub(crate) async fn run(session: &Session, args: &UrlArgs) -> Outcome {
    let peer: Peer = args.peer.parse()?;
    let target = Target { peer, service: args.service.clone() };
    let gateway = gateway(session).await?;
    super::warn_if_unknown(session, &args.peer).await;
    let urls = Urls {
        schema: "homing.url/v1",
        url: format!("{}{}/", gateway.url, target.path()),
        proxied_url: format!("http://{}/", target.authority()),
        socks_proxy: format!("socks5h://{}", gateway.listen),
        http_proxy: gateway.url,
    };
    let text = || format!("{}\n", urls.url);
    session.out.result(&urls, || vec![urls.url.clone()], text);
    Ok(OK)
}

/// The gateway of this home's daemon.
pub(crate) async fn gateway(session: &Session) -> Result<ServedGateway, ApiError> {
    session.client()?.info().await?.gateway.ok_or_else(|| {
        ApiError::new(Code::NotFound, "this daemon serves no gateway")
            .why("gateway.enabled is false, or its port could not be had: homing info says which")
            .hint("homing config set gateway.enabled true, then: homing down, then homing up with the flags you started it with")
    })
}
