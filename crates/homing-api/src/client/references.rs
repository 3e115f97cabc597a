//! The calls about references. Every error is as [`super`] says.

use super::{Client, with_query};
use crate::agent::Done;
use crate::error::ApiError;
use crate::operations as op;
use crate::references::{
    KeepReference, PublishReference, Reference, ReferenceHistory, ReferenceList, ReferenceRecord,
    ReferenceRequest, ReferenceResolution, ResolveReference, TakeReference,
};

impl Client {
    /// Own references, and those kept for others.
    ///
    /// # Errors
    /// See the module.
    pub async fn references(&self) -> Result<ReferenceList, ApiError> {
        self.fetch(op::REFERENCES).await
    }

    /// Point a reference somewhere.
    ///
    /// # Errors
    /// See the module.
    pub async fn publish_reference(
        &self,
        request: &PublishReference,
    ) -> Result<Reference, ApiError> {
        self.post(op::REFERENCE_PUBLISH, request).await
    }

    /// The newest of a reference, proven.
    ///
    /// # Errors
    /// See the module.
    pub async fn resolve_reference(
        &self,
        request: &ResolveReference,
    ) -> Result<ReferenceResolution, ApiError> {
        self.post(op::REFERENCE_RESOLVE, request).await
    }

    /// Sign and announce a reference anew.
    ///
    /// # Errors
    /// See the module.
    pub async fn renew_reference(&self, name: &str) -> Result<Reference, ApiError> {
        self.post(op::REFERENCE_RENEW, &ReferenceRequest { name: name.to_owned() }).await
    }

    /// Take a reference back for good.
    ///
    /// # Errors
    /// See the module.
    pub async fn withdraw_reference(&self, name: &str) -> Result<Reference, ApiError> {
        self.post(op::REFERENCE_WITHDRAW, &ReferenceRequest { name: name.to_owned() }).await
    }

    /// Keep a reference of another alive, or no longer.
    ///
    /// # Errors
    /// See the module.
    pub async fn keep_reference(&self, reference: &str, keep: bool) -> Result<Done, ApiError> {
        let request = KeepReference { reference: reference.to_owned(), keep };
        self.post(op::REFERENCE_KEEP, &request).await
    }

    /// Tell and keep a reference that was signed elsewhere; base64 of the form that travels.
    ///
    /// # Errors
    /// See the module.
    pub async fn take_reference(&self, signed: &str) -> Result<Done, ApiError> {
        let request = TakeReference { signed: signed.to_owned() };
        self.post(op::REFERENCE_TAKE, &request).await
    }

    /// What a reference of this agent pointed to.
    ///
    /// # Errors
    /// See the module.
    pub async fn reference_history(&self, name: &str) -> Result<ReferenceHistory, ApiError> {
        self.fetch(&with_query(op::REFERENCE_HISTORY, &[("name", Some(name))])).await
    }

    /// The signed record of a reference that is known here.
    ///
    /// # Errors
    /// See the module.
    pub async fn export_reference(&self, reference: &str) -> Result<ReferenceRecord, ApiError> {
        self.fetch(&with_query(op::REFERENCE_EXPORT, &[("reference", Some(reference))])).await
    }
}
