"""Makes keys.json with code that is not ours. See README.md."""

import hashlib
import json
import pathlib

import nacl.bindings as sodium
import nacl.signing
import sr25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from eth_utils import keccak
from oblivious import ristretto

HERE = pathlib.Path(__file__).parent
ORDER = 2**252 + 27742317777372353535851937790883648493
APP = b"\x11" * 32


def blake2b_256(data, **parameters):
    return hashlib.blake2b(data, digest_size=32, **parameters).digest()


def stored(seed):
    """The 64 bytes of a seed's key: canonical scalar, nonce. Ed25519's expansion."""
    digest = bytearray(hashlib.sha512(seed).digest())
    digest[0] &= 248
    digest[31] = digest[31] & 63 | 64
    # The scalar is divided by the cofactor.
    scalar = int.from_bytes(digest[:32], "little") >> 3
    return scalar.to_bytes(32, "little") + bytes(digest[32:])


def shared(seed, public):
    return bytes(ristretto.scalar(stored(seed)[:32]) * ristretto.point(public))


def worker():
    seed, other = b"\x31" * 32, b"\x32" * 32
    key, (public, _), (other_public, _) = stored(seed), sr25519.pair_from_seed(seed), sr25519.pair_from_seed(other)
    agreed = shared(seed, other_public)
    assert agreed == shared(other, public)
    nonce = bytes(range(12))
    purpose = blake2b_256(b"module cache", key=key, person=b"wapo/purpose-key")
    return {
        "seed": seed.hex(), "stored": key.hex(), "public": public.hex(),
        "statements": [statement(seed, content) for content in (1, 2, 100, 101, 102, 103, 104)],
        "purpose_key": {"purpose": "module cache", "key": purpose.hex()},
        "envelope": {
            "sender_public": other_public.hex(), "plaintext": "a query",
            "message": (nonce + AESGCM(agreed).encrypt(nonce, b"a query", None)).hex()},
        "sealed": [sealed(key, number, name) for number, name in ((1, "TOKEN"), (2, ""))],
        "report_data": {
            "app": (keccak(b"\xff\x65" + APP + b"nonce") + bytes(32)).hex(),
            "registration": (blake2b_256(b"info") + bytes(32)).hex()},
    }


def statement(seed, content):
    signature = sr25519.sign(sr25519.pair_from_seed(seed), bytes([0xFF, content]) + b"statement")
    return {"content_type": content, "signature": signature.hex()}


def sealed(key, purpose, name):
    header, nonce, context = b"wapo sealed\x01", b"\x07" * 12, bytes([purpose]) + APP
    cipher = AESGCM(blake2b_256(context, key=key, person=b"wapo/sealed-data"))
    ciphertext = cipher.encrypt(nonce, b"kept", header + context + name.encode())
    return {"purpose": purpose, "name": name, "sealed": (header + nonce + ciphertext).hex()}


def legacy_boot_data():
    """With the secret for `enc_bootdata` that workers of Wapo 0.x are known to derive."""
    secret = bytes.fromhex(
        "3852866f906c4dde8e4e905614cfb0be3eb35ab7795de76d95396b684434590e"
        "e888130eca6e258a6491af6c850dc8e7e99f6044ba8530fc76acb5abcfa0bfd1")
    nonce = bytes(range(100, 112))
    return {"worker_seed": "01" * 32, "app": APP.hex(), "plaintext": "boot data",
            "file": (AESGCM(secret[:32]).encrypt(nonce, b"boot data", None) + nonce).hex()}


def zip_215():
    """Ed25519 signatures on which implementations differ; ZIP-215 takes them."""
    message = b"\x01" + bytes.fromhex("80" + "11" * 32 + "142f6563686f0c010203")
    identity = (1).to_bytes(32, "little")
    # y = 1 again, as p + 1: a second, not canonical encoding.
    not_canonical = (2**255 - 19 + 1).to_bytes(32, "little")
    order_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
    zero = bytes(32)
    nonce, secret = (17).to_bytes(32, "little"), (23).to_bytes(32, "little")
    mixed = sodium.crypto_core_ed25519_add(base_times(secret), order_8)
    commitment = base_times(nonce)
    digest = hashlib.sha512(commitment + mixed + message).digest()
    challenge = int.from_bytes(digest, "little") % ORDER
    # Without the cofactor the equation has a remainder of order 8.
    assert challenge % 8
    response = ((17 + challenge * 23) % ORDER).to_bytes(32, "little")
    return [
        {"name": "identity", "public": identity.hex(), "signature": (identity + zero).hex()},
        {"name": "not canonical", "public": not_canonical.hex(), "signature": (not_canonical + zero).hex()},
        {"name": "small order", "public": order_8.hex(), "signature": (order_8 + zero).hex()},
        {"name": "mixed order", "public": mixed.hex(), "signature": (commitment + response).hex()},
    ]


def base_times(scalar):
    return sodium.crypto_scalarmult_ed25519_base_noclamp(scalar)


def main():
    vectors = {"worker": worker(), "legacy_boot_data": legacy_boot_data(), "zip_215": zip_215()}
    (HERE / "keys.json").write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
