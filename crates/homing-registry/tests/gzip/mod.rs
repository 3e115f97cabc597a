//! Gzip as a bomb is made of it (RFC 1952, RFC 1951): one space, then copies of 258 at distance 1, in the
//! fixed code of §3.2.6; 13 bits for 258 bytes, so that 16 MiB take 106 kB.

/// `length` spaces, compressed.
pub(crate) fn of_spaces(length: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    // The last block, with the fixed code.
    bits.push(0b011, 3);
    bits.code(0x30 + u32::from(b' '), 8);
    let (copies, rest) = ((length - 1) / 258, (length - 1) % 258);
    for _ in 0..copies {
        // Length 258 is code 285, distance 1 is code 0.
        bits.code(0b1100_0101, 8);
        bits.code(0, 5);
    }
    (0..rest).for_each(|_| bits.code(0x30 + u32::from(b' '), 8));
    bits.code(0, 7);
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    bytes.extend(bits.bytes);
    bytes.extend(crc32_of_spaces(length).to_le_bytes());
    bytes.extend(u32::try_from(length).unwrap().to_le_bytes());
    bytes
}

/// Bits from the lowest of each byte on.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        for n in 0..count {
            if self.used == 0 {
                self.bytes.push(0);
            }
            let bit = u8::try_from(value >> n & 1).unwrap();
            *self.bytes.last_mut().unwrap() |= bit << self.used;
            self.used = (self.used + 1) % 8;
        }
    }

    /// Huffman codes begin with their highest bit.
    fn code(&mut self, code: u32, length: u32) {
        self.push(code.reverse_bits() >> (32 - length), length);
    }
}

fn crc32_of_spaces(length: usize) -> u32 {
    let table: Vec<u32> = (0..256)
        .map(|n: u32| (0..8).fold(n, |c, _| c >> 1 ^ if c & 1 == 1 { 0xedb8_8320 } else { 0 }))
        .collect();
    let byte = u32::from(b' ');
    !(0..length).fold(!0, |c: u32, _| table[((c ^ byte) & 0xff) as usize] ^ c >> 8)
}
