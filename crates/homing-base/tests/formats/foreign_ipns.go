// boxo's IPNS judges our records and makes some of its own, good and bad ones.
//
//	go mod init foreign && go get github.com/ipfs/boxo@v0.35.0 && go mod tidy && go build -o foreign-ipns .
//	foreign-ipns                     the records of spec/vectors/ipns-boxo.json
//	foreign-ipns judge NAME HEX…     "accepted" or "refused: why" for each
package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/ipfs/boxo/ipns"
	pb "github.com/ipfs/boxo/ipns/pb"
	"github.com/ipfs/boxo/path"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"
)

type vector struct {
	Case  string `json:"case"`
	Hex   string `json:"hex"`
	Boxo  string `json:"boxo"`
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	seed := bytes.Repeat([]byte{7}, 32)
	std := ed25519.NewKeyFromSeed(seed)
	key := must(crypto.UnmarshalEd25519PrivateKey(std))
	name := ipns.NameFromPeer(must(peer.IDFromPrivateKey(key)))
	if len(os.Args) > 3 && os.Args[1] == "judge" {
		name = must(ipns.NameFromString(os.Args[2]))
		for _, text := range os.Args[3:] {
			fmt.Println(judge(must(hex.DecodeString(text)), name))
		}
		return
	}
	value := must(path.NewPath("/ipfs/bafkqaaa"))
	eol := time.Date(2126, 1, 1, 0, 0, 0, 0, time.UTC)
	make := func(eol time.Time, v1 bool, change func(*pb.IpnsRecord)) []byte {
		rec := must(ipns.NewRecord(key, value, 41, eol, 5*time.Minute, ipns.WithV1Compatibility(v1)))
		raw := must(ipns.MarshalRecord(rec))
		if change == nil {
			return raw
		}
		var entry pb.IpnsRecord
		if err := proto.Unmarshal(raw, &entry); err != nil {
			panic(err)
		}
		change(&entry)
		return must(proto.MarshalOptions{Deterministic: true}.Marshal(&entry))
	}
	vectors := []vector{}
	add := func(what string, raw []byte) {
		vectors = append(vectors, vector{what, hex.EncodeToString(raw), judge(raw, name)})
	}
	add("v1+v2", make(eol, true, nil))
	add("v2 only", make(eol, false, nil))
	add("v1 only", make(eol, true, func(e *pb.IpnsRecord) { e.Data, e.SignatureV2 = nil, nil }))
	add("v1+v2, another value outside the signed data", make(eol, true, func(e *pb.IpnsRecord) { e.Value = []byte("/ipfs/bafkqabtimvwgy3yk") }))
	add("v1+v2, another sequence outside the signed data", make(eol, true, func(e *pb.IpnsRecord) { n := uint64(42); e.Sequence = &n }))
	add("v1+v2, another validity outside the signed data", make(eol, true, func(e *pb.IpnsRecord) { e.Validity = []byte("2200-01-01T00:00:00Z") }))
	add("v1+v2, broken signatureV1", make(eol, true, func(e *pb.IpnsRecord) { e.SignatureV1 = []byte("nobody's") }))
	add("v1+v2, broken signatureV2", make(eol, true, func(e *pb.IpnsRecord) { e.SignatureV2 = []byte("nobody's") }))
	add("v1+v2, signatureV2 of other data", make(eol, true, func(e *pb.IpnsRecord) {
		var other pb.IpnsRecord
		if err := proto.Unmarshal(make(eol.AddDate(1, 0, 0), true, nil), &other); err != nil {
			panic(err)
		}
		e.SignatureV2 = other.SignatureV2
	}))
	add("v2 only, tampered data", make(eol, false, func(e *pb.IpnsRecord) { e.Data[len(e.Data)/2] ^= 1 }))
	add("v1+v2, expired", make(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), true, nil))
	out := map[string]any{
		"made_with": "github.com/ipfs/boxo v0.35.0, ipns.NewRecord and ipns.ValidateWithName",
		"name":      name.String(),
		"value":     value.String(),
		"sequence":  41,
		"records":   vectors,
	}
	fmt.Println(string(must(json.MarshalIndent(out, "", "  "))))
}

func judge(raw []byte, name ipns.Name) string {
	rec, err := ipns.UnmarshalRecord(raw)
	if err == nil {
		err = ipns.ValidateWithName(rec, name)
	}
	if err != nil {
		return "refused: " + err.Error()
	}
	return "accepted"
}
