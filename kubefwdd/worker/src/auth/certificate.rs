//! Client certificates: PEM to what TLS needs, and until when one is valid (RFC 5280, section 4.1).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

const SEQUENCE: u8 = 0x30;
const EXPLICIT_VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Why PEM text is not a client certificate.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum CertificateError {
    #[error("it contains no certificate")]
    NoCertificate,
    #[error("it contains no private key (PKCS#8, PKCS#1 or SEC1)")]
    NoKey,
    #[error("it is not valid PEM")]
    Malformed,
}

/// A client certificate with its chain and key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// When the certificate itself stops being valid; `None` where that cannot be read.
    pub(crate) not_after: Option<Timestamp>,
}

impl Identity {
    /// Reads a chain, leaf first, and its key.
    pub(crate) fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NoKey)?;
        let not_after = chain.first().and_then(|leaf| not_after(leaf));
        Ok(Self {
            chain,
            key,
            not_after,
        })
    }
}

/// The certificates in PEM text, at least one.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| CertificateError::Malformed)?;
    if certificates.is_empty() {
        return Err(CertificateError::NoCertificate);
    }
    Ok(certificates)
}

/// `Certificate.tbsCertificate.validity.notAfter`.
fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    if let Some((_, rest)) = element(fields, EXPLICIT_VERSION) {
        fields = rest;
    }
    // serialNumber, signature, issuer
    for _ in 0..3 {
        (_, _, fields) = next(fields)?;
    }
    let (validity, _) = element(fields, SEQUENCE)?;
    let (_, _, rest) = next(validity)?;
    let (tag, time, _) = next(rest)?;
    parse_time(tag, std::str::from_utf8(time).ok()?)
}

fn parse_time(tag: u8, text: &str) -> Option<Timestamp> {
    let digits = text.strip_suffix('Z')?;
    let digits = match tag {
        // Two digits of the year: 50 to 99 are the 20th century (RFC 5280, section 4.1.2.5.1).
        UTC_TIME if digits.get(..2)? >= "50" => format!("19{digits}"),
        UTC_TIME => format!("20{digits}"),
        GENERALIZED_TIME => digits.to_owned(),
        _ => return None,
    };
    if digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let time = DateTime::strptime("%Y%m%d%H%M%S", digits).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// The content of the first element, if it has this tag, and what follows it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = next(input)?;
    (found == tag).then_some((content, rest))
}

/// Tag and content of the first DER element, and what follows it.
fn next(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, input) = input.split_first()?;
    let (&first, input) = input.split_first()?;
    let (length, input) = if first < 0x80 {
        (usize::from(first), input)
    } else {
        let (bytes, input) = input.split_at_checked(usize::from(first & 0x7f))?;
        if bytes.is_empty() || bytes.len() > 4 {
            return None;
        }
        let length = bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        (length, input)
    };
    let (content, rest) = input.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn certificate(year: i32) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["user".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(1990, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 3, 4);
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn the_end_of_validity_is_read_in_both_forms() {
        // Until 2049 it is UTCTime, afterwards GeneralizedTime.
        for year in [1999, 2026, 2049, 2050, 2120] {
            let (certificate, key) = certificate(year);
            let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
            let text = identity.not_after.unwrap().to_string();
            assert_eq!(text, format!("{year}-03-04T00:00:00Z"));
        }
    }

    #[test]
    fn an_invalid_certificate_says_what_is_wrong() {
        let (certificate, key) = certificate(2030);
        let error = |certificate: &str, key: &str| {
            Identity::from_pem(certificate.as_bytes(), key.as_bytes()).err()
        };
        assert_eq!(
            error("rubbish", &key),
            Some(CertificateError::NoCertificate)
        );
        assert_eq!(
            error(&certificate, "rubbish"),
            Some(CertificateError::NoKey)
        );
        assert_eq!(
            error(&certificate, &certificate),
            Some(CertificateError::NoKey)
        );
        let cut = &certificate[..certificate.len() / 2];
        assert_eq!(error(cut, &key), Some(CertificateError::Malformed));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_upset_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = not_after(&bytes);
        }

        #[test]
        fn damaged_certificates_do_not_upset_the_reader(at in 0_usize..200, value: u8) {
            let (pem, _) = certificate(2030);
            let mut der = certificates(pem.as_bytes()).unwrap()[0].to_vec();
            der[at] = value;
            let _ = not_after(&der);
        }
    }
}
