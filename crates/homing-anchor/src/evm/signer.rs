//! The account that pays: its key comes from a file, and signs EIP-1559 transactions.

use std::path::PathBuf;

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;

use crate::{AnchorError, Secret};

/// Where the key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file with 64 hexadecimal digits, mode 0600.
    File(PathBuf),
    /// A Web3 secret storage (version 3) file and a file with its passphrase, mode 0600.
    Keystore {
        /// The keystore.
        path: PathBuf,
        /// The passphrase's file.
        passphrase: PathBuf,
    },
}

/// An account's key.
pub struct Account(PrivateKeySigner);

impl Account {
    /// Reads the key. Opening a keystore takes a second: it is meant to.
    ///
    /// # Errors
    /// [`AnchorError::Setting`] naming the file; never its content.
    pub fn open(source: &KeySource) -> Result<Self, AnchorError> {
        let setting = |e: String| AnchorError::Setting(e);
        match source {
            KeySource::File(path) => {
                let secret = Secret::read(path).map_err(|e| setting(with_cause(&e)))?;
                let wrong = || {
                    setting(format!(
                        "{} holds no secp256k1 key: 64 hexadecimal digits",
                        path.display()
                    ))
                };
                let signer = secret.text().parse().map_err(|_| wrong())?;
                Ok(Self(signer))
            }
            KeySource::Keystore { path, passphrase } => {
                let secret = Secret::read(passphrase).map_err(|e| setting(with_cause(&e)))?;
                // Also the keystore is for its owner only.
                Secret::read(path).map_err(|e| setting(with_cause(&e)))?;
                let failed =
                    |e| setting(format!("the keystore {} cannot be opened: {e}", path.display()));
                let signer =
                    PrivateKeySigner::decrypt_keystore(path, secret.text()).map_err(failed)?;
                Ok(Self(signer))
            }
        }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.0.address()
    }

    /// The signed transaction and its hash.
    pub(crate) fn sign(&self, transaction: TxEip1559) -> Result<(Vec<u8>, B256), AnchorError> {
        let signature = self.0.sign_hash_sync(&transaction.signature_hash());
        let signature =
            signature.map_err(|e| AnchorError::Setting(format!("signing failed: {e}")))?;
        let signed = TxEnvelope::from(transaction.into_signed(signature));
        Ok((signed.encoded_2718(), *signed.tx_hash()))
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({})", self.address())
    }
}

fn with_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
