//! Addresses: which of them are one and the same, and which are not public.
//!
//! IPv4 hides in many forms of IPv6. What a packet would reach in the end is what
//! has to be judged, whatever way it was written. Asked by the rules and by what
//! is known of the machine; knows nothing of names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The address that is really meant, whatever way it was written.
///
/// IPv4 hides in several IPv6 forms; a packet sent to one of them ends at the
/// IPv4 host, so the IPv4 address is what has to be judged.
pub fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let s = v6.segments();
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        // Mapped ::ffff:a.b.c.d, translated ::ffff:0:a.b.c.d.
        [0, 0, 0, 0, 0, 0xffff, h, l] | [0, 0, 0, 0, 0xffff, 0, h, l] => v4(h, l),
        // Compatible ::a.b.c.d, but not :: and ::1.
        [0, 0, 0, 0, 0, 0, h, l] if h != 0 || l > 1 => v4(h, l),
        // NAT64 64:ff9b::/96.
        [0x64, 0xff9b, 0, 0, 0, 0, h, l] => v4(h, l),
        // 6to4 2002:a.b.c.d::/48.
        [0x2002, h, l, ..] => v4(h, l),
        _ => address,
    }
}

/// The IPv4 addresses to which an IPv6 address leads by a tunnel or a translator of
/// a private network. They come on top of the address itself.
///
/// Teredo (RFC 4380, section 4): its server, and the client's address with all bits
/// inverted. ISATAP (RFC 5214, section 6.1): the last 32 bits behind `0:5efe` or
/// `200:5efe`, whatever the prefix. NAT64 with a prefix of one's own (RFC 8215): the
/// places for a prefix of 48 and of 96 bits (RFC 6052, section 2.2).
pub(super) fn tunnels_to(address: IpAddr) -> impl Iterator<Item = Ipv4Addr> {
    let inner = match address {
        IpAddr::V4(_) => [None, None],
        IpAddr::V6(v6) => {
            let o = v6.octets();
            let last = Ipv4Addr::new(o[12], o[13], o[14], o[15]);
            match v6.segments() {
                [0x2001, 0, ..] => [
                    Some(Ipv4Addr::new(o[4], o[5], o[6], o[7])),
                    Some(Ipv4Addr::from_bits(!last.to_bits())),
                ],
                [0x64, 0xff9b, 1, ..] => [Some(Ipv4Addr::new(o[6], o[7], o[9], o[10])), Some(last)],
                [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => [Some(last), None],
                _ => [None, None],
            }
        }
    };
    inner.into_iter().flatten()
}

/// Bits of IPv4 that a network of IPv6 must have to stand for a network of IPv4.
///
/// With fewer it is a form of IPv6 as a whole, such as all of NAT64 (`64:ff9b::/96`),
/// as lists of networks that are not routed name it.
const HIDDEN_BITS_MIN: u8 = 8;

/// The network that is really meant: IPv4 networks hide in IPv6 as addresses do,
/// and addresses are compared in their IPv4 form.
///
/// A form as a whole stays what it is: it never means all of IPv4. A rule that denies
/// is then about addresses in that form, and one that allows about none, because they
/// are judged by the IPv4 address that they lead to.
pub(super) fn canonical_net(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else {
        return net;
    };
    let hidden_bits = match v6.addr().segments() {
        [0x2002, ..] => 16..=48,
        _ => 96..=128,
    };
    let means_v4 = hidden_bits.start() + HIDDEN_BITS_MIN..=*hidden_bits.end();
    match canonical(v6.addr().into()) {
        IpAddr::V4(v4) if means_v4.contains(&v6.prefix_len()) => {
            let prefix_len = v6.prefix_len() - hidden_bits.start();
            Ipv4Net::new(v4, prefix_len.min(32)).map_or(net, IpNet::V4)
        }
        _ => net,
    }
}

/// Why an address is not public, or `None` when it is.
///
/// Sources: the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890 and
/// its updates), and the IANA registry of the IPv6 address space, by which only
/// 2000::/3 is in use. One address is a cloud provider's own (Azure's host agent), which
/// looks public and is reached from the machines of its customers only.
///
/// A form of tunnel (Teredo, ISATAP, local NAT64) is as special as the IPv4 address
/// that it leads to, even where its own prefix is public.
pub fn special_range(address: IpAddr) -> Option<&'static str> {
    let address = canonical(address);
    own_range(address).or_else(|| tunnels_to(address).find_map(|inner| own_range(inner.into())))
}

fn own_range(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => SPECIAL_V4
            .iter()
            .find(|(net, _)| net.contains(&v4))
            .map(|(_, reason)| *reason),
        IpAddr::V6(v6) => SPECIAL_V6
            .iter()
            .find(|(net, _)| net.contains(&v6))
            .map(|(_, reason)| *reason)
            .or_else(|| (!GLOBAL_V6.contains(&v6)).then_some("reserved address")),
    }
}

const fn v4(octets: [u8; 4], len: u8, reason: &'static str) -> (Ipv4Net, &'static str) {
    let [a, b, c, d] = octets;
    (Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len), reason)
}

const fn v6(segments: [u16; 8], len: u8, reason: &'static str) -> (Ipv6Net, &'static str) {
    let [a, b, c, d, e, f, g, h] = segments;
    (
        Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), len),
        reason,
    )
}

const SPECIAL_V4: &[(Ipv4Net, &str)] = &[
    v4([0, 0, 0, 0], 8, "unspecified address"),
    v4([10, 0, 0, 0], 8, "private address"),
    v4([100, 64, 0, 0], 10, "shared (carrier) address"),
    v4([168, 63, 129, 16], 32, "cloud provider's address"),
    v4([127, 0, 0, 0], 8, "loopback address"),
    v4([169, 254, 0, 0], 16, "link-local address"),
    v4([172, 16, 0, 0], 12, "private address"),
    v4([192, 0, 0, 0], 24, "reserved address"),
    v4([192, 0, 2, 0], 24, "documentation address"),
    v4([192, 88, 99, 0], 24, "reserved address"),
    v4([192, 168, 0, 0], 16, "private address"),
    v4([198, 18, 0, 0], 15, "benchmarking address"),
    v4([198, 51, 100, 0], 24, "documentation address"),
    v4([203, 0, 113, 0], 24, "documentation address"),
    v4([224, 0, 0, 0], 4, "multicast address"),
    v4([240, 0, 0, 0], 4, "reserved address"),
];

/// All addresses of IPv6 that have been given out for use in public.
const GLOBAL_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

const SPECIAL_V6: &[(Ipv6Net, &str)] = &[
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified address"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback address"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "local NAT64 address"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard address"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "protocol address"),
    v6(
        [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0],
        32,
        "documentation address",
    ),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation address"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing address"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "private address"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local address"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local address"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast address"),
];
