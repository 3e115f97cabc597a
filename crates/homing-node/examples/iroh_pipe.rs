//! A local TCP port over bare iroh, one stream per connection: what `bench/tunnels` puts beside `forward` and `expose`.
//!
//! ```text
//! iroh_pipe host UDP_ADDR TCP_TARGET FILE [bbr3]     writes where it is to FILE: ENDPOINT_ID@UDP_ADDR
//! iroh_pipe open UDP_ADDR TCP_LISTEN WHERE [bbr3]    WHERE as in that file
//! ```
//! With `bbr3` it sends by the stack's BBR version 3, otherwise by iroh's own congestion controller.

use std::net::SocketAddr;
use std::sync::Arc;

use iroh::endpoint::{QuicTransportConfig, RecvStream, SendStream, presets};
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode};
use noq::congestion::Bbr3Config;
use tokio::net::{TcpListener, TcpStream};

const ALPN: &[u8] = b"iroh-pipe/1";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, what, here, local, place, controller @ ..] = args.as_slice() else {
        return Err("host UDP_ADDR TCP_TARGET FILE, or open UDP_ADDR TCP_LISTEN WHERE".into());
    };
    let mut transport = QuicTransportConfig::builder();
    if matches!(controller, [word] if word == "bbr3") {
        transport = transport.congestion_controller_factory(Arc::new(Bbr3Config::default()));
    }
    let endpoint = Endpoint::builder(presets::Minimal)
        .transport_config(transport.build())
        .relay_mode(RelayMode::Disabled)
        .alpns(vec![ALPN.to_vec()])
        .clear_ip_transports()
        .bind_addr(here.parse::<SocketAddr>()?)?
        .bind()
        .await?;
    match what.as_str() {
        "host" => host(endpoint, local.parse()?, place).await,
        _ => open(endpoint, local.parse()?, place).await,
    }
}

async fn host(endpoint: Endpoint, target: SocketAddr, file: &str) -> Result<()> {
    let draft = format!("{file}.draft");
    std::fs::write(&draft, format!("{}@{}", endpoint.id(), endpoint.bound_sockets()[0]))?;
    std::fs::rename(draft, file)?;
    while let Some(incoming) = endpoint.accept().await {
        let connection = incoming.await?;
        tokio::spawn(async move {
            while let Ok((send, recv)) = connection.accept_bi().await {
                tokio::spawn(
                    async move { carry(TcpStream::connect(target).await?, send, recv).await },
                );
            }
        });
    }
    Ok(())
}

async fn open(endpoint: Endpoint, listen: SocketAddr, place: &str) -> Result<()> {
    let (id, addr) = place.trim().split_once('@').ok_or("ENDPOINT_ID@UDP_ADDR")?;
    let there = EndpointAddr::new(id.parse::<EndpointId>()?).with_ip_addr(addr.parse()?);
    let connection = endpoint.connect(there, ALPN).await?;
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (tcp, _) = listener.accept().await?;
        let (send, recv) = connection.open_bi().await?;
        tokio::spawn(carry(tcp, send, recv));
    }
}

async fn carry(tcp: TcpStream, send: SendStream, recv: RecvStream) -> Result<()> {
    tcp.set_nodelay(true)?;
    let mut tcp = tcp;
    let mut stream = tokio::io::join(recv, send);
    tokio::io::copy_bidirectional_with_sizes(&mut tcp, &mut stream, 64 * 1_024, 64 * 1_024).await?;
    Ok(())
}
