//! What no app may reach without a rule: spellings of addresses, for every kind of
//! connection. Tests use them in a network where each of them would answer
//! (`namespace`).

/// Addresses that the machine of the tests has on its loopback device, as `ip` takes
/// them. They look public.
pub const OWN: &[&str] = &["8.8.4.4/32", "2606:4700::9/128"];

/// A public address that is not the machine's own, of both families.
pub const PUBLIC: [&str; 2] = ["93.184.216.34", "2606:2800:220:1::34"];

/// Addresses in the form that a DNS server can give. The kernel of [`crate::namespace`]
/// connects to each.
pub const ADDRESSES: &[&str] = &[
    // This machine.
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "8.8.4.4",
    // Private networks, of the machine's operator and its provider.
    "10.1.2.3",
    "100.64.0.1",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    // Special ones.
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "240.0.0.1",
    // The same of IPv6.
    "::",
    "::1",
    "2606:4700::9",
    "64:ff9b:1::1",
    "100::1",
    "2001:20::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    // Not allocated.
    "200::1",
    "4000::1",
    // IPv4 within IPv6: mapped, translated, compatible, NAT64, 6to4.
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.4.4",
    "::ffff:0:127.0.0.1",
    "::127.0.0.1",
    "::10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b::808:404",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::1",
    "2002:808:404::1",
    // Tunnels: Teredo, ISATAP.
    "2001:0:808:808::80ff:fffe",
    "2001:0:7f00:1::f7f7:f7f7",
    "2606:4700::5efe:7f00:1",
    "2606:4700::200:5efe:a00:1",
];

/// Other ways to write some of them, which only guests can.
pub const SPELLINGS: &[&str] = &[
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.0.0.1",
    "0X7F.0x0.0.1",
    "0177.0.0.1",
    "0177.0x0.01",
    "１２７.0.0.1",
    "127。0。0。1",
    "①②⑦.0.0.1",
    "0",
    "0x0",
    "10.66051",
    "0xa010203",
    "167838211",
    "012.1.2.3",
    "2852039166",
    "0xa9fea9fe",
    "169.254.43518",
    "0xc0.0xa8.1.1",
    "192.168.257",
    "[::1]",
    "::1%lo",
    "[::ffff:127.0.0.1]",
    "0:0:0:0:0:ffff:7f00:0001",
    "::FFFF:7F00:1",
    "0000:0000:0000:0000:0000:0000:0000:0001",
    // The kernel connects to none of these.
    "224.0.0.1",
    "255.255.255.255",
    "fe80::1",
    "fe80::1%lo",
    "ff02::1",
];
