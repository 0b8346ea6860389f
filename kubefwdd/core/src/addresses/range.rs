//! The range that addresses come from, and the addresses in it that nobody gets.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// The address of the daemon's own REST interface.
pub const API_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 2, 27, 1);

/// The part of loopback that systems use themselves: 127.0.0.1, the stub resolvers 127.0.0.53 and
/// .54, Debian's 127.0.1.1 for the machine's own name.
const SYSTEM_PREFIX: [u8; 2] = [127, 0];

/// A range of IPv4 addresses in CIDR form, `/8` to `/29`. The default is `127.0.0.0/8`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressRange {
    pub(super) base: Ipv4Addr,
    pub(super) prefix: u8,
}

/// Why a text is not a usable range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not `a.b.c.d/n`.
    #[error("address range {0:?} is not of the form 127.0.0.0/8")]
    Form(String),
    /// Larger than `/8` or smaller than `/29`.
    #[error("address range {0} has a prefix outside /8 to /29: choose one in between")]
    Prefix(String),
    /// Host bits set.
    #[error("address range {given} does not start at a network address: use {instead}")]
    HostBits {
        /// What was given.
        given: String,
        /// The range that contains it.
        instead: AddressRange,
    },
    /// Multicast, unspecified or broadcast.
    #[error(
        "address range {0} contains no unicast addresses: choose one in 127.0.0.0/8 or a private network"
    )]
    NotUnicast(String),
}

/// Why no service can have an address, whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unusable {
    /// Outside the configured range.
    #[error("it is outside the address range {0}")]
    OutsideRange(AddressRange),
    /// Ends in .0 or .255.
    #[error("addresses that end in .0 or .255 are network and broadcast addresses")]
    NetworkOrBroadcast,
    /// 127.0.0.0/16.
    #[error("127.0.0.0/16 is used by the system itself")]
    System,
    /// The address of the REST interface.
    #[error("it is the address of kubefwd's own API")]
    Api,
}

// === impl Unusable ===

impl Unusable {
    /// What to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::OutsideRange(_) => "choose one inside, or change addresses.range",
            Self::System => "choose one from 127.1.0.1 on",
            Self::NetworkOrBroadcast | Self::Api => "choose another address",
        }
    }
}

// === impl AddressRange ===

impl AddressRange {
    /// A range of `2^(32 - prefix)` addresses from `base` on.
    ///
    /// # Errors
    /// When the prefix is outside `/8` to `/29`, `base` is not its first address, or the range is
    /// not unicast.
    pub fn new(base: Ipv4Addr, prefix: u8) -> Result<Self, RangeError> {
        let given = || format!("{base}/{prefix}");
        if !(8..=29).contains(&prefix) {
            return Err(RangeError::Prefix(given()));
        }
        if base.is_multicast() || base.octets()[0] == 0 || base.octets()[0] >= 240 {
            return Err(RangeError::NotUnicast(given()));
        }
        let first = base.to_bits() & (u32::MAX << (32 - u32::from(prefix)));
        let range = Self {
            base: Ipv4Addr::from_bits(first),
            prefix,
        };
        match range.base == base {
            true => Ok(range),
            false => Err(RangeError::HostBits {
                given: given(),
                instead: range,
            }),
        }
    }

    /// Whether the address is in the range.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (address.to_bits() ^ self.base.to_bits()) >> (32 - u32::from(self.prefix)) == 0
    }

    /// Whether a unit may have the address.
    ///
    /// # Errors
    /// Says why not.
    pub fn check(&self, address: Ipv4Addr) -> Result<(), Unusable> {
        if !self.contains(address) {
            return Err(Unusable::OutsideRange(*self));
        }
        let [a, b, _, last] = address.octets();
        if [a, b] == SYSTEM_PREFIX {
            return Err(Unusable::System);
        }
        if matches!(last, 0 | 255) {
            return Err(Unusable::NetworkOrBroadcast);
        }
        if address == API_ADDRESS {
            return Err(Unusable::Api);
        }
        Ok(())
    }

    /// How many blocks of 256 the range has; a range below that size is part of one.
    pub(super) fn blocks(&self) -> u32 {
        1 << 24u8.saturating_sub(self.prefix)
    }

    /// The address in a block of the range.
    pub(super) fn address(&self, block: u32, last: u8) -> Ipv4Addr {
        let start = (self.base.to_bits() & !0xff) + (block << 8);
        Ipv4Addr::from_bits(start | u32::from(last))
    }

    /// The block and the last octet of an address in the range.
    pub(super) fn place(&self, address: Ipv4Addr) -> (u32, u8) {
        let offset = address.to_bits() - (self.base.to_bits() & !0xff);
        (offset >> 8, address.octets()[3])
    }

    /// The block that kubefwd's numbering gives a namespace, where the range has one.
    pub(super) fn numbered(&self, context: u32, namespace: u32) -> Option<u32> {
        let third = namespace.checked_add(27).filter(|third| *third <= 254)?;
        let second = match self.prefix {
            8 => context.checked_add(1).filter(|second| *second < 128)?,
            _ => 0,
        };
        let block = (second << 8) | third;
        (block < self.blocks()).then_some(block)
    }
}

impl Default for AddressRange {
    fn default() -> Self {
        Self {
            base: Ipv4Addr::new(127, 0, 0, 0),
            prefix: 8,
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl fmt::Debug for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let parse = || {
            let (base, prefix) = text.split_once('/')?;
            Some((base.parse().ok()?, prefix.parse().ok()?))
        };
        let Some((base, prefix)) = parse() else {
            return Err(RangeError::Form(text.chars().take(60).collect()));
        };
        Self::new(base, prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    #[test]
    fn parses_networks_only() {
        assert_eq!(range("127.0.0.0/8"), AddressRange::default());
        assert_eq!(range("10.99.0.16/29").to_string(), "10.99.0.16/29");
        assert!(matches!(
            "127.0.0.0".parse::<AddressRange>(),
            Err(RangeError::Form(_))
        ));
        assert!(matches!(
            "10.0.0.0/30".parse::<AddressRange>(),
            Err(RangeError::Prefix(_))
        ));
        assert!(matches!(
            "8.0.0.0/7".parse::<AddressRange>(),
            Err(RangeError::Prefix(_))
        ));
        assert!(matches!(
            "224.0.0.0/8".parse::<AddressRange>(),
            Err(RangeError::NotUnicast(_))
        ));
        let error = "10.99.3.0/16".parse::<AddressRange>().unwrap_err();
        assert!(error.to_string().contains("use 10.99.0.0/16"), "{error}");
    }

    #[test]
    fn keeps_what_the_system_needs() {
        let range = AddressRange::default();
        for (address, expected) in [
            ("127.0.0.1", Err(Unusable::System)),
            ("127.0.0.53", Err(Unusable::System)),
            ("127.0.1.1", Err(Unusable::System)),
            ("127.1.27.0", Err(Unusable::NetworkOrBroadcast)),
            ("127.1.27.255", Err(Unusable::NetworkOrBroadcast)),
            ("127.2.27.1", Err(Unusable::Api)),
            ("10.0.0.1", Err(Unusable::OutsideRange(range))),
            ("127.1.27.1", Ok(())),
            ("127.255.255.254", Ok(())),
        ] {
            assert_eq!(range.check(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn numbers_as_kubefwd_does() {
        let all = AddressRange::default();
        let address = |c, n| {
            all.numbered(c, n)
                .map(|block| all.address(block, 1).to_string())
        };
        assert_eq!(address(0, 0).as_deref(), Some("127.1.27.1"));
        assert_eq!(address(0, 1).as_deref(), Some("127.1.28.1"));
        assert_eq!(address(1, 1).as_deref(), Some("127.2.28.1"));
        assert_eq!(address(0, 228), None);
        assert_eq!(address(127, 0), None);
        assert_eq!(all.place("127.2.28.1".parse().unwrap()), ((2 << 8) | 28, 1));
        let small = range("10.99.0.16/29");
        assert_eq!((small.blocks(), small.numbered(0, 0)), (1, None));
        assert_eq!(small.place("10.99.0.17".parse().unwrap()), (0, 17));
    }
}
