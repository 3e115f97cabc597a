"""HOST PORT ADDRESS: asks an agent called `asker` with a stock resolver library, over UDP and TCP."""

import sys

import dns.edns
import dns.message
import dns.query
import dns.resolver
import dns.reversename

host, port, address = sys.argv[1], int(sys.argv[2]), sys.argv[3]
resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers, resolver.port, resolver.lifetime = [host], port, 30

for tcp in (False, True):
    found = resolver.resolve("asker.agent.internal", "AAAA", tcp=tcp)
    assert [record.address for record in found] == [address], found
    assert 0 < found.rrset.ttl <= 30, found.rrset
    pointer = resolver.resolve(dns.reversename.from_address(address), "PTR", tcp=tcp)
    assert [str(record.target) for record in pointer] == ["asker.agent.internal."], pointer

for kind in ("A", "HTTPS", "SRV", "TXT"):
    try:
        resolver.resolve("asker.agent.internal", kind)
        raise SystemExit(f"{kind}: there is something")
    except dns.resolver.NoAnswer:
        pass
try:
    resolver.resolve("nobody.agent.internal", "AAAA")
    raise SystemExit("nobody is somebody")
except dns.resolver.NXDOMAIN:
    pass

query = dns.message.make_query("example.com", "A", use_edns=0)
answer = dns.query.udp(query, host, port=port, timeout=30)
assert answer.rcode() == dns.rcode.REFUSED, answer
errors = [option for option in answer.options if isinstance(option, dns.edns.EDEOption)]
assert errors and errors[0].code == dns.edns.EDECode.NOT_AUTHORITATIVE, answer
assert errors[0].text, answer
