"""Scans the TLS port of a worker with sslyze, and fails for anything weak.

Arguments: the address of the port, and a server name that an app serves there.
"""

import sys

from sslyze import (
    ScanCommand,
    ScanCommandAttemptStatusEnum,
    Scanner,
    ServerNetworkConfiguration,
    ServerNetworkLocation,
    ServerScanRequest,
    ServerScanStatusEnum,
)

COMMANDS = set(ScanCommand) - {
    # About the certificate, which signs itself here, and about HTTP.
    ScanCommand.CERTIFICATE_INFO,
    ScanCommand.HTTP_HEADERS,
    # No weakness either way, and scanned without a server name; the tests of e2e resume sessions.
    ScanCommand.SESSION_RESUMPTION,
}
OLD = ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"]
# What TLS 1.2 is spoken with: keys for one connection only, and ciphers that tell of every change.
STRONG = ("TLS_ECDHE_", ("_GCM_SHA256", "_GCM_SHA384", "_CHACHA20_POLY1305_SHA256"))
CURVES = {"X25519", "secp256r1", "secp384r1", "X25519MLKEM768"}

weak = []


def check(what, is_right, found):
    print(f"{what}: {found}")
    if not is_right:
        weak.append(what)


def suites(result):
    return sorted(one.cipher_suite.name for one in result.accepted_cipher_suites)


def main(address, name):
    host, port = address.rsplit(":", 1)
    location = ServerNetworkLocation(hostname=name, ip_address=host, port=int(port))
    configuration = ServerNetworkConfiguration(tls_server_name_indication=name)
    scanner = Scanner()
    scanner.queue_scans([ServerScanRequest(location, configuration, COMMANDS)])
    (outcome,) = scanner.get_results()
    if outcome.scan_status != ServerScanStatusEnum.COMPLETED:
        sys.exit(f"no scan: {outcome.connectivity_error_trace}")
    results = outcome.scan_result

    def get(command):
        attempt = getattr(results, command)
        if attempt.status != ScanCommandAttemptStatusEnum.COMPLETED:
            sys.exit(f"{command}: {attempt.error_reason}\n{attempt.error_trace}")
        return attempt.result

    for version in OLD:
        found = suites(get(f"{version}_cipher_suites"))
        check(version, not found, found)
    found = suites(get("tls_1_2_cipher_suites"))
    is_strong = all(one.startswith(STRONG[0]) and one.endswith(STRONG[1]) for one in found)
    check("tls_1_2", found and is_strong, found)
    found = suites(get("tls_1_3_cipher_suites"))
    check("tls_1_3", bool(found), found)
    curves = {one.name for one in get("elliptic_curves").supported_curves or []}
    check("curves", curves and curves <= CURVES, sorted(curves))

    found = get("tls_compression").supports_compression
    check("compression", not found, found)
    found = get("tls_1_3_early_data").supports_early_data
    check("early data", not found, found)
    found = get("heartbleed").is_vulnerable_to_heartbleed
    check("heartbleed", not found, found)
    found = get("openssl_ccs_injection").is_vulnerable_to_ccs_injection
    check("CCS injection", not found, found)
    found = get("robot").robot_result.name
    check("ROBOT", found.startswith("NOT_VULNERABLE"), found)
    found = get("session_renegotiation")
    check("secure renegotiation", found.supports_secure_renegotiation, found.supports_secure_renegotiation)
    found = found.is_vulnerable_to_client_renegotiation_dos
    check("renegotiation by the client", not found, found)
    found = get("tls_extended_master_secret").supports_ems_extension
    check("extended master secret", found, found)

    if weak:
        sys.exit(f"weak: {', '.join(weak)}")


main(*sys.argv[1:])
