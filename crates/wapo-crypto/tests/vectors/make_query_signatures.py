"""Makes query_signatures.json with code that is not ours. See README.md."""

import hashlib
import json
import pathlib

import nacl.signing
import sr25519
from coincurve import PrivateKey
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from scalecodec.base import RuntimeConfigurationObject
from scalecodec.type_registry import load_type_registry_preset

HERE = pathlib.Path(__file__).parent
NOW = 1_800_000_000

SCALE = RuntimeConfigurationObject()
SCALE.update_type_registry(load_type_registry_preset("core"))
SCALE.update_type_registry({"types": {
    "Query": {"type": "struct", "type_mapping": [
        ["address", "Bytes"], ["path", "String"], ["payload", "Bytes"]]},
    "Scope": {"type": "struct", "type_mapping": [["app", "Bytes"], ["resources", "Vec<String>"]]},
    "Body": {"type": "struct", "type_mapping": [
        ["pubkey", "Bytes"], ["expiration", "u64"], ["scopes", "Vec<Scope>"]]},
    "Inner": {"type": "struct", "type_mapping": [
        ["kind", "u8"], ["signature", "Bytes"], ["pubkey", "Bytes"]]},
    "Root": {"type": "struct", "type_mapping": [["pubkey", "Bytes"]]},
    "Certificate": {"type": "struct", "type_mapping": [["body", "Body"], ["signature", "Inner"]]},
    "Signer": {"type": "enum", "type_mapping": [["Root", "Root"], ["Certificate", "Certificate"]]},
    "QuerySignature": {"type": "struct", "type_mapping": [
        ["kind", "u8"], ["signature", "Bytes"], ["signer", "Signer"]]},
}})


def scale(kind, value):
    return bytes(SCALE.create_scale_object(kind).encode(value).data)


def hexed(data):
    return "0x" + bytes(data).hex()


def blake2b_256(data):
    return hashlib.blake2b(data, digest_size=32).digest()


# Kinds of signatures: how each makes (signature, public key, account) of a claim.

def ed25519(seed, claim):
    key = nacl.signing.SigningKey(seed)
    public = bytes(key.verify_key)
    return key.sign(claim).signature, public, public


def schnorr(seed, claim):
    pair = sr25519.pair_from_seed(seed)
    return sr25519.sign(pair, claim), pair[0], pair[0]


def ecdsa(seed, claim):
    key = PrivateKey(seed)
    public = key.public_key.format(compressed=True)
    return key.sign_recoverable(blake2b_256(claim), hasher=None), public, blake2b_256(public)


def evm_account(seed):
    return bytes.fromhex(Account.from_key(seed).address[2:]) + b"@evm_address"


def evm_blake2(seed, claim):
    signature, public, _ = ecdsa(seed, claim)
    return signature, public, evm_account(seed)


def evm_personal(seed, claim):
    signed = Account.sign_message(encode_defunct(claim), seed)
    public = PrivateKey(seed).public_key.format(compressed=True)
    return bytes(signed.signature), public, evm_account(seed)


def evm_personal_low_id(seed, claim):
    signature, public, account = evm_personal(seed, claim)
    return signature[:64] + bytes([signature[64] - 27]), public, account


def typed(seed, structure, compressed=True):
    signed = Account.sign_message(encode_typed_data(full_message=structure), seed)
    public = PrivateKey(seed).public_key.format(compressed=compressed)
    return bytes(signed.signature), public, evm_account(seed)


def structure(primary, message):
    text = lambda *names: [{"name": name, "type": "string"} for name in names]
    octets = lambda name: {"name": name, "type": "bytes"}
    types = {"EIP712Domain": text("name", "version")}
    if primary == "WapodQuery":
        types[primary] = text("description") + [octets("address")] + text("path") + [octets("payload")]
    else:
        types[primary] = (text("description") + [octets("publicKey")] + text("expirationTime")
                          + [{"name": "scopes", "type": "Scope[]"}])
        types["Scope"] = [octets("address"), {"name": "paths", "type": "string[]"}]
    return {"types": types, "primaryType": primary, "message": message,
            "domain": {"name": "Wapod Query", "version": "1"}}


def typed_query(query, by_root):
    sent = "that would be sent to a Wapod App"
    description = f"This is a query {sent}" if by_root else f"Authorized query {sent}"
    return structure("WapodQuery", {"description": description, **query})


def typed_certificate(body):
    description = "This is a certificate that can be used to sign a query that would be sent to a Wapod App"
    scopes = [{"address": scope["app"], "paths": scope["resources"]} for scope in body["scopes"]]
    return structure("Certificate", {"description": description, "publicKey": body["pubkey"],
                                     "expirationTime": str(body["expiration"]), "scopes": scopes})


def wrap(claim):
    return b"<Bytes>" + claim + b"</Bytes>"


# name -> (number, signer of a claim); 6 is apart, as it signs structures.
KINDS = {
    "ed25519": (0, ed25519), "sr25519": (1, schnorr), "ecdsa": (2, ecdsa),
    "ed25519 wrapped": (3, lambda s, c: ed25519(s, wrap(c))),
    "sr25519 wrapped": (4, lambda s, c: schnorr(s, wrap(c))),
    "ecdsa wrapped": (5, lambda s, c: ecdsa(s, wrap(c))),
    "eip712": (6, None), "eip712, key not compressed": (6, None),
    "evm blake2": (7, evm_blake2), "evm personal": (7, evm_personal),
    "evm personal, id from 0": (7, evm_personal_low_id),
    "evm blake2 wrapped": (8, lambda s, c: evm_blake2(s, wrap(c))),
    "evm personal wrapped": (8, lambda s, c: evm_personal(s, wrap(c))),
}


def sign(name, seed, tag, kind, value, typed_value):
    number, signer = KINDS[name]
    if number == 6:
        return number, *typed(seed, typed_value, compressed="not" not in name)
    return number, *signer(seed, bytes([tag]) + scale(kind, value))


def root_case(name, seed, query):
    number, signature, public, account = sign(
        name, seed, 1, "Query", scaled(query), typed_query(query, True))
    signer = {"Root": {"pubkey": hexed(public)}}
    return case(f"{name} by root", query, number, signature, signer, account)


def certificate_case(session_name, session_seed, root_name, root_seed, query):
    _, _, session, _ = sign(session_name, session_seed, 2, "Query", scaled(query), typed_query(query, False))
    body = {"pubkey": session, "expiration": NOW, "scopes": [
        {"app": b"\x99" * 32, "resources": ["/*"]},
        {"app": query["address"], "resources": ["/other", "/api/*"]}]}
    inner_number, inner, root, account = sign(
        root_name, root_seed, 0, "Body", scaled(body), typed_certificate(body))
    number, signature, _, _ = sign(
        session_name, session_seed, 2, "Query", scaled(query), typed_query(query, False))
    signer = {"Certificate": {"body": scaled(body), "signature": {
        "kind": inner_number, "signature": hexed(inner), "pubkey": hexed(root)}}}
    name = f"{session_name} certified by {root_name}"
    return case(name, query, number, signature, signer, account)


def scaled(value):
    """The same value with bytes as the hex text that the SCALE library takes."""
    if isinstance(value, bytes):
        return hexed(value)
    if isinstance(value, dict):
        return {key: scaled(item) for key, item in value.items()}
    return [scaled(item) for item in value] if isinstance(value, list) else value


def case(name, query, number, signature, signer, account):
    encoded = scale("Option<QuerySignature>",
                    {"kind": number, "signature": hexed(signature), "signer": signer})
    return {"name": name, **{key: item if isinstance(item, str) else item.hex() for key, item in query.items()},
            "now": NOW, "encoded": encoded.hex(), "account": bytes(account).hex()}


def main():
    query = {"address": b"\x22" * 32, "path": "/api/größe", "payload": b"\x00\x01\xfe\xff" * 5}
    seeds = {name: blake2b_256(b"test " + name.encode()) for name in KINDS}
    cases = [root_case(name, seeds[name], query) for name in KINDS]
    names = list(KINDS)
    # Every kind certifies and is certified, also by and for itself.
    for step in (0, 1, 5):
        for index, name in enumerate(names):
            root = names[(index + step) % len(names)]
            cases.append(certificate_case(name, seeds[name], root, blake2b_256(seeds[root]), query))
    text = json.dumps(cases, indent=1, ensure_ascii=False)
    (HERE / "query_signatures.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
