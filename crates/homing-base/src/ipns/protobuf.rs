//! The outer form of an IPNS record: protobuf `IpnsEntry`, read within bounds.
//!
//! ```text
//! 1 value | 2 signatureV1 | 3 validityType | 4 validity | 5 sequence | 6 ttl | 7 pubKey
//! 8 signatureV2 | 9 data                                                (proto2, all optional)
//! ```
//! Unknown fields are skipped; of a repeated field the last counts, as in proto2.

use super::IpnsError;
use crate::cid::{put_varint, varint};

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const FIXED_32: u64 = 5;

/// The fields as they came; slices of the record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry<'b> {
    pub(super) value: Option<&'b [u8]>,
    pub(super) signature_v1: Option<&'b [u8]>,
    pub(super) validity_type: Option<u64>,
    pub(super) validity: Option<&'b [u8]>,
    pub(super) sequence: Option<u64>,
    pub(super) ttl: Option<u64>,
    pub(super) public_key: Option<&'b [u8]>,
    pub(super) signature_v2: Option<&'b [u8]>,
    pub(super) data: Option<&'b [u8]>,
}

impl<'b> Entry<'b> {
    pub(super) fn parse(mut rest: &'b [u8]) -> Result<Self, IpnsError> {
        const SHORT: IpnsError = IpnsError::Malformed("the protobuf ends inside a field");
        let mut entry = Self::default();
        while !rest.is_empty() {
            let (tag, after) = varint(rest).ok_or(SHORT)?;
            let (number, kind) = (tag >> 3, tag & 7);
            rest = match kind {
                VARINT => {
                    let (value, after) = varint(after).ok_or(SHORT)?;
                    entry.set_number(number, value);
                    after
                }
                BYTES => {
                    let (len, after) = varint(after).ok_or(SHORT)?;
                    let len = usize::try_from(len).map_err(|_| SHORT)?;
                    let (bytes, after) = after.split_at_checked(len).ok_or(SHORT)?;
                    entry.set_bytes(number, bytes);
                    after
                }
                FIXED_64 => after.get(8..).ok_or(SHORT)?,
                FIXED_32 => after.get(4..).ok_or(SHORT)?,
                _ => return Err(IpnsError::Malformed("a protobuf field of an unknown type")),
            };
        }
        Ok(entry)
    }

    fn set_number(&mut self, field: u64, value: u64) {
        match field {
            3 => self.validity_type = Some(value),
            5 => self.sequence = Some(value),
            6 => self.ttl = Some(value),
            _ => {}
        }
    }

    fn set_bytes(&mut self, field: u64, bytes: &'b [u8]) {
        let field = match field {
            1 => &mut self.value,
            2 => &mut self.signature_v1,
            4 => &mut self.validity,
            7 => &mut self.public_key,
            8 => &mut self.signature_v2,
            9 => &mut self.data,
            _ => return,
        };
        *field = Some(bytes);
    }

    /// The bytes, fields in ascending order.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        put_bytes(&mut out, 1, self.value);
        put_bytes(&mut out, 2, self.signature_v1);
        put_number(&mut out, 3, self.validity_type);
        put_bytes(&mut out, 4, self.validity);
        put_number(&mut out, 5, self.sequence);
        put_number(&mut out, 6, self.ttl);
        put_bytes(&mut out, 7, self.public_key);
        put_bytes(&mut out, 8, self.signature_v2);
        put_bytes(&mut out, 9, self.data);
        out
    }
}

fn put_number(out: &mut Vec<u8>, field: u64, number: Option<u64>) {
    if let Some(number) = number {
        put_varint(out, field << 3 | VARINT);
        put_varint(out, number);
    }
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: Option<&[u8]>) {
    if let Some(bytes) = bytes {
        put_varint(out, field << 3 | BYTES);
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}
