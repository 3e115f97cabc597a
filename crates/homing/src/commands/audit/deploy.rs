//! `homing audit anchor deploy`: the contract on the configured chain, paid by the configured account.

use homing_api::{ApiError, Code};
use homing_node::config::{AnchorConfig, AnchorKind};

use crate::commands::Outcome;
use crate::session::Session;

pub(super) async fn run(session: &Session, config: &AnchorConfig) -> Outcome {
    if config.kind != AnchorKind::Evm {
        let text = "only a chain takes a contract: audit.anchor.kind is rfc3161";
        return Err(ApiError::new(Code::ConfigInvalid, text)
            .hint("homing config set audit.anchor.kind evm"));
    }
    if let Some(contract) = config.contract {
        let address = hex(&contract);
        let text = format!("audit.anchor.contract names a contract already: {address}");
        return Err(ApiError::new(Code::AlreadyExists, text)
            .hint("for another one: homing config set audit.anchor.contract --unset"));
    }
    deployed(session, config).await
}

fn hex(bytes: &[u8]) -> String {
    format!("0x{}", data_encoding::HEXLOWER.encode(bytes))
}

#[cfg(not(feature = "evm"))]
async fn deployed(_: &Session, _: &AnchorConfig) -> Outcome {
    Err(ApiError::new(Code::ConfigInvalid, "this build has no chains: feature evm is off"))
}

#[cfg(feature = "evm")]
async fn deployed(session: &Session, config: &AnchorConfig) -> Outcome {
    let done = homing_node::anchoring::deploy(config).await;
    let done = done.map_err(|error| super::anchor::failed(&error))?;
    let view = View {
        schema: "homing.audit_contract/v1",
        contract: hex(&done.contract),
        chain_id: config.chain_id,
        account: hex(&done.account),
        transaction: hex(&done.transaction),
        block: done.block,
        gas: done.gas,
    };
    session.out.result(&view, || vec![view.contract.clone()], || view.text());
    crate::output::say(&format!(
        "next: homing config set audit.anchor.contract {}, and homing config set audit.anchor.start_block {}",
        view.contract, view.block
    ));
    Ok(crate::commands::OK)
}

/// A contract on a chain.
#[cfg(feature = "evm")]
#[derive(Debug, serde::Serialize)]
struct View {
    schema: &'static str,
    contract: String,
    chain_id: u64,
    account: String,
    transaction: String,
    block: u64,
    gas: u64,
}

#[cfg(feature = "evm")]
impl View {
    fn text(&self) -> String {
        crate::render::fields(&[
            ("contract", self.contract.clone()),
            ("chain", self.chain_id.to_string()),
            ("paid by", self.account.clone()),
            ("transaction", format!("{} in block {}", self.transaction, self.block)),
            ("gas", self.gas.to_string()),
        ])
    }
}
