//! `homing dns`: how this machine's resolver is told to ask the daemon for `agent.internal`.
//!
//! It prints what an administrator puts into place. Nothing of the system is edited: a resolver that is changed behind
//! somebody's back is a network that fails behind somebody's back.

use std::net::SocketAddr;

use clap::{Args, Subcommand, ValueEnum};
use homing_api::{ApiError, Code};
use serde::Serialize;

use super::{OK, Outcome, config};
use crate::output;
use crate::session::Session;

/// The zones that the daemon answers for: names, and `fd00::/8` backwards.
const ZONES: [&str; 2] = ["agent.internal", "d.f.ip6.arpa"];
/// The port of DNS, which resolvers assume.
const PORT: u16 = 53;

/// Names of agents for programs that know DNS and nothing else
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  homing config set dns.listen 127.0.0.1:5354\n  homing dns setup --print\n  homing dns setup --print --for dnsmasq"
)]
pub(crate) struct DnsArgs {
    #[command(subcommand)]
    command: DnsCommand,
}

#[derive(Debug, Subcommand)]
enum DnsCommand {
    /// What to put where, so that this machine asks the daemon for agents' names; changes nothing
    #[command(
        after_help = "Examples:\n  homing dns setup --print\n  homing dns setup --print --for macos\n  homing dns setup --print -o name | sudo tee /etc/systemd/resolved.conf.d/homing.conf"
    )]
    Setup(SetupArgs),
}

#[derive(Debug, Args)]
struct SetupArgs {
    /// Print it; the only thing this command does
    #[arg(long, required = true)]
    print: bool,
    /// The resolver of this machine
    #[arg(long = "for", value_enum, default_value_t, value_name = "RESOLVER")]
    resolver: Resolver,
}

/// Resolvers that can be told to ask elsewhere for one zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Resolver {
    #[default]
    SystemdResolved,
    Dnsmasq,
    Macos,
}

/// `homing.dns_setup/v1`.
#[derive(Debug, Serialize)]
struct Setup {
    schema: &'static str,
    /// Where the daemon answers.
    listen: SocketAddr,
    /// What to write.
    files: Vec<File>,
    /// What to run afterwards.
    command: &'static str,
    /// How to see that it works.
    check: String,
}

/// One file of the system.
#[derive(Debug, Serialize)]
struct File {
    path: String,
    text: String,
}

pub(crate) async fn run(session: &Session, args: DnsArgs) -> Outcome {
    let DnsCommand::Setup(SetupArgs { resolver, .. }) = args.command;
    let setup = setup(resolver, listen(session).await?);
    let bare = || setup.files.iter().map(|f| f.text.trim_end().to_owned()).collect();
    session.out.result(&setup, bare, || text(&setup));
    Ok(OK)
}

/// Where the running daemon answers, or where the next one will.
async fn listen(session: &Session) -> Result<SocketAddr, ApiError> {
    if let Ok(info) = session.client()?.info().await
        && let Some(listen) = info.dns
    {
        return Ok(listen);
    }
    let configured = config::resolved(session, &Vec::new())?.dns.listen;
    let configured = configured.filter(|listen| listen.port() != 0);
    if let Some(listen) = configured {
        output::say(&format!(
            "note: nothing answers on {listen} yet: homing down, then homing up with the flags you started it with"
        ));
    }
    configured.ok_or_else(|| {
        ApiError::new(Code::NotFound, "this daemon answers no DNS")
            .why("dns.listen is not set, or its port could not be had: homing status says which")
            .hint("homing config set dns.listen 127.0.0.1:5354, then: homing down, then homing up with the flags you started it with")
    })
}

fn setup(resolver: Resolver, listen: SocketAddr) -> Setup {
    let (ip, port) = (listen.ip(), listen.port());
    let (files, command) = match resolver {
        Resolver::SystemdResolved => (
            vec![File {
                path: "/etc/systemd/resolved.conf.d/homing.conf".to_owned(),
                text: format!(
                    "[Resolve]\nDNS={listen}\nDomains={}\n",
                    ZONES.map(|z| format!("~{z}")).join(" ")
                ),
            }],
            "sudo systemctl restart systemd-resolved",
        ),
        Resolver::Dnsmasq => (
            vec![File {
                path: "/etc/dnsmasq.d/homing.conf".to_owned(),
                text: ZONES.map(|zone| format!("server=/{zone}/{ip}#{port}\n")).concat(),
            }],
            "sudo systemctl restart dnsmasq",
        ),
        Resolver::Macos => (
            ZONES
                .map(|zone| File {
                    path: format!("/etc/resolver/{zone}"),
                    text: format!("nameserver {ip}\nport {port}\n"),
                })
                .into(),
            "sudo killall -HUP mDNSResponder",
        ),
    };
    let port = if port == PORT { String::new() } else { format!(" -p {port}") };
    let check = format!("dig @{ip}{port} AAAA NAME.{}", ZONES[0]);
    Setup { schema: "homing.dns_setup/v1", listen, files, command, check }
}

fn text(setup: &Setup) -> String {
    let files: String = setup.files.iter().map(|f| format!("# {}\n{}\n", f.path, f.text)).collect();
    format!("{files}# then: {}\n# check: {}\n", setup.command, setup.check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resolver_is_told_in_its_own_words() {
        let of = |resolver, listen: &str| text(&setup(resolver, listen.parse().unwrap()));
        let resolved = of(Resolver::SystemdResolved, "127.0.0.1:5354");
        assert!(
            resolved
                .contains("[Resolve]\nDNS=127.0.0.1:5354\nDomains=~agent.internal ~d.f.ip6.arpa\n")
        );
        assert!(of(Resolver::SystemdResolved, "[::1]:5354").contains("DNS=[::1]:5354\n"));
        assert!(
            of(Resolver::Dnsmasq, "127.0.0.1:5354")
                .contains("server=/agent.internal/127.0.0.1#5354\n")
        );
        let macos = of(Resolver::Macos, "127.0.0.1:5354");
        assert!(
            macos.contains("# /etc/resolver/agent.internal\nnameserver 127.0.0.1\nport 5354\n")
        );
        assert!(macos.contains("dig @127.0.0.1 -p 5354 AAAA"));
    }
}
