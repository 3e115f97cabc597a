// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// Where audit logs leave a mark that they cannot take back.
///
/// An origin belongs to the account that writes it: two accounts may use the same origin and never meet, so nobody can squat one.
/// The chain orders and dates what it is given; it checks no signature of a log and no Merkle proof. Those are checked off chain.
contract HomingAnchor {
    /// The newest checkpoint of one origin of one owner, in one storage slot.
    struct Tip {
        uint64 size;
        bytes24 rootStart;
    }

    /// One change of a reference: SHA-256 of the old and the new CID (zero: there was none), when its owner says it happened
    /// (Unix milliseconds), and the owner's Ed25519 signature of the audit entry as two words.
    struct Update {
        bytes32 previous;
        bytes32 current;
        uint256 time;
        bytes32 signatureR;
        bytes32 signatureS;
    }

    /// A log had `size` entries and this Merkle root when the block was made.
    event Checkpoint(address indexed owner, bytes32 indexed origin, uint64 size, bytes32 root);

    /// The update number `index` of an origin, counted from 0.
    event Updated(
        address indexed owner,
        bytes32 indexed origin,
        uint64 indexed index,
        bytes32 previous,
        bytes32 current,
        uint64 time,
        bytes32 signatureR,
        bytes32 signatureS
    );

    /// The log would shrink, or say again what it said.
    error NotNewer(uint64 tip, uint64 size);

    mapping(address owner => mapping(bytes32 origin => Tip)) private tips;

    /// The size, and the first 24 bytes of the root, of the newest checkpoint; zero before the first.
    function tip(address owner, bytes32 origin) external view returns (uint64 size, bytes24 rootStart) {
        Tip storage newest = tips[owner][origin];
        return (newest.size, newest.rootStart);
    }

    /// Anchors a checkpoint of the sender's log. A size that is not larger than the last one reverts.
    function anchor(bytes32 origin, uint64 size, bytes32 root) external {
        Tip storage newest = tips[msg.sender][origin];
        if (size <= newest.size) revert NotNewer(newest.size, size);
        newest.size = size;
        newest.rootStart = bytes24(root);
        emit Checkpoint(msg.sender, origin, size, root);
    }

    /// Writes updates `first`, `first + 1`, … as one event each. Their order is kept by the sender's nonce, not by storage.
    function update(bytes32 origin, uint64 first, Update[] calldata updates) external {
        for (uint64 i = 0; i < updates.length; ++i) {
            Update calldata u = updates[i];
            emit Updated(
                msg.sender, origin, first + i, u.previous, u.current, uint64(u.time), u.signatureR, u.signatureS
            );
        }
    }
}
