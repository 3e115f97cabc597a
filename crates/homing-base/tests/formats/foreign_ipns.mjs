// js-ipns judges our records and makes some of its own. One JSON argument in, one JSON object out.
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { createIPNSRecord, marshalIPNSRecord, multihashToIPNSRoutingKey, unmarshalIPNSRecord } from 'ipns'
import { ipnsValidator } from 'ipns/validator'
import { base36 } from 'multiformats/bases/base36'
import { CID } from 'multiformats/cid'

const ask = JSON.parse(process.argv[2])
const bytes = Buffer.from(ask.record, 'hex')
const routingKey = (name) => multihashToIPNSRoutingKey(CID.parse(name, base36).multihash)
const accepts = async (name, record) => {
  try {
    await ipnsValidator(routingKey(name), new Uint8Array(record))
    return true
  } catch {
    return false
  }
}
const tampered = Buffer.from(bytes)
tampered[tampered.length - 20] ^= 1
const key = await generateKeyPairFromSeed('Ed25519', Buffer.from(ask.seed, 'hex'))
const life = 100 * 365 * 24 * 3600 * 1000
const make = async (v1Compatible) => {
  const options = { ttlNs: 300000000000n, v1Compatible }
  const record = await createIPNSRecord(key, '/ipfs/bafkqaaa', 42, life, options)
  return Buffer.from(marshalIPNSRecord(record)).toString('hex')
}
const read = unmarshalIPNSRecord(new Uint8Array(bytes))
console.log(JSON.stringify({
  accepted: await accepts(ask.name, bytes),
  value: read.value,
  sequence: String(read.sequence),
  refused: {
    wrong_key: !(await accepts(ask.wrong, bytes)),
    expired: !(await accepts(ask.name, Buffer.from(ask.expired, 'hex'))),
    tampered: !(await accepts(ask.name, tampered)),
    oversized: !(await accepts(ask.name, Buffer.concat([bytes, Buffer.alloc(10 * 1024)])))
  },
  v1v2: await make(true),
  v2: await make(false)
}))
